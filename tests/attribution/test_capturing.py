"""Capture: the gradients of ordinary autograd, no graph before the layer, the network bit for bit as it was."""

import copy
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import video

from vidcam.attribution.capturing import capture
from vidcam.attribution.layers import INPUT
from vidcam.attribution.scores import class_score
from vidcam.attribution.untouched import untouched
from vidcam.errors import LayerError, ModelError, OptionError, VidcamError


class Video(nn.Module):
    """Two convolutions with everything that training changes, pooled and classified."""

    def __init__(self, *, inplace: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(inplace=inplace))
        self.deep = nn.Sequential(nn.Conv3d(6, 8, 3, stride=2, padding=1), nn.BatchNorm3d(8), nn.ReLU(inplace=inplace))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.deep(self.stem(x)).mean((2, 3, 4)) ** 2))


class PerFrame(nn.Module):
    """A 2-D network over frames, in a loop or with time folded into the batch, and a GRU."""

    def __init__(self, *, loop: bool, backwards: bool = False) -> None:
        super().__init__()
        self.loop, self.backwards = loop, backwards
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, stride=2))
        self.rnn = nn.GRU(4, 7, batch_first=True)
        self.head = nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C, H, W)
        if self.loop:
            order = range(x.shape[1])
            maps = {t: self.cnn(x[:, t]) for t in (reversed(order) if self.backwards else order)}
            features = torch.stack([maps[t].mean((2, 3)) for t in order], dim=1)
        else:
            features = self.cnn(x.flatten(0, 1)).mean((2, 3)).unflatten(0, x.shape[:2])
        return self.head(self.rnn(features)[0][:, -1])


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 4, 8, 8)


def state(net: nn.Module) -> list[Any]:
    """Everything that capture promises to leave: tensors by value and identity, flags, gradients, hooks, dice."""
    tensors = OrderedDict([*net.named_parameters(), *net.named_buffers()])
    return [
        [
            (name, id(t), t.requires_grad, t.tolist(), None if t.grad is None else t.grad.tolist())
            for name, t in tensors.items()
        ],
        [(name, m.training, list(m._buffers)) for name, m in net.named_modules()],
        [
            [list(h.values()) for h in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)]
            for m in net.modules()
        ],
        [list(m._forward_hooks_always_called) for m in net.modules()],
        torch.get_rng_state().tolist(),
        torch.backends.cudnn.enabled,
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    ]


def ordinary(net: nn.Module, x: Any, layer: str, score: Callable[[Any], Tensor]) -> tuple[Tensor, Tensor]:
    """Activation and gradient by a plain hook and a plain backward, everything recorded, on a copy."""
    net, kept = copy.deepcopy(net).eval(), []

    def keep(_m: nn.Module, _a: Any, output: Any) -> Any:
        tensor = output if isinstance(output, Tensor) else output[0]
        kept.append(tensor)
        passed = tensor.clone()  # a following in-place module must not overwrite what was kept
        return passed if isinstance(output, Tensor) else (passed, *output[1:])

    net.get_submodule(layer).register_forward_hook(keep)
    score(net(x)).sum().backward(inputs=kept)
    return kept[0].detach(), kept[0].grad


def test_equals_ordinary_autograd_in_a_tiny_network(x: Tensor) -> None:
    for inplace in (True, False):
        net = Video(inplace=inplace)
        for layer in ("stem", "stem.0", "stem.1", "stem.2", "deep", "deep.0", "deep.2"):
            captured = capture(net, x, layers=[layer], scores=[class_score(3)])
            activation, gradient = ordinary(net, x, layer, class_score(3))
            assert torch.equal(captured.activations[layer], activation)
            assert torch.equal(captured.gradients[0][layer], gradient) and gradient.any()
        assert torch.equal(captured.output, net.eval()(x)) and not captured.output.requires_grad
        assert torch.equal(captured.scores[0], captured.output[:, 3])


@pytest.mark.parametrize(
    "layer", ["layer4", "layer3", "layer3.1.conv1.0.3", "layer4.0.downsample.0", "stem.2", "layer2.0.relu"]
)
def test_equals_ordinary_autograd_in_r2plus1d(layer: str) -> None:
    parts = video.resnet.BasicBlock, [video.resnet.Conv2Plus1D] * 4, [1, 2, 2, 1], video.resnet.R2Plus1dStem
    net, x = video.resnet.VideoResNet(*parts, num_classes=7), torch.randn(1, 3, 4, 16, 16)
    captured = capture(net, x, layers=[layer], scores=[class_score(2)])
    activation, gradient = ordinary(net, x, layer, class_score(2))
    assert torch.equal(captured.activations[layer], activation)
    assert torch.equal(captured.gradients[0][layer], gradient) and gradient.any()


def tiny_mvit() -> nn.Module:
    setting = {"num_heads": 1, "input_channels": 8, "output_channels": 8, "kernel_q": [], "kernel_kv": []}
    blocks = [video.mvit.MSBlockConfig(**setting, stride_q=[], stride_kv=[]) for _ in range(3)]
    return video.MViT((32, 32), 4, blocks, False, False, False, False, num_classes=5)


def test_equals_ordinary_autograd_in_a_video_transformer() -> None:
    net, x = tiny_mvit(), torch.randn(2, 3, 4, 32, 32)
    for layer in ("blocks.2.norm1", "blocks.1", "blocks.2"):
        captured = capture(net, x, layers=[layer], scores=[class_score(2)])
        activation, gradient = ordinary(net, x, layer, class_score(2))
        assert torch.equal(captured.activations[layer], activation)
        assert torch.equal(captured.gradients[0][layer], gradient) and gradient.any()
    assert captured.grids == {"blocks.2": (2, 8, 8)}


@pytest.mark.parametrize("trained", [True, False])
def test_nothing_is_recorded_before_the_layer(x: Tensor, trained: bool) -> None:
    """What autograd saves is what the part behind the layer saves on its own, in shape and number."""
    net = Video(inplace=False).eval().requires_grad_(trained)
    saved: list[tuple[int, ...]] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(tuple(t.shape)) or t, lambda t: t)
    with hooks:
        capture(net, x, layers=["deep"], scores=[lambda output: output[:, 0]])
    found = list(saved)
    saved.clear()
    leaf = net.deep(net.stem(x)).detach().requires_grad_()
    with hooks:
        copy.deepcopy(net).requires_grad_(False).head(leaf.clone().mean((2, 3, 4)) ** 2)[:, 0].sum()
    assert found == saved and 0 < len(found) < 5
    with hooks:
        capture(net, x, layers=["stem"])  # no score, no graph at all
    assert len(saved) == len(found)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_network_is_left_as_it_was(x: Tensor, training: bool, frozen: bool) -> None:
    net = Video().train(training)
    net.head.eval()  # a part that differs from the rest
    net(x).sum().backward()  # gradients that must stay
    net.requires_grad_(not frozen)
    net.stem[0].bias.requires_grad_(frozen)
    before, given = state(net), x.clone()
    first = capture(net, x, layers=["deep", INPUT], scores=[class_score(1)])
    assert state(net) == before and torch.equal(x, given) and not x.requires_grad
    again = capture(net, x, layers=["deep"], scores=[class_score(1)])
    assert torch.equal(first.gradients[0]["deep"], again.gradients[0]["deep"]) and again.gradients[0]["deep"].any()


class Boom(Exception):
    pass


def boom(*_: Any) -> Tensor:
    raise Boom


class Failing(nn.Module):
    forward = boom


@pytest.mark.parametrize("where", ["score", "layer", "behind", "rnn", "hook"])
def test_network_is_left_as_it_was_after_an_exception(where: str) -> None:
    net, x = PerFrame(loop=True).train(), torch.randn(2, 3, 3, 8, 8)
    score, layer = class_score(0), "cnn.2"
    if where == "score":
        score = boom
    elif where == "layer":
        net.cnn[2] = Failing()
    elif where == "behind":
        net.head = Failing()
    elif where == "rnn":
        net.rnn.forward = boom
    else:
        net.rnn.register_forward_hook(boom)
    before = state(net)
    with pytest.raises(VidcamError, match=r"the score 'boom' fails: Boom|the network, given .*, fails: Boom") as raised:
        capture(net, x, layers=[layer], scores=[score])
    assert isinstance(raised.value.__cause__, Boom)
    assert state(net) == before


class Counting(nn.Module):
    """Counts its calls in a buffer, replaces one, adds one and removes one; draws random numbers in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv3d(3, 4, 1), nn.Linear(4, 2)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last", torch.zeros(3))
        self.register_buffer("gone", torch.ones(2))
        self.register_buffer("none", None)

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.last = x.mean((0, 2, 3, 4))
        self.register_buffer("new", torch.ones(1))
        self.gone = None
        return self.head(self.conv(x).relu().mean((2, 3, 4)) + torch.rand(4))


def test_buffers_that_the_forward_changes_are_put_back(x: Tensor) -> None:
    net = Counting()
    before = state(net)
    capture(net, x, layers=["conv"], scores=[class_score(0)])
    assert state(net) == before and not hasattr(net, "new")


def test_a_pending_backward_of_the_user_still_works(x: Tensor) -> None:
    net = Video(inplace=False).eval()
    loss = net(x).sum()
    capture(net, x, layers=["deep"], scores=[class_score(0)])
    loss.backward()
    assert net.stem[0].weight.grad is not None


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_gradient_mode_does_not_matter(x: Tensor, context: Any) -> None:
    net = Video()
    expected = capture(net, x, layers=["deep"], scores=[class_score(1)])
    with context():
        given = x.clone()  # an inference tensor under inference mode
        before = state(net)
        found = capture(net, given, layers=["deep", INPUT], scores=[class_score(1)])
        assert state(net) == before
    assert given.is_inference() == (context is torch.inference_mode)
    assert torch.equal(found.gradients[0]["deep"], expected.gradients[0]["deep"])
    torch.testing.assert_close(capture(net, given, layers=["stem"], scores=[class_score(1)]).scores, expected.scores)


class Guarded(nn.Module):
    """Runs its own backbone without gradients, as many published networks do."""

    def __init__(self, guard: Any) -> None:
        super().__init__()
        self.guard, self.backbone = guard, Video()

    def forward(self, x: Tensor) -> Tensor:
        with self.guard():
            features = self.backbone.deep(self.backbone.stem(x))
        return self.backbone.head(features.mean((2, 3, 4)) ** 2)


@pytest.mark.parametrize("layer", ["stem", "stem.0", "deep"])
def test_a_backbone_that_the_network_runs_without_gradients(x: Tensor, layer: str) -> None:
    net = Guarded(torch.no_grad)
    _, gradient = ordinary(net.backbone, x, layer, class_score(1))
    found = capture(net, x, layers=[f"backbone.{layer}"], scores=[class_score(1)])
    assert torch.equal(found.gradients[0][f"backbone.{layer}"], gradient)


def test_a_backbone_under_inference_mode_is_said(x: Tensor) -> None:
    with pytest.raises(LayerError, match="inference_mode by the network"):
        capture(Guarded(torch.inference_mode), x, layers=["backbone.stem"], scores=[class_score(1)])
    with torch.inference_mode():
        net = Video()
    with pytest.raises(ModelError, match=r"built under torch\.inference_mode"):
        capture(net, x, layers=["stem"])


def test_a_loop_over_frames_equals_the_folded_form() -> None:
    """The rows of the calls stand one after the other: frame by frame, and in each the samples."""
    loop, x = PerFrame(loop=True), torch.randn(2, 5, 3, 8, 8)
    fold = PerFrame(loop=False)
    fold.load_state_dict(loop.state_dict())
    one = capture(loop, x, layers=["cnn"], scores=[class_score(1)])
    other = capture(fold, x, layers=["cnn"], scores=[class_score(1)])
    assert one.activations["cnn"].shape == (10, 4, 3, 3) and (one.calls["cnn"], other.calls["cnn"]) == (5, 1)
    for loops, folds in ((one.activations, other.activations), (one.gradients[0], other.gradients[0])):
        torch.testing.assert_close(loops["cnn"].unflatten(0, (5, 2)).transpose(0, 1).flatten(0, 1), folds["cnn"])
    frame = loop.eval().cnn(x[1, 3][None]).detach()
    torch.testing.assert_close(one.activations["cnn"][3 * 2 + 1], frame[0])


@dataclass(frozen=True)
class Answer:
    name: str
    values: Tensor


Pair = namedtuple("Pair", ["size", "values"])
PACKERS: list[Callable[[Tensor], Any]] = [
    *(lambda t: (t, (1, 2)), lambda t: [3, t], lambda t: {"ids": torch.arange(2), "v": t}),
    *(lambda t: Answer("a", t), lambda t: Pair(7, t), lambda t: OrderedDict(v=t), lambda t: {"deep": [(None, t)]}),
]


class Packed(nn.Module):
    """Packs what its inner network returns."""

    def __init__(self, inner: nn.Module, pack: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.pack = inner, pack

    def forward(self, x: Any) -> Any:
        return self.pack(self.inner(x))


def unpack(packed: Any) -> Tensor:
    for _ in range(4):
        if isinstance(packed, Tensor) and packed.is_floating_point():
            return packed
        parts = (
            packed.values()
            if isinstance(packed, dict)
            else vars(packed).values()
            if isinstance(packed, Answer)
            else packed
        )
        packed = next(
            p for p in parts if isinstance(p, list | tuple) or (isinstance(p, Tensor) and p.is_floating_point())
        )
    raise AssertionError(packed)


class Unpacking(nn.Module):
    def __init__(self, first: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.first, self.rest = first, rest

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(unpack(self.first(x)).mean((2, 3, 4)) ** 2)


@pytest.mark.parametrize("pack", PACKERS)
def test_packed_outputs_of_layer_and_network(x: Tensor, pack: Callable[[Tensor], Any]) -> None:
    plain = Video()
    expected = capture(plain, x, layers=["deep"], scores=[class_score(1)])
    features = nn.Sequential(plain.stem, plain.deep)
    net = Packed(Unpacking(Packed(features, pack), plain.head), pack)
    found = capture(net, x, layers=["inner.first"], scores=[lambda output: unpack(output)[:, 1]])
    assert torch.equal(found.activations["inner.first"], expected.activations["deep"])
    assert torch.equal(found.gradients[0]["inner.first"], expected.gradients[0]["deep"])
    assert type(found.output) is type(pack(x))
    assert torch.equal(unpack(found.output), expected.output) and not unpack(found.output).requires_grad


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Video()

    def forward(self, clip: Tensor, *, scale: float = 1.0) -> Tensor:
        return scale * self.net(clip)


def test_inputs_of_every_form(x: Tensor) -> None:
    net = Named()
    one = capture(net, x, layers=["net.deep", INPUT], scores=[class_score(0)])
    for given, factor in (((x,), 1), ({"clip": x}, 1), ({"clip": x, "scale": 2.0}, 2)):
        found = capture(net, given, layers=["net.deep", INPUT], scores=[class_score(0)])
        for layer in ("net.deep", INPUT):
            torch.testing.assert_close(found.gradients[0][layer], factor * one.gradients[0][layer])
    with pytest.raises(OptionError, match="must hold a floating point tensor; given Tensor"):
        capture(net, x.long(), layers=["net.deep"])


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 4, 1)
        self.left, self.right, self.unused = nn.Conv3d(4, 4, 1), nn.Conv3d(4, 4, 1), nn.Conv3d(4, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head((self.left(x).relu() * self.right(x).sigmoid()).mean((2, 3, 4)))


def test_many_layers_and_scores_from_one_forward(x: Tensor) -> None:
    net, layers = Branches(), [INPUT, "stem", "left", "right"]
    scores = [class_score(0), class_score(2), lambda output: (output**2).sum(1)]
    forwards: list[int] = []
    with net.register_forward_hook(lambda *_: forwards.append(1)):
        together = capture(net, x, layers=layers, scores=scores)
    assert len(forwards) == 1
    for layer in layers:
        for score, gradients in zip(scores, together.gradients, strict=True):
            alone = capture(net, x, layers=[layer], scores=[score])
            assert torch.equal(alone.activations[layer], together.activations[layer])
            assert torch.equal(alone.gradients[0][layer], gradients[layer]) and gradients[layer].any()


def test_the_same_score_twice(x: Tensor) -> None:
    net = nn.Sequential(Branches(), nn.Flatten(0), nn.Unflatten(0, (2, 3)))
    answer = lambda output: output[:, 0]  # noqa: E731
    kept: list[Tensor] = []

    def same(output: Tensor) -> Tensor:
        kept.append(answer(output)) if not kept else None
        return kept[0]

    first, second = capture(net, x, layers=["0.left"], scores=[same, same]).gradients
    assert torch.equal(first["0.left"], second["0.left"])


def test_no_scores(x: Tensor) -> None:
    found = capture(Branches(), x, layers=["left", INPUT])
    assert found.gradients == () and found.scores == ()
    assert not any(a.requires_grad for a in found.activations.values()) and torch.equal(found.activations[INPUT], x)


def test_a_score_that_ignores_the_layer_has_zero_gradient(x: Tensor) -> None:
    for score in (lambda output: torch.zeros(2), lambda output: output.detach()[:, 0]):
        found = capture(Branches(), x, layers=["left"], scores=[score, class_score(1)])
        assert not found.gradients[0]["left"].any() and found.gradients[1]["left"].any()


def test_gradient_of_the_input(x: Tensor) -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), Video())  # overwrites its input
    given = x.clone()
    found = capture(net, x, layers=[INPUT], scores=[class_score(1)])
    assert torch.equal(x, given) and torch.equal(found.activations[INPUT], given)
    leaf = given.clone().requires_grad_()
    net.eval()(leaf.clone())[:, 1].sum().backward()
    assert torch.equal(found.gradients[0][INPUT], leaf.grad)


class Shared(nn.Module):
    """One block used three times, of one shape or of several."""

    def __init__(self, *, same: bool) -> None:
        super().__init__()
        self.block, self.head = nn.Conv3d(3, 3, 3, padding=int(same)), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.block(x).tanh()
        return self.head(x.mean((2, 3, 4)))


def test_a_module_that_is_used_again(x: Tensor) -> None:
    net = Shared(same=True)
    found = capture(net, x, layers=["block"], scores=[class_score(0)])
    calls = found.activations["block"].unflatten(0, (3, 2)).transpose(0, 1)  # b, call
    maps = [net.block(x)]
    maps += [net.block(maps[0].tanh())]
    torch.testing.assert_close(calls[:, 1], maps[1].detach())
    (gradient,) = torch.autograd.grad(net.head(net.block(maps[1].tanh()).tanh().mean((2, 3, 4)))[:, 0].sum(), maps[1])
    torch.testing.assert_close(found.gradients[0]["block"].unflatten(0, (3, 2))[1], gradient)
    with pytest.raises(LayerError, match="used 3 times with different shapes"):
        capture(Shared(same=False), torch.randn(1, 3, 9, 9, 9), layers=["block"], scores=[class_score(0)])


class Overwriting(nn.Module):
    """Changes in place what a layer returned, through another name for it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.same, self.head = nn.Conv3d(3, 4, 1), nn.Identity(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = self.same(x)
        x.mul_(0)
        return self.head((x + y).mean((2, 3, 4)))


def test_an_output_that_is_overwritten_under_another_name_is_refused(x: Tensor) -> None:
    with pytest.raises(LayerError, match="'same' has an output that is overwritten later"):
        capture(Overwriting(), x, layers=["same"], scores=[class_score(0)])
    for layers in (["conv"], ["conv", INPUT]):  # a clone of it is overwritten
        activation = capture(net := Overwriting(), x, layers=layers, scores=[class_score(0)]).activations["conv"]
        assert torch.equal(activation, net.conv(x))


def test_hooks_of_the_user_fire_and_stay(x: Tensor) -> None:
    net, heard = Video(), []
    net.deep.register_forward_pre_hook(lambda m, a: heard.append("before"))
    net.deep.register_forward_hook(lambda m, a, o: heard.append("after") or 2 * o)
    handle = net.head.register_full_backward_hook(lambda m, gi, go: heard.append("backward"))
    found = capture(net, x, layers=["deep"], scores=[class_score(0)])
    assert heard == ["before", "after", "backward"]
    handle.remove()
    torch.testing.assert_close(found.activations["deep"], net.eval().deep(net.stem(x)).detach())


class OnGpu(nn.Parameter):
    """A parameter that says it is on a GPU."""

    is_cuda = property(lambda _: True)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(("on_gpu", "gradients"), [(True, True), (True, False), (False, True)])
def test_cudnn_is_off_in_recurrent_modules_that_need_it_only(
    kind: Any, enabled: bool, on_gpu: bool, gradients: bool
) -> None:
    net, x, seen = PerFrame(loop=False), torch.randn(1, 3, 3, 8, 8), {}
    net.rnn = kind(4, 7, batch_first=True)
    for name, weight in [*net.rnn.named_parameters()]:
        setattr(net.rnn, name, OnGpu(weight.detach()) if on_gpu else weight)

    def watch(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any) -> Any:
            seen[name] = torch.backends.cudnn.enabled
            return forward(*args)

        return watched

    for name in ("cnn", "rnn", "head"):
        module = net.get_submodule(name)
        module.forward = watch(name, module.forward)
    with torch.backends.cudnn.flags(enabled=enabled):
        capture(net, x, layers=["cnn"], scores=[class_score(0)], gradients=gradients)
        assert torch.backends.cudnn.enabled == enabled
    assert seen == {"cnn": enabled, "rnn": enabled and not (on_gpu and gradients), "head": enabled}


def test_cudnn_comes_back_after_an_exception_in_a_recurrent_module() -> None:
    net = PerFrame(loop=False)
    net.rnn = nn.LSTM(4, 7, batch_first=True)
    for name, weight in [*net.rnn.named_parameters()]:
        setattr(net.rnn, name, OnGpu(weight.detach()))
    net.rnn.forward = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    with torch.backends.cudnn.flags(enabled=True):
        with pytest.raises(KeyboardInterrupt):
            capture(net, torch.randn(1, 3, 3, 8, 8), layers=["cnn"], scores=[class_score(0)])
        assert torch.backends.cudnn.enabled


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision(x: Tensor, dtype: torch.dtype) -> None:
    net = Video()
    expected = capture(net, x, layers=["deep"], scores=[class_score(0)]).gradients[0]["deep"]
    with torch.autocast("cpu", dtype=dtype):
        mixed = capture(net, x, layers=["deep"], scores=[class_score(0)]).gradients[0]["deep"]
    low = capture(net.to(dtype), x.to(dtype), layers=["deep"], scores=[class_score(0)]).gradients[0]["deep"]
    assert low.dtype == dtype
    for found in (mixed, low):
        torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.05 * float(expected.abs().max()))


def test_an_empty_batch() -> None:
    found = capture(Video(), torch.zeros(0, 3, 4, 8, 8), layers=["deep"], scores=[class_score(0)])
    assert found.gradients[0]["deep"].shape == (0, 8, 2, 4, 4) and found.scores[0].shape == (0,)


def test_what_is_wrong_is_said_in_one_line(x: Tensor) -> None:
    net = Branches()
    for layers, message in ((["lefts"], "did you mean 'left'"), (["unused"], "not used in the network's forward")):
        with pytest.raises(LayerError, match=message):
            capture(net, x, layers=layers, scores=[class_score(0)])
    for score, message in ((lambda o: o, r"shape \(2,\); given \(2, 3\)"), (lambda o: 1.0, "given float")):
        with pytest.raises(OptionError, match=message):
            capture(net, x, layers=["left"], scores=[score])
    with pytest.raises(ModelError, match="the score is not finite"):
        capture(net, x * torch.nan, layers=["left"], scores=[class_score(0)])
    with pytest.raises(ModelError, match="a gradient is not finite"):
        capture(net, x, layers=["left"], scores=[lambda o: (o[:, 0] - o[:, 0].detach()).sqrt()])
    net.left.forward = lambda x: "text"
    with pytest.raises(LayerError, match="returns no floating point tensor but str"):
        capture(net, x, layers=["left"])


def test_lazy_parameters_are_said(x: Tensor) -> None:
    net = nn.Sequential(nn.Conv3d(3, 4, 1), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(ModelError, match="run it once"):
        capture(net, x, layers=["0"])
    net(x)
    assert capture(net, x, layers=["0"], scores=[class_score(0)]).gradients[0]["0"].any()


def test_untouched_nests() -> None:
    net = Video().train()
    before = state(net)
    with untouched(net):
        assert not net.training and not any(p.requires_grad for p in net.parameters())
        torch.rand(3)
        with untouched(net):
            torch.rand(3)
        assert not net.stem.training
    assert state(net) == before


@pytest.mark.gpu
def test_recurrent_network_in_eval_mode_on_cuda() -> None:
    net, x = PerFrame(loop=False), torch.randn(2, 5, 3, 8, 8)
    expected = capture(net, x, layers=["cnn"], scores=[class_score(1)]).gradients[0]["cnn"]
    net.rnn.dropout = 0.5
    before = torch.cuda.get_rng_state()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = capture(net.cuda().train(), x.cuda(), layers=["cnn"], scores=[class_score(1)]).gradients[0]["cnn"]
    assert torch.equal(before, torch.cuda.get_rng_state()) and net.rnn.training
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
