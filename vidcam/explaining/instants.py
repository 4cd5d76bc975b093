"""Instants: targets at a time, and what becomes of answers that are given at each time step."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from vidcam.attribution.steps import own_steps
from vidcam.errors import OptionError, TargetError
from vidcam.types import Floats

WRITTEN = re.compile(r"(?P<name>.+)@(?P<seconds>\d+(\.\d*)?|\.\d+)")
"""A target at a time, as it is written: "wave@1.2"."""


@dataclass(frozen=True)
class At:
    """A target at a time, of networks that answer at each time step: the score of the step nearest to it.

        vidcam.explain(model, "clip.mp4", target=vidcam.At("wave", seconds=1.2))  # or target="wave@1.2"

    Args:
        target: a class's index or name, the name of a score, or a function `output -> (B, n)`.
        seconds: since the start of the video.

    Raises:
        OptionError: no time that a video can have.
    """

    target: int | str | Callable[[Any], Any]
    seconds: float

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, int | float) or not isfinite(self.seconds) or self.seconds < 0:
            raise OptionError(f"seconds must be a time of the video, 0 or later; given {self.seconds!r}")

    @classmethod
    def read(cls, target: Any, names: Sequence[str]) -> Any:
        """Read "wave@1.2" as a target at a time; what is a name itself, or holds no time, stays as it is."""
        found = WRITTEN.fullmatch(target) if isinstance(target, str) and target not in names else None
        return target if found is None else cls(found["name"], float(found["seconds"]))

    def named(self, name: str) -> str:
        """Name the score, of a target called so."""
        return f"{name} at {self.seconds:g} s"

    def place(self, frames: Sequence[int], seconds: Sequence[float], rate: float) -> int | None:
        """Return the place in a window of the frame nearest to the time; None of a window that does not hold it.

        Args:
            frames: the source's frame at each place of the window.
            seconds: when each frame of the source is shown.
            rate: places per second.
        """
        shown = np.array([seconds[frame] for frame in frames])
        if not shown[0] - 0.5 / rate <= self.seconds < shown[-1] + 1 / rate:
            return None
        return int(np.abs(shown - self.seconds).argmin())

    def holding(self, frames: Mapping[int, Sequence[int]], seconds: Floats, held: Mapping[int, Any]) -> list[int]:
        """Return the windows that hold the frame nearest to the time.

        Args:
            frames: the source's frames that each window tells of.
            seconds: (F,) when each frame of the source is shown.
            held: the windows in which the score was explained.

        Raises:
            TargetError: there is none.
        """
        told = np.unique([frame for own in frames.values() for frame in own])
        nearest = told[np.abs(seconds[told] - self.seconds).argmin()]
        if found := [start for start in sorted(held) if nearest in frames[start]]:
            return found
        raise TargetError(
            f"the network tells of no frame at {self.seconds:g} s; the video has frames from {seconds[0]:g} to "
            f"{seconds[-1]:g} s"
        )


@dataclass
class OverTime:
    """What was explained of answers at each time step: each frame's heat is that of its own step's score."""

    steps: int = 0
    """Time steps of a window; 0 where the network answers once."""
    own: float = 0
    """Heat that lies on the frames of the step that it belongs to."""
    whole: float = 0
    """All heat of all steps."""

    def lay(self, maps: Sequence[Callable[[], Floats]], frames: int) -> Floats:
        """Take each frame's heat from the map (B, T, h, w) of its own step: (B, T, h, w)."""
        own, laid = np.array(own_steps(len(maps), frames)), None
        for step, make in enumerate(maps):
            heat, here = make(), own == step
            laid = np.zeros_like(heat) if laid is None else laid
            laid[:, here] = heat[:, here]
            self.own += float(np.abs(heat[:, here]).sum())
            self.whole += float(np.abs(heat).sum())
        assert laid is not None  # there is no answer without a step
        self.steps = len(maps)
        return laid


def on_frames(steps: Floats, frames: int) -> Floats:
    """(B, n, ...) of each step -> (B, T, ...) of each frame, which has what its own step has."""
    laid: Floats = steps[:, own_steps(steps.shape[1], frames)]
    return laid
