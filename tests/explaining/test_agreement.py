"""What rankings share, and rank correlations, against numbers worked out by hand, and what is said of them."""

from itertools import combinations
from math import comb, isnan, sqrt

import numpy as np
import pytest

from vidcam.explaining.agreement import Agreement, agreements, chance, kendall, ranks, singled_out, spearman, verdict


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


@pytest.mark.parametrize(
    ("scores", "first"),
    [
        ([0.01] * 11 + [0.89], {11}),
        ([0.0, 0, 0, 9, 4, 0, 0, 0, 0, 0, 0, 0], {3}),  # 4 is below half of 9
        ([0.0, 0, 0, 9, 5, 0, 0, 0, 0, 0, 0, 0], {3, 4}),
        ([0.0, 0, 0, 9, 8, 7, 6, 5, 0, 0, 0, 0], {3, 4, 5}),  # a quarter of twelve
        ([0.0, 0, 0, 9, 8, 7, 6.92, 5, 0, 0, 0, 0], {3, 4, 5, 6}),  # but 6.92 is 7 for all that can be told
        ([5.0, 5, 5, 9, 5, 5, 5, 5, 5, 6, 5, 5], {3}),  # from the lowest
        ([-9.0, 1, 0, 3, 2, 0, 0, 0, 0, 0, 0, 0], {3, 4}),  # from zero
        ([-9.0, -9, -1, -9, -9, -9, -9, -8, -9, -9, -9, -9], {2}),
        ([1 / 12] * 11 + [1 / 12 + 1e-5], set()),
        ([0.0] * 12, set()),
        ([-5.0, 1e-3] + [0.0] * 10, set()),  # one frame speaks against it, and none for it
        ([1.0] * 7 + [0.0] * 5, set()),  # more than half
        ([3.0], set()),
    ],
)
def test_what_stands_out(scores: list[float], first: set[int]) -> None:
    assert singled_out(np.array(scores)) == first


def test_chance_is_the_hypergeometric_tail() -> None:
    """One of 16 twice: 1/16. Two of 3 and 3 of 16: (3 * 13 + 1) / 560. One in 4: 4 of 16. Two and 3 of 4 meet."""
    assert chance({3}, {3}, 16) == pytest.approx(1 / 16)
    assert chance({1, 2, 3}, {2, 3, 4}, 16) == pytest.approx(40 / 560)
    assert chance({1, 2, 3, 4}, {3}, 16) == pytest.approx(4 / 16)
    assert chance({1}, {1, 2, 3}, 15) == chance({1}, {1}, 5) == 0.2
    assert chance({1}, {2}, 16) == pytest.approx(1)
    assert chance({0, 1}, {1, 2, 3}, 4) == pytest.approx(1)
    assert chance(set(), {3}, 16) == 1
    tail = sum(comb(25, i) * comb(75, 20 - i) for i in range(9, 21)) / comb(100, 20)
    assert chance(range(20), range(11, 36), 100) == pytest.approx(tail, rel=1e-9)


def planted(scores: dict[str, list[float]]) -> tuple[Agreement, ...]:
    return agreements({name: np.array(values) for name, values in scores.items()})


def test_ties_do_not_hide_that_one_frame_is_named_by_both() -> None:
    """Attention holds 0.89 in frame 5, which leave_out names too; what is left is rounding, in opposite order."""
    noise = np.arange(16) * 1e-4
    (pair,) = planted(
        {"attention": [*(np.eye(16)[5] * 0.88 + noise + 0.006)], "leave_out": [*(np.eye(16)[5] * 3 - noise)]}
    )
    assert pair.spearman < -0.5, "ranks look at the rest alone"
    assert (pair.shared, pair.singled_out, pair.agrees) == (1, (1, 1), True)
    assert verdict([pair], claim="attention") == "attention agrees with leave_out (1 of 1 top frame shared)"


def test_noise_does_not_make_flat_attention_agree() -> None:
    """Attention is 1/16 but for noise of 1e-5 that happens to run like leave_out."""
    told = np.random.default_rng(0).random(16)
    (pair,) = planted({"attention": [*(1 / 16 + 1e-5 * told)], "leave_out": [*told]})
    assert pair.spearman > 0.9
    assert pair.agrees is None and pair.flat == ("attention",)
    assert verdict([pair], claim="attention") == "attention cannot be compared: no frame stands out by attention"


def test_random_rankings_rarely_agree() -> None:
    rng = np.random.default_rng(0)
    found = [planted({"a": [*rng.random(16) ** 4], "b": [*rng.random(16) ** 4]})[0].agrees for _ in range(500)]
    assert sum(agrees is True for agrees in found) < 0.2 * 500


def pair_of(name: str, *, shared: int, of: int, chance: float = 0.05) -> Agreement:
    return Agreement("attention", name, 0, 0, shared, (4 if of else 1, of), chance)


def say(*pairs: Agreement) -> str:
    return verdict(
        [*pairs, Agreement("heat", "leave_out", 1, 1, 1, (1, 1), 0.1)], claim="attention", factor_of=["contribution"]
    )


def test_the_verdict_says_what_agrees_and_what_does_not() -> None:
    yes, no = pair_of("heat", shared=2, of=3), pair_of("leave_out", shared=0, of=1, chance=1)
    flat, perhaps = pair_of("leave_out", shared=0, of=0), pair_of("leave_out", shared=1, of=1, chance=0.25)
    factor = pair_of("contribution", shared=1, of=1)
    assert say(yes, no) == (
        "attention agrees with heat (2 of 3 top frames shared), but not with leave_out (0 of 1 top frame shared)"
    )
    assert say(factor, no).endswith("attention is a factor of that, so this proves little")
    assert "proves" not in say(factor, yes)
    assert say(no, flat._replace(second="heat")) == (
        "attention agrees with none of the others: leave_out (0 of 1 top frame shared); do not take it for what "
        "mattered; attention cannot be compared with heat (no frame stands out by heat)"
    )
    assert say(yes, perhaps).endswith(
        "; it cannot be compared with leave_out (1 of 1 top frame shared, in 25% of cases by chance)"
    )
    assert say(flat) == "attention cannot be compared: no frame stands out by leave_out"
    alone = [no._replace(first="heat")]
    assert verdict(alone, claim="attention") == "heat and leave_out do not agree (0 of 1 top frame shared)"
    (said,) = {verdict([flat._replace(first="heat")], claim="attention")}
    assert said == "heat and leave_out cannot be compared (no frame stands out by leave_out)"
