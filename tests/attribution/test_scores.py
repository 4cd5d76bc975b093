"""Scores: the right number is taken, and a wrong target is said in one line."""

from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidcam.attribution.capturing import capture
from vidcam.attribution.containers import named_parts
from vidcam.attribution.methods import cam
from vidcam.attribution.scores import class_score, component, logits, minus, negative_loss, probabilities, target_index
from vidcam.errors import OptionError, TargetError
from vidcam.models.model import Model

LABELS = ("arm wrestling", "wave", "brush_hair", "7")
OUTPUT = torch.arange(8.0).reshape(2, 4)  # class k of sample b scores 4 b + k


@dataclass
class Answer:
    hidden: Tensor
    logits: Tensor


Pair = namedtuple("Pair", ["aux", "out"])
OTHER = torch.zeros(2, 9)


IMAGES = torch.zeros(2, 4, 3, 3)


@pytest.mark.parametrize(
    "output",
    [
        *(OUTPUT, [OUTPUT], {"logits": OUTPUT}, {"hidden": OTHER, "out": OUTPUT}, Pair(OTHER, OUTPUT)),
        *({"ids": torch.arange(3), "answer": OUTPUT}, Answer(OTHER, OUTPUT), (IMAGES, OUTPUT), ([IMAGES], (OUTPUT, 3))),
        *(
            {"feats": OTHER, "pred": OUTPUT},
            {"features": OTHER, "cls_score": OUTPUT},
            {"a": {"b": [OTHER, Answer(OTHER, OUTPUT)]}},
        ),
        {"loss": OUTPUT.sum(), "logits_per_text": OUTPUT.T, "logits_per_video": OUTPUT, "text_embeds": OTHER},
    ],
)
def test_logits_are_found(output: Any) -> None:
    assert logits(output) is OUTPUT


def test_logits_that_the_number_of_classes_tells() -> None:
    for output in ((OTHER, OUTPUT), [OUTPUT, OTHER], {"a": OTHER, "b": (OTHER, OUTPUT)}):
        assert logits(output, classes=4) is OUTPUT
        with pytest.raises(
            OptionError, match=r"several tensors of which any may be its answer, .*\(2, 9\).*say output="
        ):
            logits(output)
    for output in ((OUTPUT, OUTPUT + 1), {"rgb": {"logits": OUTPUT}, "flow": {"logits": OUTPUT + 1}}):
        with pytest.raises(OptionError, match="say output="):
            logits(output, classes=4)


def test_one_logit_may_tell_of_two_classes_and_a_last_state_of_none() -> None:
    for output, classes in (((torch.zeros(2, 1), OUTPUT[:, :2]), 2), ((torch.zeros(2, 5, 4), OTHER), None)):
        with pytest.raises(OptionError, match="say output="):
            logits(output, classes=classes)


def test_logits_that_are_said() -> None:
    assert logits((OTHER, OUTPUT), 1) is OUTPUT and logits({"a": OTHER, "b": [OUTPUT]}, "b") is OUTPUT
    assert logits((OTHER, {"x": (OTHER, OUTPUT)}), lambda output: output[1]["x"][1]) is OUTPUT
    with pytest.raises(OptionError, match="unknown output 'c'; possible: a, b"):
        logits({"a": OTHER, "b": OUTPUT}, "c")
    with pytest.raises(OptionError, match="unknown output 2; possible: 0, 1"):
        logits((OTHER, OUTPUT), 2)
    assert torch.equal(component(3, output="b")({"a": OTHER, "b": OUTPUT}), OUTPUT[:, 3])


class Thing:
    __slots__ = ("logits", "name")

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.name = logits, "x"


def of_transformers(z: Tensor, f: Tensor, m: Tensor) -> Any:
    return pytest.importorskip("transformers.modeling_outputs").ImageClassifierOutput(logits=z, hidden_states=(m, f))


Head = namedtuple("Head", ["feats", "logits"])
CONTAINERS: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    **{
        name: lambda z, f, m, name=name: {"feats": f, name: z}
        for name in ("logits", "pred", "scores", "cls_score", "Logits")
    },
    "per video": lambda z, f, m: {"logits_per_text": z.T, "logits_per_video": z, "embeds": f},
    "mapping": lambda z, f, m: MappingProxyType({"feats": f, "logits": z}),
    "ordered": lambda z, f, m: OrderedDict(feats=f, logits=z),
    "transformers": of_transformers,
    "data class": lambda z, f, m: Answer(f, z),
    "named tuple": lambda z, f, m: Head(f, z),
    "nested": lambda z, f, m: {"a": {"feats": f}, "b": [{"logits": z}, 3]},
    "object": lambda z, f, m: SimpleNamespace(feats=f, logits=z),
    "slots": lambda z, f, m: Thing(z),
    "distribution": lambda z, f, m: SimpleNamespace(name="x", parts=[{"logits": z}]),
    "the same twice": lambda z, f, m: (z, z.view(z.shape)),
    "maps beside": lambda z, f, m: (m, z, [m]),
}
TOLD: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "last": lambda z, f, m: (f, z),
    "first": lambda z, f, m: [z, f],
    "keys": lambda z, f, m: {"features": f, "answer": z},
    "queue": lambda z, f, m: deque([f, z, m]),
}
"""Nothing but the number of classes tells which it is."""


class Returning(nn.Module):
    """Averages maps, and returns what it found as it is told."""

    def __init__(self, pack: Callable[[Tensor, Tensor, Tensor], Any], classes: int, features: int = 6) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.deep, self.head, self.pack = nn.Conv3d(3, features, 3, 2, 1), nn.Linear(features, classes), pack

    def forward(self, x: Tensor) -> Any:
        maps = self.deep(x).relu()
        return self.pack(self.head(maps.mean((2, 3, 4))), maps.mean((2, 3, 4)), maps)


def by_hand(net: Returning, x: Tensor, target: int) -> tuple[Tensor, Tensor, Tensor]:
    """Grad-CAM of a class, its score, and all probabilities, by plain autograd."""
    maps = net.deep(x).detach().requires_grad_()
    z = net.head(maps.relu().mean((2, 3, 4)))
    (gradient,) = torch.autograd.grad(z[:, target].sum(), maps)
    heat = (gradient.mean((3, 4), keepdim=True) * maps).sum(1).relu()
    return heat.detach(), z[:, target].detach(), z.softmax(1).detach()


@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("packed", [*CONTAINERS, *TOLD])
def test_map_score_and_probabilities_of_every_container(packed: str, batch: int) -> None:
    """With 4 classes: as many as samples, in one case, and as many as slots in time."""
    net = Returning((CONTAINERS | TOLD)[packed], classes=4)
    x = torch.randn(batch, 3, 8, 16, 16, generator=torch.Generator().manual_seed(batch))
    heat, score, shares = by_hand(net, x, 2)
    model = Model(net, layer="deep", frames=8, labels=list("abcd"))
    captured = capture(net, x, layers=["deep"], scores=[model.class_score(2)])
    torch.testing.assert_close(captured.scores[0], score)
    answer = model.answer(captured.output)
    torch.testing.assert_close(model.probabilities(answer, captured.ending_of(answer)), shares)
    if packed in CONTAINERS:
        torch.testing.assert_close(cam(net, x, layer="deep", target=2), heat)
    else:
        with pytest.raises(OptionError, match=rf"\({batch}, 6\).*say output="):
            cam(net, x, layer="deep", target=2)
        where = next(key for key, part in named_parts(net(x)).items() if part.shape == (batch, 4))
        for said in (where, lambda output: named_parts(output)[where]):
            torch.testing.assert_close(cam(net, x, layer="deep", target=2, output=said), heat)


@pytest.mark.parametrize("batch", [1, 4, 6])
@pytest.mark.parametrize("packed", TOLD)
def test_features_that_are_as_many_as_classes_are_not_told_apart(packed: str, batch: int) -> None:
    net, x = Returning(TOLD[packed], classes=6), torch.randn(batch, 3, 8, 16, 16)
    model = Model(net, layer="deep", labels=list("abcdef"))
    with pytest.raises(OptionError, match=rf"\({batch}, 6\),? .*\({batch}, 6\).*; say output=") as refused:
        capture(net, x, layers=["deep"], scores=[model.class_score(0)])
    assert "\n" not in str(refused.value)


def test_names_that_contradict_the_labels_or_each_other_are_not_believed() -> None:
    for output, classes in (
        ({"logits": OTHER, "answer": OUTPUT}, 4),
        ({"out": OTHER, "prediction": OUTPUT}, None),
        ((torch.zeros(2), OTHER), None),
        ((torch.zeros(2), OUTPUT[:, :2]), 2),
    ):
        with pytest.raises(OptionError, match="say output="):
            logits(output, classes=classes)
    assert logits({"out": OTHER, "prediction": OUTPUT}, classes=4) is OUTPUT
    assert logits({"logits": OTHER, "pred": OUTPUT}) is OTHER


@pytest.mark.parametrize("output", [None, "x", {}, torch.arange(3), {"logits": torch.arange(3)}])
def test_no_logits(output: Any) -> None:
    with pytest.raises(OptionError, match="no floating point tensor"):
        logits(output)


def test_probabilities_by_hand() -> None:
    found = probabilities({"logits": torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16).log()})
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(probabilities(torch.tensor([[0.0, np.log(3)]])).float(), torch.tensor([[0.25, 0.75]]))


@pytest.mark.parametrize(
    ("target", "index"),
    [
        *((0, 0), (3, 3), (np.int64(2), 2), ("wave", 1), ("Arm_Wrestling", 0), ("BRUSH HAIR", 2)),
        *(("7", 3), ("2", 2), ("+1", 1)),
    ],
)
def test_target_index(target: Any, index: int) -> None:
    assert target_index(target, LABELS) == index


@pytest.mark.parametrize(
    ("target", "message"),
    [
        *(("waves", "did you mean 'wave'"), ("xyz", "possible: arm wrestling, wave"), (4, "possible: 0 to 3")),
        *((-1, "possible: 0 to 3"), ("-1", "unknown class '-1'"), ("++1", "unknown class"), ("", "unknown class")),
        *(("²", "unknown class"), ("12", "possible: 0 to 3")),
    ],
)
def test_unknown_target(target: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        target_index(target, LABELS)
    assert "\n" not in str(caught.value)


def test_a_name_without_labels() -> None:
    with pytest.raises(TargetError, match="give an index, or labels"):
        target_index("wave", (), 4)


def test_a_label_that_the_network_has_no_output_for() -> None:
    with pytest.raises(TargetError, match="class 3 does not exist; possible: 0 to 1"):
        class_score("7", LABELS)(OUTPUT[:, :2])


def test_ambiguous_case_is_not_guessed() -> None:
    assert target_index("wave", ("Wave", "wave")) == 1
    with pytest.raises(TargetError, match="possible: Wave, wave"):
        target_index("WAVE", ("Wave", "wave"))


@pytest.mark.parametrize(
    ("target", "values"),
    [
        *((1, [1, 5]), ("wave", [1, 5]), ([0, 3], [0, 7]), ((3, 0), [3, 4]), (["wave", "7"], [1, 7])),
        *((torch.tensor([2, 1]), [2, 5]), (torch.tensor(2), [2, 6]), (np.array([2, 1]), [2, 5])),
        *((np.int64(3), [3, 7]), (["wave", 0], [1, 4])),
    ],
)
def test_class_score(target: Any, values: list[float]) -> None:
    assert class_score(target, LABELS)(OUTPUT).tolist() == values


@pytest.mark.parametrize("target", [4, [0], [0, 1, 2], [0, 4], torch.tensor([[0], [1]]), 1.0, torch.tensor([0.5, 1])])
def test_class_score_refuses(target: Any) -> None:
    with pytest.raises(TargetError):
        class_score(target, LABELS)(OUTPUT)


def test_class_score_refuses_a_regression() -> None:
    with pytest.raises(OptionError, match=r"shape \(B, K\); given \(1, 2, 4\)"):
        class_score(0)(OUTPUT[None])
    assert class_score(0)(OUTPUT[:, 1]).tolist() == [1, 5]  # one logit per sample


def test_component() -> None:
    poses = torch.arange(24.0).reshape(2, 3, 4)
    assert component(1, 2)(poses).tolist() == [6, 18]
    assert component(-1, 0)(poses).tolist() == [8, 20]
    assert component(2)(OUTPUT).tolist() == [2, 6]
    assert component(0)(OUTPUT[:, 1]).tolist() == [1, 5]


@pytest.mark.parametrize("index", [(), (4,), (-5,), (0, 0)])
def test_component_that_does_not_exist(index: tuple[int, ...]) -> None:
    with pytest.raises(TargetError, match="does not exist in an output of shape"):
        component(*index)(OUTPUT)


def test_minus() -> None:
    assert minus(class_score(1))(OUTPUT).tolist() == [-1, -5]


def test_negative_loss_by_hand() -> None:
    output = torch.tensor([[1.0, 2.0], [0.0, 4.0]])
    target = torch.tensor([[1.0, 0.0], [3.0, 3.0]])
    assert negative_loss(target)(output).tolist() == [-2.0, -5.0]  # (0 + 4) / 2, (9 + 1) / 2
    huber = negative_loss(target, lambda o, t: functional.smooth_l1_loss(o, t, reduction="none"))
    assert huber(output).tolist() == [-1.5, -3.0]  # 0 + 1.5, 2.5 + 0.5
    entropy = negative_loss(torch.tensor([0, 1]), lambda o, t: functional.cross_entropy(o, t, reduction="none"))
    expected = [-np.log(1 + np.e), -np.log(1 + np.exp(-4))]
    torch.testing.assert_close(entropy(output), torch.tensor(expected, dtype=torch.float32))


def test_gradient_of_negative_loss_is_weighted_by_residuals() -> None:
    """With y = W a, d(-L)/da = sum over j of (target_j - y_j) W_j: it vanishes with the residual."""
    a = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, dtype=torch.float64)
    target = torch.randn(5, 2, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(negative_loss(target)(a @ weights.T).sum(), a)
    expected = torch.zeros_like(gradient)
    for b in range(5):
        for j in range(2):
            expected[b] += (target[b, j] - a[b].detach() @ weights[j]) * weights[j]
    torch.testing.assert_close(gradient, expected)
    (nothing,) = torch.autograd.grad(negative_loss((a @ weights.T).detach())(a @ weights.T).sum(), a)
    assert not nothing.any()


def test_negative_loss_refuses_what_mixes_samples() -> None:
    output = torch.zeros(3, 1)
    with pytest.raises(OptionError, match="the target has shape"):
        negative_loss(torch.zeros(3))(output)
    with pytest.raises(OptionError, match="mixes samples"):
        negative_loss(torch.zeros(3), lambda o, t: (o - t) ** 2)(output)
    with pytest.raises(OptionError, match="must not be reduced"):
        negative_loss(torch.zeros(3, 1), functional.mse_loss)(output)
