"""How far maps agree, cell by cell."""

from typing import NamedTuple

import numpy as np

from vidcam.attribution.scores import target_index
from vidcam.errors import OptionError
from vidcam.explaining.agreement import spearman
from vidcam.explaining.explanation import Explanation
from vidcam.metrics.bootstrap import draw, mean_with_interval
from vidcam.types import Floats


class MapAgreement(NamedTuple):
    """Correlations of two maps cell by cell, frame by frame: mean, low and high end of the 95 % interval over frames.

    None where no frame can be compared.
    """

    name: str
    """What the map was compared with."""
    spearman: tuple[float, float, float] | None
    pearson: tuple[float, float, float] | None
    frames: int
    """Frames that were compared."""
    flat: int
    """Frames left out, because one of the two maps has the same value everywhere."""


def map_agreement(
    first: Floats, second: Floats, *, name: str = "", resamples: int = 1000, seed: int = 0, block: int = 1
) -> MapAgreement:
    """Correlate two maps (F, h, w) frame by frame; `name` is the second's, and the other options are those of `draw`.

    Raises:
        OptionError: the shapes differ.
    """
    if first.shape != second.shape or first.ndim != 3:
        raise OptionError(f"maps must be of one shape (F, h, w); given {first.shape} and {second.shape}")
    pairs = [(a.ravel().astype(float), b.ravel().astype(float)) for a, b in zip(first, second, strict=True)]
    apart = [(a, b) for a, b in pairs if np.ptp(a) > 0 and np.ptp(b) > 0]
    if not apart:
        return MapAgreement(name, None, None, 0, len(pairs))
    values = np.array([(spearman(a, b), pearson(a, b)) for a, b in apart])
    drawn = draw(len(apart), resamples=resamples, seed=seed, block=block)
    intervals = mean_with_interval(values, drawn).T.tolist()
    return MapAgreement(name, tuple(intervals[0]), tuple(intervals[1]), len(apart), len(pairs) - len(apart))


def loss_agreements(
    explanation: Explanation, *, loss: str = "loss", resamples: int = 1000, seed: int = 0, block: int = 1
) -> tuple[MapAgreement, ...]:
    """Compare the loss's heat, as it is shown, with the size of every component's map.

    Where the loss is half a squared error of one component, its map is the component's, times the residual: heat then
    is the part of that map with one sign, and agreement tells how much of the map that part is.

    Raises:
        TargetError: the explanation has no such loss.
    """
    heat = explanation.of(loss, signed=False).heat
    others = [i for i in range(len(explanation.labels)) if i != target_index(loss, explanation.labels)]
    sizes = {explanation.labels[i]: np.abs(explanation.of(i, signed=True).heat) for i in others}
    options = {"resamples": resamples, "seed": seed, "block": block}
    return tuple(map_agreement(heat, size, name=name, **options) for name, size in sizes.items())


def pearson(first: Floats, second: Floats) -> float:
    """Correlate values, (n,) and (n,); NaN where one of them is constant."""
    a, b = (x / (np.abs(x).max() or 1) for x in (first - first.mean(), second - second.mean()))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")
