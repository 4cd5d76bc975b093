"""How far rankings agree: the frames that each singles out, and rank correlations with ties."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vidcam.types import Floats

TIE = 0.01
"""Scores that differ by less than this share of the largest are told apart by noise alone."""
HALF = 0.5
"""From this share of the top frames on, two rankings are said to agree."""
CHANCE = 0.2
"""But only if random frames would share as many in no more than that part of all cases."""


class Agreement(NamedTuple):
    """How far two rankings agree.

    The correlations, -1 to 1, look at every difference, however small; they are NaN where one of the rankings gives all
    frames the same score.
    """

    first: str
    second: str
    spearman: float
    kendall: float
    shared: int = 0
    """How many frames both rankings single out."""
    singled_out: tuple[int, int] = (0, 0)
    """How many each of them singles out; 0 where it tells no frame from the rest."""
    chance: float = 1.0
    """How often random frames would share as many."""

    @property
    def of(self) -> int:
        """How many both could share."""
        return min(self.singled_out)

    @property
    def flat(self) -> tuple[str, ...]:
        """Those that single out no frame."""
        names = (self.first, self.second)
        return tuple(name for name, count in zip(names, self.singled_out, strict=True) if not count)

    @property
    def agrees(self) -> bool | None:
        """Whether the rankings single out the same frames; None where that cannot be told."""
        alike = self.shared >= HALF * self.of
        return None if not self.of or (alike and self.chance > CHANCE) else alike


def agreements(scores: Mapping[str, Floats]) -> tuple[Agreement, ...]:
    """Compare every two of several rankings of the same n things, each (n,)."""
    tops = {name: singled_out(values) for name, values in scores.items()}
    return tuple(
        Agreement(
            *(a, b, spearman(scores[a], scores[b]), kendall(scores[a], scores[b])),
            *(len(tops[a] & tops[b]), (len(tops[a]), len(tops[b])), chance(tops[a], tops[b], len(scores[a]))),
        )
        for a, b in combinations(scores, 2)
    )


def singled_out(scores: Floats) -> set[int]:
    """(n,) -> the things that stand out: above half of the highest score, a quarter of all at most, and their ties.

    Heights are measured from the lowest score, or from zero where scores have both signs. Where that is more than half
    of all, or where no score is above the rest by more than `TIE`, none stands out.
    """
    low, high, tie = scores.min(), scores.max(), TIE * np.abs(scores).max()
    ground = 0.0 if low < 0 < high else low
    k = min(int((scores > (ground + high) / 2).sum()), max(len(scores) // 4, 1))
    if high - ground <= tie or k == 0:
        return set()
    top = np.flatnonzero(scores >= np.sort(scores)[-k] - tie)
    return set(top.tolist()) if len(top) <= len(scores) / 2 else set()


def chance(first: Collection[int], second: Collection[int], n: int) -> float:
    """Return how often two random sets of that size, of n things, share as many as these two.

    That is the upper tail of the hypergeometric distribution; 1 where a set is empty.
    """
    shared, (few, many) = len({*first} & {*second}), sorted((len(first), len(second)))
    factorial = np.append(0.0, np.log(np.arange(1, n + 1)).cumsum())  # its logarithm: long videos have many frames

    def ways(of: int, some: npt.NDArray[np.int_]) -> Floats:
        chosen: Floats = factorial[of] - factorial[some] - factorial[of - some]
        return chosen

    both = np.arange(max(shared, few + many - n), few + 1)
    share = np.exp(ways(many, both) + ways(n - many, few - both) - ways(n, np.array(few))).sum()
    return min(round(float(share), 12), 1.0)


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
    others = {a.second if a.first == claim else a.first: a for a in pairs if claim in (a.first, a.second)}
    if not others:
        return " and ".join(_judged(a) for a in pairs)
    if not any(pair.of for pair in others.values()):
        flat = dict.fromkeys(name for pair in others.values() for name in pair.flat)
        return f"{claim} cannot be compared: no frame stands out by {', '.join(flat)}"
    listed = {how: [name for name in others if others[name].agrees is how] for how in (True, False, None)}
    alike, apart, unknown = (", ".join(f"{n} ({_shown(others[n])})" for n in names) for names in listed.values())
    if not listed[True]:
        told = [f"{claim} agrees with none of the others: {apart}; do not take it for what mattered"] if apart else []
        return "; ".join(told + ([f"{claim} cannot be compared with {unknown}"] if unknown else []))
    return (
        f"{claim} agrees with {alike}"
        + (f", but not with {apart}" if apart else "")
        + (f"; it cannot be compared with {unknown}" if unknown else "")
        + (f"; {claim} is a factor of that, so this proves little" if {*listed[True]} <= {*factor_of} else "")
    )


def _shown(pair: Agreement) -> str:
    if not pair.of:
        return f"no frame stands out by {' and '.join(pair.flat)}"
    by_chance = f", in {pair.chance:.0%} of cases by chance" if pair.agrees is None else ""
    return f"{pair.shared} of {pair.of} top frame{'s' * (pair.of != 1)} shared{by_chance}"


def _judged(pair: Agreement) -> str:
    names = f"{pair.first} and {pair.second}"
    if pair.agrees is None:
        return f"{names} cannot be compared ({_shown(pair)})"
    return f"{names} {'agree' if pair.agrees else 'do not agree'} ({_shown(pair)})"
