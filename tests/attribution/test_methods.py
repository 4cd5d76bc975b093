"""Methods, from a network and a tensor to heat: by hand, invariants over the whole table, refusals."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import video

from vidcam.attribution import features, formulas, smoothing
from vidcam.attribution.capturing import Score, capture
from vidcam.attribution.layers import INPUT
from vidcam.attribution.methods import METHODS, cam, find_method
from vidcam.attribution.question import Question
from vidcam.attribution.scores import class_score, component, minus, negative_loss
from vidcam.attribution.smoothing import smooth_grad_cam_pp
from vidcam.errors import LayerError, ModelError, OptionError, TargetError, VidcamError

POOLINGS = ("slot", "clip")
CAMS, FEATURES, SMOOTH = ([row.name for row in file.METHODS] for file in (formulas, features, smoothing))
(SMOOTH,) = SMOOTH
pooled_methods = pytest.mark.parametrize(("method", "pooling"), [(m, p) for m in METHODS for p in POOLINGS])


class Video(nn.Module):
    """Two convolutions, an average over everything, one linear layer."""

    def __init__(self, channels: int = 9) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, channels, 3, padding=1), nn.ReLU(inplace=True))
        self.deep = nn.Sequential(
            nn.Conv3d(channels, 10, 3, stride=(1, 2, 2), padding=1), nn.BatchNorm3d(10), nn.ReLU()
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.deep(self.stem(x)).mean((2, 3, 4))))


class ByHand(nn.Module):
    """Channels x and 4 - x on a grid of t=2, h=1, w=2; the class weighs every cell on its own."""

    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.layer, self.head = nn.Conv3d(1, 2, 1), nn.Linear(8, 2, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([1.0, -1]).reshape(2, 1, 1, 1, 1))
            self.layer.bias.copy_(torch.tensor([0.0, 4]))
            self.head.weight.copy_(torch.stack([torch.tensor(weights).flatten(), torch.zeros(8)]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).flatten(1))


FREE, EQUAL = [[1.0, -1, 2, 0], [0, 2, -2, -4]], [[0.5] * 4, [-1.0] * 4]


def by_hand(method: str, pooling: str, numbers: list[float]) -> None:
    net, x = ByHand(EQUAL if method == "cam" else FREE), torch.tensor([1.0, 2, 3, 0]).reshape(1, 1, 2, 1, 2)
    heat = cam(net, x, layer="layer", target=0, method=method, pooling=pooling, layout="b c t h w")
    torch.testing.assert_close(heat, torch.tensor(numbers, dtype=x.dtype).reshape(1, 2, 1, 2), rtol=1e-5, atol=1e-6)


def test_by_hand(worked_out: tuple[str, str, list[float]]) -> None:
    by_hand(*worked_out)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_noise_does_not_change_a_linear_network(pooling: str, numbers: dict[tuple[str, str], list[float]]) -> None:
    by_hand(SMOOTH, pooling, numbers["grad_cam_pp", pooling])


def test_every_method_has_a_line_and_a_number(numbers: dict[tuple[str, str], list[float]]) -> None:
    assert set(METHODS) == {*CAMS, *FEATURES, SMOOTH} == {*(name for name, _ in numbers), *FEATURES, SMOOTH}
    assert all(row.name == name and row.about.strip() and "\n" not in row.about for name, row in METHODS.items())
    assert all(row.paper.strip() for row in METHODS.values())


@pooled_methods
def test_heat_is_finite_and_a_batch_equals_its_samples(method: str, pooling: str) -> None:
    net, x = Video().double(), torch.randn(3, 3, 4, 8, 8, dtype=torch.float64)
    x[1] *= 5  # another range, so that noise shared over the batch would be found
    heat = cam(net, x, layer="deep", target=[1, 0, 3], method=method, pooling=pooling)
    assert heat.shape == (3, 4, 4, 4) and torch.isfinite(heat).all() and not heat.requires_grad and heat.any()
    assert method == "cam" or heat.min() >= 0
    for sample, target in enumerate((1, 0, 3)):
        alone = cam(net, x[sample : sample + 1], layer="deep", target=target, method=method, pooling=pooling)
        torch.testing.assert_close(alone[0], heat[sample])


@pooled_methods
def test_heat_grows_with_the_score(method: str, pooling: str) -> None:
    net, x = Video().double(), torch.randn(2, 3, 4, 8, 8, dtype=torch.float64)
    score = class_score(1)
    factor = 2.5
    heat, more = (
        cam(net, x, layer="deep", target=s, method=method, pooling=pooling)
        for s in (score, lambda o: factor * score(o))
    )
    if method in FEATURES:
        assert torch.equal(heat, more)  # no class, no score
    elif method in ("grad_cam_pp", SMOOTH):
        assert not torch.allclose(factor * heat, more, rtol=1e-6)  # of exp(score): not linear
    else:
        torch.testing.assert_close(factor * heat, more)


@pooled_methods
def test_constant_input_gives_finite_heat(method: str, pooling: str) -> None:
    for value in (0.0, 1.0):
        heat = cam(Video(), torch.full((2, 3, 4, 8, 8), value), layer="deep", target=1, method=method, pooling=pooling)
        assert torch.isfinite(heat).all()


class Boom(Exception):
    pass


def boom(*_: Any) -> Tensor:
    raise Boom


def state(net: nn.Module) -> list[Any]:
    tensors = [*net.named_parameters(), *net.named_buffers()]
    return [
        [(name, id(t), t.tolist(), t.requires_grad, t.grad is None) for name, t in tensors],
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
        (torch.get_rng_state().tolist(), torch.is_grad_enabled()),
    ]


@pytest.mark.parametrize("method", METHODS)
def test_network_is_left_as_it_was(method: str) -> None:
    net, x = Video().train(), torch.randn(2, 3, 4, 8, 8)
    before, given = state(net), x.clone()
    cam(net, x, layer="deep", target=1, method=method)
    assert state(net) == before and torch.equal(x, given)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", ["score", "layer", "net"])
def test_network_is_left_as_it_was_after_an_exception(method: str, where: str) -> None:
    net, x = Video().train(), torch.randn(2, 3, 4, 8, 8)
    if where != "score":
        (net.deep if where == "layer" else net.head).register_forward_hook(boom)
    before = state(net)
    if where == "score" and method in FEATURES:
        cam(net, x, layer="deep", target=boom, method=method)  # features alone ask for no score
    else:
        with pytest.raises(VidcamError, match="fails: Boom") as raised:
            cam(net, x, layer="deep", target=boom if where == "score" else 1, method=method)
        assert isinstance(raised.value.__cause__, Boom)
    assert state(net) == before


def scaled(heat: Tensor) -> Tensor:
    return heat.clamp(min=0) / heat.clamp(min=0).max()


@pytest.mark.parametrize("build", [video.r3d_18, video.r2plus1d_18, video.mc3_18])
def test_identities_behind_an_average_pool(build: Callable[..., nn.Module]) -> None:
    """Grad-CAM of clip and slot, HiResCAM, CAM and XGrad-CAM are one map there; at an earlier layer they differ."""
    net, x = build(num_classes=6), torch.randn(1, 3, 9, 32, 32)
    others = [
        ("grad_cam", "slot"),
        ("hires_cam", "clip"),
        ("cam", "clip"),
        ("x_grad_cam", "clip"),
        ("x_grad_cam", "slot"),
    ]
    heats = {}
    for layer in ("layer4", "layer3"):
        captured = capture(net, x, layers=[layer], scores=[class_score(2)])
        for key in (("grad_cam", "clip"), *others):
            if layer == "layer3" and key[0] == "cam":
                continue
            question = Question(net, x, layer, class_score(2), captured, pooling=key[1])
            heats[layer, *key] = scaled(METHODS[key[0]].heat(question))
    for method, pooling in others:
        same = heats["layer4", method, pooling], heats["layer4", "grad_cam", "clip"]
        assert (same[0] - same[1]).abs().max() <= 1e-6
        if method != "cam":
            different = heats["layer3", method, pooling], heats["layer3", "grad_cam", "clip"]
            assert (different[0] - different[1]).abs().max() > 0.05
    with pytest.raises(OptionError, match="needs global average pooling"):
        cam(net, x, layer="layer3", target=2, method="cam")


def tiny_mvit() -> nn.Module:
    setting = {"num_heads": 1, "input_channels": 8, "output_channels": 8, "kernel_q": [], "kernel_kv": []}
    blocks = [video.mvit.MSBlockConfig(**setting, stride_q=[], stride_kv=[]) for _ in range(3)]
    return video.MViT((32, 32), 4, blocks, False, False, False, False, num_classes=5)


def test_a_class_token_hides_the_last_block() -> None:
    """Only the class token goes on from there: the layer is refused, and one that works is named."""
    net, x = tiny_mvit(), torch.randn(2, 3, 4, 32, 32)
    with pytest.raises(LayerError, match=r"'blocks.2' does not influence the score.*; try 'blocks.1'$"):
        cam(net, x, layer="blocks.2", target=1)
    assert cam(net, x, layer="blocks.1", target=1).shape == (2, 2, 8, 8)
    with pytest.raises(LayerError, match=r"try 'blocks.1'"):
        cam(net, x, layer="norm", target=1, grid=(2, 8, 8))
    with pytest.raises(LayerError, match=r"try 'blocks.2.norm1'"):
        cam(net, x, layer="blocks.2.norm2", target=1, grid=(2, 8, 8))
    assert cam(net, x, layer="blocks.2.norm1", target=1, grid=lambda tokens: (2, 8, (tokens - 1) // 16)).any()
    with pytest.raises(LayerError, match=r"try 'blocks.1'"):  # the grid of tokens is measured where it is not told
        cam(net, x, layer="norm", target=1)


def test_a_constant_score_is_said_without_a_search() -> None:
    net, forwards = Video(), []
    net.stem.register_forward_hook(lambda *_: forwards.append(1))
    x = torch.randn(1, 3, 4, 8, 8)
    with pytest.raises(LayerError, match="so is the input's"):
        cam(net, x, layer="deep", target=negative_loss(net.eval()(x).detach()))
    assert len(forwards) == 3  # the one above, the explanation, the input


def ask(net: nn.Module, x: Tensor, score: Score, **ways: Any) -> Question:
    return Question(net, x, "deep", score, capture(net, x, layers=["deep"], scores=[score]), **ways)


@pytest.mark.parametrize("samples", [1, 3])
def test_smooth_grad_cam_pp_by_its_own_sums(samples: int) -> None:
    net, x, noise, seed = Video().double().eval(), torch.randn(1, 3, 3, 4, 4).double(), 0.3, 11
    net.head = nn.Sequential(nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    dice = torch.Generator().manual_seed(seed)
    gradients = []
    for _ in range(samples):
        noisy = x + noise * (x.max() - x.min()) * torch.randn(3, 3, 4, 4, generator=dice).double()
        a = net.deep(net.stem(noisy)).detach().requires_grad_()
        gradients.append(torch.autograd.grad(net.head(a.mean((2, 3, 4)))[0, 1], a)[0][0])
    a = net.deep(net.stem(x)).detach()[0]
    expected = torch.zeros(3, 2, 2).double()
    for k in range(10):
        weight = 0.0
        for p in [(t, i, j) for t in range(3) for i in range(2) for j in range(2)]:
            d1, d2, d3 = (sum(float(g[(k, *p)]) ** n for g in gradients) / samples for n in (1, 2, 3))
            weight += d2 / (2 * d2 + d3 * float(a[k].sum())) * max(d1, 0)
        expected += weight * a[k]
    asked = ask(net, x, class_score(1), pooling="clip", layout="b c t h w")
    heat = smooth_grad_cam_pp(asked, samples=samples, noise=noise, seed=seed)
    torch.testing.assert_close(heat[0], expected.clamp(min=0))


def test_smooth_grad_cam_pp_refuses() -> None:
    net, x = Video(), torch.randn(1, 3, 4, 8, 8)
    for options in ({"samples": 0}, {"noise": -1.0}):
        with pytest.raises(OptionError, match="needs samples >= 1"):
            smooth_grad_cam_pp(ask(net, x, class_score(0)), **options)


def test_smooth_grad_cam_pp_gives_each_of_several_inputs_noise_of_its_own() -> None:
    """An input of zeros has no range and gets none; whole numbers and the caller's tensors stay as they are."""
    net, given, seen = Video(), {"x": torch.randn(2, 3, 4, 8, 8)}, []
    alone = cam(net, given["x"], layer="deep", target=1, method=SMOOTH)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep, self.net = net.deep, net

        def forward(self, x: Tensor, other: Tensor, which: Tensor) -> Tensor:
            seen.append((x, other, which))
            return self.net(x) + 0 * other.sum()

    zeros, which = torch.zeros(2, 1, 4), torch.arange(2)
    together = cam(Two(), {**given, "other": zeros, "which": which}, layer="deep", target=1, method=SMOOTH)
    assert len(seen) == 5 and all(torch.equal(w, which) and not o.any() for _, o, w in seen)
    assert len({float(x.sum()) for x, _, _ in seen}) == 5
    torch.testing.assert_close(together[0], alone[0], rtol=0.5, atol=0.5 * float(alone.max()))  # other dice
    cam(Two(), (given["x"], zeros + 1, which), layer="deep", target=1, method=SMOOTH)
    noisy = [tuple(map(float, (x.std(), o.std()))) for x, o, _ in seen[5:]]
    assert all(o == 0 for _, o in noisy)


@pytest.mark.parametrize("method", METHODS)
def test_images_have_no_time(method: str) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 20, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 4)
    )
    heat = cam(net, torch.randn(2, 3, 16, 16), layer="1", target=2, method=method)
    assert heat.shape == (2, 7, 7) and torch.isfinite(heat).all()


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_batch(method: str) -> None:
    assert cam(Video(), torch.zeros(0, 3, 4, 8, 8), layer="deep", method=method).shape == (0, 4, 4, 4)


def test_targets() -> None:
    net, x = Video(), torch.randn(3, 3, 4, 8, 8)
    best = net.eval()(x).argmax(dim=1)
    likely = cam(net, x, layer="deep")
    assert torch.equal(likely, cam(net, x, layer="deep", target=best))
    assert torch.equal(cam(net, x, layer="deep", target="2"), cam(net, x, layer="deep", target=component(2)))
    against = cam(net, x, layer="deep", target=minus(class_score(2)))
    assert torch.equal(against, cam(net, x, layer="deep", target=2, method="counterfactual"))
    with pytest.raises(TargetError, match="possible: 0 to 4"):
        cam(net, x, layer="deep", target=5)
    with pytest.raises(TargetError, match="give an index, or labels"):
        cam(net, x, layer="deep", target="wave")
    with pytest.raises(OptionError, match=r"one number per sample|most likely class needs"):
        cam(nn.Sequential(net, nn.Flatten(0)), x[:1], layer="0.deep")


def test_unknown_method() -> None:
    with pytest.raises(OptionError, match="did you mean 'grad_cam'"):
        find_method("gradcam")


def test_input_as_a_layer_and_a_given_layout() -> None:
    net, x = Video(), torch.randn(2, 3, 4, 8, 8)
    captured = capture(net, x, layers=[INPUT], scores=[class_score(1)])
    heat = cam(net, x, layer=INPUT, target=1, method="hires_cam")
    assert torch.equal(heat, (captured.gradients[0][INPUT] * x).sum(1).relu())
    asked = Question(net, x, INPUT, class_score(1), captured, layout="b t c h w")
    turned = asked.read(captured.activations[INPUT].transpose(1, 2))
    assert torch.equal(turned, x)


def test_low_precision_is_read_in_full() -> None:
    net, x = Video().bfloat16(), torch.randn(2, 3, 4, 8, 8).bfloat16()
    for method in METHODS:
        heat = cam(net, x, layer="deep", target=1, method=method)
        assert heat.dtype == torch.float32 and torch.isfinite(heat).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(cam(net.float(), x.float(), layer="deep", target=1)).all()


def test_a_network_with_a_bad_answer() -> None:
    net = Video()
    net.head.bias.data.fill_(torch.inf)
    with pytest.raises(ModelError, match="not finite"):
        cam(net, torch.randn(1, 3, 4, 8, 8), layer="deep", target=1)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_same_heat_on_cuda(method: str) -> None:
    net, x = Video(), torch.randn(2, 3, 4, 8, 8)
    heat = cam(net, x, layer="deep", target=1, method=method)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = cam(net.cuda(), x.cuda(), layer="deep", target=1, method=method)
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), heat, rtol=1e-3, atol=1e-4 * float(heat.abs().max()))


@pytest.mark.parametrize(
    "mask", [torch.ones(2, 8), torch.ones(2, 3), torch.ones(2, 4, dtype=torch.bool), torch.ones(3, 3)]
)
def test_an_input_whose_mask_stands_before_the_clip(mask: Tensor) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Video().eval()

        def forward(self, mask: Tensor, clip: Tensor) -> Tensor:
            return self.net(clip) * mask.float().mean()

    net, x = Masked(), torch.randn(2, 3, 4, 8, 8)
    expected = cam(net.net, x, layer="deep", target=1)
    for given in ((mask, x), {"mask": mask, "clip": x}):
        torch.testing.assert_close(cam(net, given, layer="net.deep", target=1), expected)
