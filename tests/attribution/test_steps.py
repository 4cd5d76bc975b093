"""Answers at each time step: how they read, and which step a frame belongs to."""

import pytest
import torch

from vidcam.attribution.capturing import capture
from vidcam.attribution.steps import EachStep, answer_layout, own_steps
from vidcam.errors import ModelError


@pytest.mark.parametrize(
    ("steps", "frames", "own"),
    [
        (4, 4, [0, 1, 2, 3]),
        (2, 4, [0, 0, 1, 1]),
        (2, 5, [0, 0, 1, 1, 1]),  # the middle frame lies on the edge: the later step
        (1, 3, [0, 0, 0]),
        (6, 3, [1, 3, 5]),
        (5, 1, [2]),
    ],
)
def test_steps_are_equal_bins_of_the_frames(steps: int, frames: int, own: list[int]) -> None:
    assert own_steps(steps, frames) == own


@pytest.mark.parametrize(
    ("shape", "classes", "layout"),
    [
        ((2, 7), None, "b k"),
        ((2,), None, "b k"),
        ((2, 8, 7), None, "b t k"),
        ((2, 7, 8), None, "b k t"),
        ((2, 8, 7), 7, "b t k"),
        ((2, 7, 8), 7, "b k t"),
        ((2, 8, 1), 2, "b t k"),  # one logit of two classes
        ((2, 8, 8), None, None),
        ((2, 8, 8), 8, None),
        ((2, 4, 7), 7, None),  # fewer steps than frames, or crops: it must be said
        ((2, 8, 7), 5, None),
        ((2, 2, 8, 7), None, "b k"),  # left to who reads it, which refuses it
    ],
)
def test_a_layout_is_told_by_the_shape_where_only_one_fits(
    shape: tuple[int, ...], classes: int | None, layout: str | None
) -> None:
    if layout is not None:
        assert answer_layout(shape, said=None, classes=classes, frames=8) == layout
        return
    with pytest.raises(ModelError, match="answer_layout="):
        answer_layout(shape, said=None, classes=classes, frames=8)


def test_each_step_is_differentiated_by_itself() -> None:
    """The score at step t is t times the input's t-th number, squared: its slope is 2 t x at t, and 0 elsewhere."""
    x, weights = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), torch.arange(3.0)
    score = EachStep(lambda output: weights * output**2, lambda output: output.shape[1])
    captured = capture(torch.nn.Identity(), x, layers=["input"], scores=[lambda output: output.sum(1), score])
    assert captured.counts == (1, 3)
    for step in range(3):
        slope = torch.zeros(2, 3)
        slope[:, step] = 2 * step * x[:, step]
        assert torch.equal(captured.gradients[1 + step]["input"], slope)
        assert torch.equal(score.at(step)(x), captured.scores[1 + step])
    assert torch.equal(score.near([0, 2], frames=3)(x), torch.tensor([0.0, 72.0]))
