"""How far rankings, or maps, agree: rank correlations, with ties."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import isnan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vidcam.attribution.scores import target_index
from vidcam.errors import OptionError
from vidcam.explanation import RegressionExplanation
from vidcam.metrics.bootstrap import draw, mean_with_interval

Floats = npt.NDArray[np.floating[Any]]

AGREES = 0.5
"""From this Spearman correlation on, two rankings are said to agree."""


class Agreement(NamedTuple):
    """Rank correlations of two rankings, -1 to 1; NaN where one of them gives all frames the same score."""

    first: str
    second: str
    spearman: float
    kendall: float


def agreements(scores: Mapping[str, Floats]) -> tuple[Agreement, ...]:
    """Compare every two of several rankings of the same n things, each (n,)."""
    return tuple(
        Agreement(a, b, spearman(scores[a], scores[b]), kendall(scores[a], scores[b]))
        for a, b in combinations(scores, 2)
    )


def spearman(first: Floats, second: Floats) -> float:
    """Correlate ranks, (n,) and (n,); ties share the mean of their ranks (Spearman 1904)."""
    a, b = (ranks(x) - (len(x) + 1) / 2 for x in (first, second))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def kendall(first: Floats, second: Floats) -> float:
    """Count pairs in the same order less pairs in opposite order: tau-b, which allows for ties (Kendall 1945).

    tau = (P - Q) / sqrt((n0 - n1) (n0 - n2)), with n0 pairs in all, of which n1 are tied in one and n2 in the other.
    """
    both = one = other = 0.0
    for i in range(len(first) - 1):  # row by row: memory does not grow with the square of n
        a, b = np.sign(first[i + 1 :] - first[i]), np.sign(second[i + 1 :] - second[i])
        both, one, other = both + a @ b, one + a @ a, other + b @ b
    return float(both / np.sqrt(one * other)) if one * other > 0 else float("nan")


def ranks(values: Floats) -> Floats:
    """(n,) -> (n,) ranks from 1, lowest first; ties share their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    mean: Floats = (last - (count - 1) / 2)[place]
    return mean


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
    """Correlate two maps (F, h, w) frame by frame.

    Args:
        first: values, as they are.
        second: of the same shape.
        name: of the second.
        resamples: how often frames are drawn for the intervals.
        seed: of the draws.
        block: neighboring frames that are drawn together.

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
    found = mean_with_interval(values, drawn).T.tolist()
    return MapAgreement(name, tuple(found[0]), tuple(found[1]), len(apart), len(pairs) - len(apart))


def loss_agreements(
    explanation: RegressionExplanation,
    *,
    loss: str = "loss",
    resamples: int = 1000,
    seed: int = 0,
    block: int = 1,
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


def verdict(found: Sequence[Agreement], *, claim: str, factor_of: Collection[str] = ()) -> str:
    """Say in a sentence whether a claim, such as "attention", agrees with what it was compared with.

    Args:
        found: every pair, from `agreements`; where the claim is not among them the only pair is judged.
        claim: the ranking that is judged.
        factor_of: rankings that contain the claim, so that agreement with them alone proves little.
    """
    others = {a.second if a.first == claim else a.first: a.spearman for a in found if claim in (a.first, a.second)}
    if not others:
        return " and ".join(_judged(a) for a in found)
    if all(isnan(value) for value in others.values()):
        return f"{claim} cannot be compared: it gives all frames the same score, or every other ranking does"
    said = {name: f"{name} ({_shown(value)})" for name, value in others.items()}
    agreeing = [name for name, value in others.items() if value >= AGREES]
    rest = ", ".join(said[name] for name in others if name not in agreeing)
    if not agreeing:
        listed = ", ".join(said.values())
        return f"{claim} agrees with none of the others (Spearman with {listed}): do not take it for what mattered"
    return (
        f"{claim} agrees (Spearman) with {', '.join(said[name] for name in agreeing)}"
        + (f", but not with {rest}" if rest else "")
        + (f"; {claim} is a factor of that, so this proves little" if set(agreeing) <= set(factor_of) else "")
    )


def _shown(correlation: float) -> str:
    return "undefined" if isnan(correlation) else f"{correlation:.2f}"


def _judged(pair: Agreement) -> str:
    if isnan(pair.spearman):
        return f"{pair.first} and {pair.second} cannot be compared: one of them gives all frames the same score"
    say = "agree" if pair.spearman >= AGREES else "do not agree"
    return f"{pair.first} and {pair.second} {say} (Spearman {pair.spearman:.2f})"
