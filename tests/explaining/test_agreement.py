"""Rank correlations against numbers worked out by hand, and what is said of them."""

from itertools import combinations
from math import isnan, sqrt

import numpy as np
import pytest

from vidcam.explaining.agreement import Agreement, agreements, kendall, ranks, spearman, verdict


def test_ties_share_the_mean_of_their_ranks() -> None:
    np.testing.assert_array_equal(ranks(np.array([3.0, 1.0, 3.0, 9.0, 3.0])), [3, 1, 3, 5, 3])


def test_equal_and_opposite_orders() -> None:
    a = np.array([0.1, 5.0, 2.0, 7.0])
    assert spearman(a, np.exp(a)) == pytest.approx(1)
    assert kendall(a, np.exp(a)) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert kendall(a, -a) == pytest.approx(-1)


def test_without_ties_spearman_is_one_less_six_squared_differences() -> None:
    """Ranks 1 2 3 4 5 and 2 1 4 3 5: squared differences 1 1 1 1 0, so 1 - 6 * 4 / (5 * 24) = 0.8."""
    assert spearman(np.array([1.0, 2, 3, 4, 5]), np.array([20.0, 10, 40, 30, 50])) == pytest.approx(0.8)


def test_without_ties_kendall_is_agreeing_less_opposing_pairs() -> None:
    """Of 10 pairs, (1, 2) and (3, 4) are in opposite order: (8 - 2) / 10."""
    assert kendall(np.array([1.0, 2, 3, 4, 5]), np.array([20.0, 10, 40, 30, 50])) == pytest.approx(0.6)


def test_with_ties_by_hand() -> None:
    """a: ranks 1, 2.5, 2.5, 4; b: ranks 1, 3, 2, 4.

    Spearman: products of (-1.5, 0, 0, 1.5) and (-1.5, 0.5, -0.5, 1.5) add to 4.5; squares to 4.5 and 5.
    Kendall: of 6 pairs, 5 agree and one is tied in a: 5 / sqrt(5 * 6).
    """
    a, b = np.array([1.0, 2, 2, 3]), np.array([1.0, 3, 2, 4])
    assert spearman(a, b) == pytest.approx(4.5 / sqrt(4.5 * 5))
    assert kendall(a, b) == pytest.approx(5 / sqrt(30))


def test_against_plain_loops_on_many_ties() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 40).astype(float), rng.integers(0, 4, 40).astype(float)
    order = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in combinations(range(40), 2)]
    ties = [sum(x[i] == x[j] for i, j in combinations(range(40), 2)) for x in (a, b)]
    pairs = 40 * 39 / 2
    assert kendall(a, b) == pytest.approx(sum(order) / sqrt((pairs - ties[0]) * (pairs - ties[1])))
    ranked = [[(x < v).sum() + ((x == v).sum() + 1) / 2 for v in x] for x in (a, b)]
    assert spearman(a, b) == pytest.approx(np.corrcoef(*ranked)[0, 1])


@pytest.mark.parametrize("length", [1, 4])
def test_what_is_constant_has_no_order(length: int) -> None:
    a, b = np.ones(length), np.arange(length, dtype=float)
    assert isnan(spearman(a, b)) and isnan(kendall(a, b)) and isnan(spearman(a, a))


def test_every_pair_once() -> None:
    found = agreements({"a": np.array([1.0, 2, 3]), "b": np.array([3.0, 2, 1]), "c": np.array([1.0, 2, 3])})
    assert [pair[:2] for pair in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair.spearman for pair in found] == pytest.approx([-1, 1, -1])


def say(**others: float) -> str:
    found = [Agreement("attention", name, value, value) for name, value in others.items()]
    return verdict([*found, Agreement("heat", "leave_out", 1, 1)], claim="attention", factor_of=["contribution"])


def test_the_verdict_says_what_agrees_and_what_does_not() -> None:
    none = say(heat=0.4, leave_out=float("nan"))
    assert "agrees with none of the others (Spearman with heat (0.40), leave_out (undefined))" in none
    assert say(heat=0.9, leave_out=0.1) == "attention agrees (Spearman) with heat (0.90), but not with leave_out (0.10)"
    assert say(contribution=0.9, heat=0.1).endswith("a factor of that, so this proves little")
    assert "proves" not in say(contribution=0.9, heat=0.6)
    assert say(heat=float("nan")).startswith("attention cannot be compared")
    alone = [Agreement("heat", "leave_out", 0.2, 0.1)]
    assert verdict(alone, claim="attention") == "heat and leave_out do not agree (Spearman 0.20)"
    assert "cannot be compared" in verdict([Agreement("heat", "leave_out", *[float("nan")] * 2)], claim="attention")
