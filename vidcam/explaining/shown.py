"""What a network still says when it is shown only some of a window's frames."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from vidcam.attribution.capturing import capture
from vidcam.explaining.memory import Room
from vidcam.models.model import Model
from vidcam.types import Floats

Take = tuple[int, ...]
"""Which of a window's T samples stands at each of its T places."""

INTERVAL = (0.05, 0.95)
ROUNDING = 1e-6
"""Differences of scores below this share of the largest are rounding: batches of another size add up otherwise."""


@dataclass(frozen=True)
class Clip:
    """A window's frames, and the class whose score is looked at."""

    start: int
    """Number of the window's first sample."""
    frames: tuple[int, ...]
    """(T,) the source's frame of every sample; one that comes several times is shown or hidden as a whole."""
    pixels: tuple[Any, ...]
    """T preprocessed frames (C, H, W); of several inputs by name."""
    target: int

    def batch(self, model: Model, takes: Sequence[Take] | None = None) -> Any:
        """Return what the network takes: one clip per take, or the clip as it is."""
        takes = [tuple(range(len(self.pixels)))] if takes is None else takes
        return model.batch([[self.pixels[place] for place in take] for take in takes])

    def take(self, shown: Collection[int]) -> Take:
        """Replace samples whose frame is not shown by the nearest one whose frame is, of two the earlier."""
        places = np.flatnonzero([frame in shown for frame in self.frames])
        nearest = np.abs(places - np.arange(len(self.frames))[:, None]).argmin(axis=1)
        return tuple(int(place) for place in places[nearest])


@dataclass(frozen=True)
class Kept:
    """The score when only k frames of each window are shown, a mean over the windows.

    Hidden frames are replaced by the nearest shown one, of two the earlier.
    """

    k: tuple[int, ...]
    """Numbers of frames shown."""
    whole: float
    """The score when all are shown."""
    by: dict[str, Floats]
    """(len(k),) per ranking, when the k frames are shown that it puts first."""
    random: Floats
    """(draws, len(k)) when k frames drawn at random are shown."""

    @property
    def random_mean(self) -> Floats:
        """(len(k),) mean over the draws."""
        mean: Floats = self.random.mean(axis=0)
        return mean

    @property
    def random_interval(self) -> Floats:
        """(len(k), 2) what nine of ten draws lie between."""
        interval: Floats = np.quantile(self.random, INTERVAL, axis=0).T
        return interval

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers as lists."""
        return {
            "k": list(self.k),
            "whole": self.whole,
            "by": {name: scores.tolist() for name, scores in self.by.items()},
            "random_mean": self.random_mean.tolist(),
            "random_interval": self.random_interval.tolist(),
        }


def leave_out(clip: Clip, room: Room) -> Floats:
    """Return the drop in the score when each sample's frame is replaced by its neighbor, (T,).

    The neighbor is the earlier one; the first frame gets the next. A window's only frame has none, and no drop.
    """
    frames = set(clip.frames)
    without = {frame: clip.take(frames - {frame} or {frame}) for frame in frames}
    every = clip.take(frames)
    score = score_takes(clip, room, [every, *without.values()])
    drop = np.array([score[every] - score[without[frame]] for frame in clip.frames])
    drop[np.abs(drop) <= ROUNDING * max(map(abs, score.values()))] = 0
    return drop


def measure_kept(
    clip: Clip, room: Room, rankings: Mapping[str, Floats], *, k: Sequence[int], draws: int, seed: int
) -> Kept:
    """Show k frames of one window: by every ranking, scores (F,) of the source's frames, and drawn at random.

    A window with fewer frames shows all. With the same seed every window has draws of its own.
    """
    generator, possible = np.random.default_rng([seed, clip.start]), sorted(set(clip.frames))
    first = {name: [clip.take(_first(possible, scores, n)) for n in k] for name, scores in rankings.items()}
    random = [[clip.take(generator.permutation(possible)[:n].tolist()) for n in k] for _ in range(draws)]
    every = clip.take(possible)
    takes = [every, *(take for row in (*first.values(), *random) for take in row)]
    score = score_takes(clip, room, takes)
    return Kept(
        k=tuple(k),
        whole=score[every],
        by={name: np.array([score[take] for take in row]) for name, row in first.items()},
        random=np.array([[score[take] for take in row] for row in random]),
    )


def mean_kept(parts: Sequence[Kept]) -> Kept:
    """Average over windows."""
    return Kept(
        k=parts[0].k,
        whole=float(np.mean([part.whole for part in parts])),
        by={name: np.mean([part.by[name] for part in parts], axis=0) for name in parts[0].by},
        random=np.mean([part.random for part in parts], axis=0),
    )


def score_takes(clip: Clip, room: Room, takes: Iterable[Take]) -> dict[Take, float]:
    """Score versions of a clip, equal ones once, as many at a time as there is room for."""
    model, each = room.model, list(dict.fromkeys(takes))

    def scored(part: Sequence[Take]) -> list[float]:
        captured = capture(model.net, clip.batch(model, part), layers=(), scores=[model.class_score(clip.target)])
        scores: list[float] = captured.scores[0].tolist()
        return scores

    return dict(zip(each, chain.from_iterable(room.run(each, scored)), strict=True))


def _first(possible: Sequence[int], scores: Floats, n: int) -> list[int]:
    """Return the n frames with the highest scores; ties take the earlier."""
    return sorted(possible, key=lambda frame: (-scores[frame], frame))[:n]
