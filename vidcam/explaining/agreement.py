"""How far rankings agree: rank correlations, with ties."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import isnan
from typing import NamedTuple

import numpy as np

from vidcam.types import Floats

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


def verdict(pairs: Sequence[Agreement], *, claim: str, factor_of: Collection[str] = ()) -> str:
    """Say in a sentence whether a claim, such as "attention", agrees with what it was compared with.

    Args:
        pairs: every pair, from `agreements`; where the claim is not among them the only pair is judged.
        claim: the ranking that is judged.
        factor_of: rankings that contain the claim, so that agreement with them alone proves little.
    """
    others = {a.second if a.first == claim else a.first: a.spearman for a in pairs if claim in (a.first, a.second)}
    if not others:
        return " and ".join(_judged(a) for a in pairs)
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
