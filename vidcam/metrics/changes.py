"""How far a network's output moves, in units of its task: components, losses, poses."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from vidcam.attribution.capturing import Score
from vidcam.attribution.scores import logits, negative_loss
from vidcam.errors import OptionError

Change = Callable[[Any, tuple[int, ...]], Tensor]
"""Network output for B versions of one window, the first of them whole, and the (T,) source frames of the window
-> (B,) how far each version is from the first."""


def score_change(score: Score, *, scale: float = 1.0) -> Change:
    """Measure how far a score moves up or down; `scale` turns it into another unit, as radians into degrees."""

    def change(output: Any, frames: tuple[int, ...]) -> Tensor:
        values = score(output)
        return (values - values[:1]).abs() * scale

    return change


def score_drop(score: Score) -> Change:
    """Measure how far a score falls: with minus a loss for the score, how far the loss rises; negative if it falls."""

    def change(output: Any, frames: tuple[int, ...]) -> Tensor:
        values = score(output)
        return values[:1] - values

    return change


def loss_rise(
    truth: ArrayLike, *, loss: Callable[[Tensor, Tensor], Tensor] | None = None, place: int | None = None
) -> Change:
    """Measure how far the loss against known answers rises.

    Args:
        truth: (F,) or (F, K) the true answer of every source frame.
        loss: as in `negative_loss`; half the squared error by default.
        place: which of a window's T frames its answer belongs to; the middle one, T // 2, by default.
    """
    answers = torch.as_tensor(truth)

    def change(output: Any, frames: tuple[int, ...]) -> Tensor:
        frame = frames[len(frames) // 2 if place is None else place]
        if frame >= len(answers):
            raise OptionError(f"there are {len(answers)} true answers, but the source has a frame {frame}")
        values = logits(output)
        answer = answers[frame].reshape(-1)
        if answer.numel() != values[0].numel():
            raise OptionError(f"an output of shape {tuple(values.shape)} needs as many answers; given {answer.numel()}")
        score = negative_loss(answer.reshape(values[0].shape).expand_as(values), loss)
        return score_drop(score)(output, frames)

    return change


def pose_changes(poses: Callable[[Any], Tensor]) -> dict[str, Change]:
    """Measure how far poses move: `translation`, in the network's unit of length, and `rotation_radians`.

    The length of t' - t, and the angle of R^T R', each a mean over a window's n poses.

    Args:
        poses: the network's output -> (B, n, 3, 4) or (B, n, 4, 4).
    """

    def translation(output: Any, frames: tuple[int, ...]) -> Tensor:
        moved = poses(output)[..., :3, 3]
        distance: Tensor = torch.linalg.vector_norm(moved - moved[:1], dim=-1).mean(dim=1)
        return distance

    def rotation(output: Any, frames: tuple[int, ...]) -> Tensor:
        turned = poses(output)[..., :3, :3].double()
        chord = torch.linalg.matrix_norm(turned - turned[:1])  # |R - R'| = 2 sqrt(2) sin(angle / 2), exact when small
        return 2 * torch.asin((chord / 8**0.5).clamp(max=1)).mean(dim=1)

    return {"translation": translation, "rotation_radians": rotation}
