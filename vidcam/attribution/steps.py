"""Steps: answers that hold one for each time step, and scores that tell a number for each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from vidcam.attribution.endings import BeforeEnding
from vidcam.errors import ModelError, OptionError, TargetError

ANSWER_LAYOUTS = ("b k", "b t k", "b k t", "b t")
"""How an answer reads: a number per class, one per class and time step, or one per time step."""
OVER_TIME = ANSWER_LAYOUTS[1:]


@dataclass(frozen=True)
class EachStep:
    """A score that may tell a number for each time step, (B, n), each of which is then a score of its own."""

    score: Callable[[Any], Tensor]
    """The network's output -> (B, n), or (B,) as any score."""
    steps: Callable[[Any], int | None]
    """The network's output -> n, or None where the network answers once."""

    def each(self, values: Any, output: Any) -> Sequence[Any]:
        """Part what the score told into scores (B,), one after the other in time."""
        if not isinstance(values, Tensor) or values.ndim != 2 or values.shape[1] != self.steps(output):
            return [values]
        return values.unbind(1)

    def at(self, step: int) -> Callable[[Any], Tensor]:
        """Return the score of one step alone."""
        return _picking(self.score, lambda values: values[:, step] if values.ndim == 2 else values)

    def near(self, places: Sequence[int], frames: int) -> Callable[[Any], Tensor]:
        """Return the score of the step to which a frame belongs, whose place among `frames` is told per sample."""

        def pick(values: Tensor) -> Tensor:
            if values.ndim != 2:
                raise TargetError(
                    "a target at a time needs an answer for each time step, (B, T, K) or (B, T); the network answers "
                    "once per window"
                )
            own = [own_steps(values.shape[1], frames)[place] for place in places]
            return values.gather(1, torch.tensor(own, device=values.device)[:, None])[:, 0]

        return _picking(self.score, pick)


def _picking(score: Callable[[Any], Tensor], pick: Callable[[Tensor], Tensor]) -> Callable[[Any], Tensor]:
    if isinstance(score, BeforeEnding):
        return BeforeEnding(score.answer, lambda answer: pick(score.score(answer)), score.see)

    @wraps(score)
    def picked(output: Any) -> Tensor:
        return pick(score(output))

    return picked


def own_steps(steps: int, frames: int) -> list[int]:
    """Return the step to which each frame belongs: steps are equal bins of the frames, or the other way around."""
    return [(2 * frame + 1) * steps // (2 * frames) for frame in range(frames)]


def answer_layout(shape: Sequence[int], *, said: str | None, classes: int | None, frames: int) -> str:
    """Tell how an answer reads, one of `ANSWER_LAYOUTS`.

    Args:
        shape: of the answer.
        said: what it was said to be; None tells it where only one reading fits.
        classes: K, if it is known.
        frames: T, of a window.

    Raises:
        ModelError: the answer is not of the layout that was said, or of three axes that do not tell what they are.
    """
    given = f"must return (B, K), a number per class; it returns {tuple(shape)}"
    if said is not None:
        if len(said.split()) != len(shape) and not (said == "b k" and len(shape) == 1):
            raise ModelError(f"must answer as its answer_layout={said!r} says; it returns {tuple(shape)}")
        return said
    if len(shape) != 3:
        return "b k"
    _, first, second = shape
    fits = [
        layout
        for layout, steps, numbers in (("b t k", first, second), ("b k t", second, first))
        if steps == frames and (classes in (None, numbers) or (classes == 2 and numbers == 1))
    ]
    if len(fits) == 1:
        return fits[0]
    known = f"{frames} frames" + (f" and {classes} classes" if classes else "")
    why = "as one per frame reads both ways" if fits else "is none per frame either"
    raise ModelError(
        f"{given}, which {why} with {known}; answer_layout='b t k' or 'b k t' says that it is one per time step"
    )


def by_step(answer: Tensor, layout: str) -> Tensor:
    """Return an answer over time as (B, n, K), or (B, n) of one number per step."""
    return answer.transpose(1, 2) if layout == "b k t" else answer


def signal(output: Any) -> Tensor:
    """Return a network's only tensor, a number per time step (B, n), as the score it is explained by.

    Raises:
        OptionError: it returns something else; scores= say what is explained.
    """
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise OptionError("a signal is a tensor (B, T), and the network returns something else; say scores=")
    return output
