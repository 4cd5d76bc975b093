"""CNN-LSTMs: heat is where and when the evidence is, attention is what the formula says, frozen is frozen."""

import math
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from vidcam.attribution.capturing import capture
from vidcam.attribution.geometry import Axis
from vidcam.attribution.methods import cam
from vidcam.attribution.receptive_field import measure_axes
from vidcam.attribution.scores import class_score
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, OptionError
from vidcam.explaining.explain import explain
from vidcam.media import VideoWriter
from vidcam.models.build import load_model
from vidcam.models.cnn_rnn import CnnRnn, RecurrentOutput
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning
from vidcam.models.torchvision_networks import image_backbone

LAYER = "backbone.layer4"
LAYOUT = "(b t) c h w"
FRAMES = 16


def small(**options: object) -> CnnRnn:
    return CnnRnn(3, **({"hidden": 6} | options)).double().eval()


def clip(batch: int = 1, frames: int = 5, size: int = 40) -> Tensor:
    return torch.rand(batch, 3, frames, size, size, dtype=torch.float64)


def planted(units: int, *, keep: bool) -> CnnRnn:
    """Write an LSTM's weights by hand: unit 0 takes the mean feature; the score of class 1 is the last unit.

    With `keep` the one unit adds up all frames. Else every unit hands on to the next one what it had a frame ago, so
    that after the last frame unit k knows of the frame k earlier and nothing else.
    """
    net = CnnRnn(2, hidden=units).eval()
    rnn = net.rnn
    with torch.no_grad():
        for parameter in (*rnn.parameters(), *net.head.parameters()):
            parameter.zero_()
        gate_in, forget, _, out = rnn.bias_ih_l0.chunk(4)
        gate_in.fill_(1000)
        out.fill_(1000)
        forget.fill_(1000 if keep else -1000)  # a sigmoid of exactly 1 or 0
        rnn.weight_ih_l0[2 * units] = 0.1 / rnn.input_size
        rnn.weight_hh_l0[2 * units : 3 * units] = torch.diag(torch.ones(units - 1), -1)
        net.head.weight[1, -1] = 1
    return net


def write(pixels: np.ndarray, path: Path) -> Path:
    with VideoWriter(path, width=pixels.shape[2], height=pixels.shape[1], rate=Fraction(8)) as writer:
        for frame in pixels:
            writer.write(frame)
    return path


def noise(frames: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, 64, 64, 3), dtype=np.uint8)


def marked(frame: int) -> np.ndarray:
    """Black frames but for one."""
    pixels = np.zeros((FRAMES, 64, 64, 3), dtype=np.uint8)
    pixels[frame] = noise(1)[0]
    return pixels


def model_of(net: CnnRnn) -> Model:
    attention = (lambda output: output.attention) if net.attention is not None else None
    how = Preprocessing(resize=(64, 64))
    axes = {LAYER: (Axis(1, 0, 1), Axis(32, 0, 435), Axis(32, 0, 435))}
    return Model(net, LAYER, LAYOUT, FRAMES, frame_rate=8, preprocessing=how, axes=axes, attention=attention)


def test_heat_is_in_the_only_frame_that_can_answer(tmp_path):
    net = planted(FRAMES - 3, keep=False)
    heat = cam(net, torch.rand(2, 3, FRAMES, 64, 64), layer=LAYER, target=1, layout=LAYOUT)
    assert heat.shape == (2, FRAMES, 2, 2)
    assert (heat[:, 3] > 0).all() and not heat[:, [t for t in range(FRAMES) if t != 3]].any()
    explanation = explain(model_of(net), write(noise(), tmp_path / "noise.mp4"), target=1)
    assert explanation.top_frames(1) == [3] and (explanation.frame_scores > 0).sum() == 1


@pytest.mark.parametrize("backwards", [False, True])
def test_heat_follows_the_evidence_when_the_clip_is_reversed(tmp_path, backwards):
    net, pixels = planted(1, keep=True), marked(3)[:: -1 if backwards else 1]
    x = torch.from_numpy(pixels.copy()).permute(3, 0, 1, 2)[None] / 255
    frame = 12 if backwards else 3
    heat = cam(net, x, layer=LAYER, target=1, layout=LAYOUT)[0]
    assert (heat.flatten(1).sum(1) > 0).nonzero().flatten().tolist() == [frame]
    explanation = explain(model_of(net), write(pixels, tmp_path / "marked.mp4"), target=1)
    assert explanation.top_frames(1) == [frame]
    assert explanation.frame_scores[frame] > 0.9 * explanation.frame_scores.sum()


def test_a_batch_equals_its_singles():
    net, x = small(attention=True), clip(3)
    together = cam(net, x, layer=LAYER, layout=LAYOUT)
    singles = torch.cat([cam(net, x[i : i + 1], layer=LAYER, layout=LAYOUT) for i in range(3)])
    torch.testing.assert_close(together, singles)
    torch.testing.assert_close(net(x).logits, torch.cat([net(one[None]).logits for one in x]))


@pytest.mark.parametrize("options", [{}, {"attention": True, "bidirectional": True}])
def test_gradients_stand_at_their_own_frames(options):
    """A frame's activation is nudged: the score changes by what the gradient at that frame says."""
    net, x, score, step = small(**options), clip(), class_score(1), 1e-4
    gradient = capture(net, x, layers=[LAYER], scores=[score]).gradients[0][LAYER]  # (T, C, h, w)
    slopes, expected = [], []
    for frame in range(x.shape[2]):
        nudge = torch.zeros_like(gradient)
        nudge[frame] = torch.randn(gradient.shape[1:], dtype=torch.float64)
        ends = [_nudged(net, x, sign * step * nudge) for sign in (1, -1)]
        slopes.append(float(score(ends[0]) - score(ends[1])) / (2 * step))
        expected.append(float((gradient * nudge).sum()))
    np.testing.assert_allclose(slopes, expected, rtol=1e-4, atol=1e-10)
    assert min(map(abs, expected)) > 1e-7 and len({f"{value:.3g}" for value in expected}) == len(expected)


def _nudged(net: nn.Module, x: Tensor, by: Tensor) -> object:
    handle = net.get_submodule(LAYER).register_forward_hook(lambda _m, _a, output: output + by)
    with torch.no_grad():
        output = net(x)
    handle.remove()
    return output


class FrameLoop(nn.Module):
    """The same network as a user may write it: the image network is called once per frame."""

    def __init__(self, net: CnnRnn) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        features = [self.net.backbone(frame).mean((2, 3)) for frame in x.unbind(2)]
        _, (state, _) = self.net.rnn(torch.stack(features, dim=1))
        return self.net.head(state[-1])


def test_a_loop_over_frames_gives_the_same_heat():
    net, x = small(), clip(2)
    folded = cam(net, x, layer=LAYER, target=2)  # the layout is told by the shape
    looped = cam(FrameLoop(net), x, layer=f"net.{LAYER}", target=2)
    assert folded.any()
    torch.testing.assert_close(folded, looped)


def states_by_cells(rnn: nn.LSTM | nn.GRU, x: Tensor) -> Tensor:
    """(B, T, C) -> (B, D), the last states of all directions of the last layer, one cell and frame at a time."""
    make = nn.LSTMCell if isinstance(rnn, nn.LSTM) else nn.GRUCell
    for layer in range(rnn.num_layers):
        outputs, ends = [], []
        for suffix in ["", "_reverse"][: 2 if rnn.bidirectional else 1]:
            cell = make(x.shape[2], rnn.hidden_size).double()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                setattr(cell, name, nn.Parameter(getattr(rnn, f"{name}_l{layer}{suffix}")))
            state, found = None, {}
            for t in reversed(range(x.shape[1])) if suffix else range(x.shape[1]):
                state = cell(x[:, t], state)
                found[t] = state[0] if isinstance(state, tuple) else state
            outputs.append(torch.stack([found[t] for t in range(x.shape[1])], dim=1))
            ends.append(found[t])
        x = torch.cat(outputs, dim=2)
    return torch.cat(ends, dim=1)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_logits_are_those_of_single_cells(cell, bidirectional):
    net, x = small(cell=cell, bidirectional=bidirectional, layers=2, dropout=0.5), clip(2)
    with torch.no_grad():
        features = torch.stack([net.backbone(frame).mean((2, 3)) for frame in x.unbind(2)], dim=1)
        logits = net(x)
        assert logits.shape == (2, 3)
        torch.testing.assert_close(logits, net.head(states_by_cells(net.rnn, features)))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_attention_is_the_paper_s(bidirectional):
    net, x = small(attention=True, bidirectional=bidirectional), clip(2)
    with torch.no_grad():
        output = net(x)
        features = torch.stack([net.backbone(frame).mean((2, 3)) for frame in x.unbind(2)], dim=1)
        states, query = net.rnn(features)[0], states_by_cells(net.rnn, features)
    assert isinstance(output, RecurrentOutput) and output.attention.shape == (2, 5)
    w, bias, v = (
        p.detach().numpy() for p in (net.attention.mix.weight, net.attention.mix.bias, net.attention.rate.weight)
    )
    for b in range(2):
        rates = []
        for t in range(5):
            pair = [*query[b].tolist(), *states[b, t].tolist()]
            mixed = [
                math.tanh(sum(p * q for p, q in zip(row, pair, strict=True)) + c)
                for row, c in zip(w, bias, strict=True)
            ]
            rates.append(sum(p * q for p, q in zip(v[0], mixed, strict=True)))
        weights = [math.exp(r) / sum(math.exp(other) for other in rates) for r in rates]
        np.testing.assert_allclose(output.attention[b], weights, rtol=1e-9)
        context = sum(a * states[b, t] for t, a in enumerate(weights))
        torch.testing.assert_close(output.logits[b], net.head(context).detach())
    torch.testing.assert_close(output.attention.sum(1), torch.ones(2, dtype=torch.float64))


def test_attention_is_laid_on_the_source(tmp_path):
    net = CnnRnn(2, attention=True, hidden=6).eval()
    nn.init.normal_(net.attention.rate.weight, std=10)
    path, model = write(noise(), tmp_path / "noise.mp4"), model_of(net)
    explanation = explain(model, path, target=0)
    frames = []
    handle = net.register_forward_hook(lambda _m, _a, output: frames.append(output.attention.detach()))
    explain(model, path, target=0)
    handle.remove()
    assert explanation.attention.sum() == pytest.approx(1, abs=1e-5) and explanation.attention.std() > 0.01
    np.testing.assert_allclose(explanation.attention, frames[0][0], rtol=1e-5)


@pytest.mark.parametrize("freeze", [True, False])
def test_a_frozen_backbone_stays_bit_identical(freeze):
    net = CnnRnn(3, hidden=6, freeze=freeze)
    net.train(False).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    nn.functional.cross_entropy(net(clip(2).float()), torch.tensor([0, 2])).backward()
    optimizer.step()
    changed = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert {"rnn.weight_ih_l0", "head.weight"} <= changed
    assert any(key.startswith("backbone.") for key in changed) is not freeze
    assert ("backbone.bn1.running_mean" in changed) is not freeze


def test_explaining_leaves_a_training_network_as_it_was():
    net = CnnRnn(3, hidden=6, freeze=True)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    cam(net, clip().float(), layer=LAYER, target=0, layout=LAYOUT)
    assert net.training and not net.backbone.training and not net.backbone.layer4[0].bn1.training
    assert {p.requires_grad for p in net.backbone.parameters()} == {False}
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.gpu
def test_cudnn_is_off_only_where_it_has_no_backward():
    net, x = CnnRnn(3, attention=True, hidden=6).eval(), clip(2).float()
    expected = cam(net, x, layer=LAYER, target=1, layout=LAYOUT)
    net, x = net.cuda(), x.cuda()
    with pytest.raises(RuntimeError, match="cudnn RNN backward"):
        net(x).logits.sum().backward()
    heat = cam(net, x, layer=LAYER, target=1, layout=LAYOUT)
    assert torch.backends.cudnn.enabled
    assert float((heat.cpu() - expected).abs().max()) < 0.02 * float(expected.max())  # convolutions in TF32


CLASSIFIERS = ("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "mnasnet0_5", "mobilenet_v2")
CLASSIFIERS += ("mobilenet_v3_small", "regnet_x_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t")


@pytest.mark.parametrize("name", [*CLASSIFIERS, "vgg11"])
def test_a_backbone_is_the_classifier_before_its_pooling(name, tmp_path):
    """Pooling and head of the classifier itself, on the backbone's map, give the classifier's own answer."""
    net = torchvision.models.get_model(name, weights=None, num_classes=7).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    backbone, x = image_backbone(name, weights=tmp_path / "weights.pth").eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps = backbone(x)
        y = net.avgpool(maps) if hasattr(net, "avgpool") else maps.mean((2, 3), keepdim=True)
        y = maps if name == "squeezenet1_1" else y if name == "convnext_tiny" else y.flatten(1)
        for head in ("classifier", "fc", "head"):
            y = getattr(net, head, nn.Identity())(y)
        torch.testing.assert_close(y.flatten(1), net(x))


def test_known_geometry_is_the_measured_one():
    model = untrained("cnn_lstm", hidden=6)
    assert len(model.axes) == 6
    for layer in ("backbone.maxpool", LAYER):
        assert model.axes[layer] == measure_axes(model.net, (3, 16, 224, 224), layer, layout=LAYOUT)


def untrained(name: str, **options: object) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        return load_model(name, weights=None, options=options)


def test_geometry_of_another_backbone_is_measured():
    model = untrained("cnn_lstm", backbone="mobilenet_v2", hidden=6)
    assert model.layer == "backbone.features" and not model.axes
    time, down, across = model.axes_of(model.layer, (3, 16, 224, 224), model.layout)
    assert (time.stride, time.center, time.extent) == (1, 0, 1)
    assert down == across and (down.stride, down.center) == (32, 0)


def test_the_same_seed_gives_the_same_network():
    with pytest.warns(UntrainedWarning, match="untrained"):
        first = load_model("cnn_lstm", weights="none", options={"hidden": 6})
    digests = [untrained("cnn_lstm", hidden=6, seed=seed).digest for seed in (0, 1)]
    assert first.digest == digests[0] != digests[1]


def test_inputs_of_the_backbone():
    pixels = np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3) * 7
    x = torch.from_numpy(pixels).permute(2, 0, 1).float()
    for given, expected in [
        ("minus_128", (x - 128) / 128),
        (
            {"mean": [0.5, 0.25, 0], "std": [1, 1, 2]},
            (x / 255 - torch.tensor([0.5, 0.25, 0])[:, None, None]) / torch.tensor([1, 1, 2])[:, None, None],
        ),
    ]:
        how = untrained("cnn_lstm", hidden=6, backbone_input=given, size=(3, 4)).preprocessing
        torch.testing.assert_close(how(pixels), expected, atol=1e-5, rtol=1e-5)
    usual = untrained("cnn_lstm", hidden=6).preprocessing
    assert (usual.resize, usual.crop, usual.antialias) == (256, (224, 224), True)
    assert untrained("cnn_lstm", hidden=6, size=96).preprocessing.resize == (96, 96)


@pytest.mark.shared
def test_local_imagenet_weights(data):
    path = data / "weights" / "mobilenet_v2_imagenet.pth"
    model = untrained(
        "cnn_lstm", hidden=6, backbone="mobilenet_v2", backbone_weights=str(path), backbone_input="minus_128"
    )
    net = torchvision.models.mobilenet_v2()
    net.load_state_dict(torch.load(path, weights_only=True))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.net.backbone(x), net.eval().features(x))


@pytest.mark.shared
def test_explains_a_real_clip(data):
    model = untrained("cnn_lstm_attention", hidden=16, size=96)
    explanation = explain(model, data / "weizmann" / "wave1" / "daria_wave1.avi")
    assert explanation.attention.shape == explanation.seconds.shape and (explanation.attention > 0).all()
    assert explanation.heat.shape[1:] == (3, 3) and explanation.heat.any()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"hiden": 3}, OptionError, "unknown option of cnn_lstm 'hiden'; did you mean 'hidden'?"),
        ({"cell": "gro"}, ModelError, "unknown cell 'gro'; did you mean 'gru'?"),
        ({"backbone": "resnet19"}, ModelError, "unknown backbone 'resnet19'; did you mean"),
        ({"backbone": "vit_b_16"}, ModelError, "vit_b_16 cannot be a backbone: it is no chain of parts"),
        ({"backbone_weights": "IMAGENET1K_V3"}, ModelError, "unknown weights tag of resnet18 'IMAGENET1K_V3'; did you"),
        ({"backbone_weights": "absent.pth"}, ModelError, "checkpoint absent.pth does not exist"),
        ({"backbone_input": "imagnet"}, OptionError, "unknown backbone_input 'imagnet'; did you mean 'imagenet'?"),
        ({"backbone_input": {"mean": [0, 0, 0]}}, OptionError, "backbone_input needs 'mean' and 'std'; given 'mean'"),
        ({"hidden": 0}, ModelError, "classes, hidden and layers (at most 64) must be at least 1"),
        ({"size": (1, 2, 3)}, OptionError, "size needs a height and a width"),
    ],
)
def test_a_wrong_option_is_one_line(options, error, says):
    with pytest.raises(error) as caught:
        untrained("cnn_lstm", **options)
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_weights_that_nobody_published():
    with pytest.raises(ModelError, match="cnn_lstm has no weights 'DEFAULT' to download; give a checkpoint"):
        load_model("cnn_lstm")
