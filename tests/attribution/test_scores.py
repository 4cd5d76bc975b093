"""Scores: the right number is taken, and a wrong target is said in one line."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vidcam.attribution.scores import class_score, component, logits, minus, negative_loss, probabilities, target_index
from vidcam.errors import OptionError, TargetError

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
    with pytest.raises(OptionError, match=r"shape \(B, K\); given \(2,\)"):
        class_score(0)(OUTPUT[:, 0])


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
