"""Correlations of maps, against numbers by hand; flat maps are counted."""

from fractions import Fraction

import numpy as np
import pytest

from vidcam.errors import OptionError, TargetError
from vidcam.explaining.explanation import Explanation
from vidcam.metrics.correlation import loss_agreements, map_agreement, pearson

A = np.array([[[0.0, 1], [2, 3]]])


def regression(maps: np.ndarray, vanishing: np.ndarray | None = None) -> Explanation:
    scores, frames = maps.shape[:2]
    return Explanation(
        explained=tuple(range(scores)),
        seconds=np.arange(frames) / 10,
        rows=np.array([0.0, 1]),
        columns=np.array([0.0, 1]),
        spread="linear",
        region=(-0.5, -0.5, 1.5, 1.5),
        width=2,
        height=2,
        rate=Fraction(10),
        windows=np.array([[0.0, 0.1]]),
        probabilities=np.zeros((1, scores)),
        target=0,
        labels=("tx", "loss", "rz")[:scores],
        maps=maps,
        gradients=np.ones((scores, frames)),
        vanishing=np.zeros((scores, frames), bool) if vanishing is None else vanishing,
        outputs=np.zeros((frames, scores)),
    )


def test_by_hand() -> None:
    second = np.array([[[1.0, 0], [2, 5]]])
    found = map_agreement(A, second, name="tx")
    # ranks 1 2 3 4 and 2 1 3 4: 1 - 6 * 2 / (4 * 15); deviations (-3 -1 1 3)/2 and (-1 -2 0 3): 7 / sqrt(5 * 14)
    assert found.spearman == pytest.approx((0.8, 0.8, 0.8))
    assert found.pearson == pytest.approx((7 / np.sqrt(70),) * 3)
    assert (found.name, found.frames, found.flat) == ("tx", 1, 0)


def test_frames_are_averaged_and_flat_ones_counted() -> None:
    first = np.concatenate([A, A, A, np.full_like(A, 7)])
    second = np.concatenate([A * 2 + 1, -A, np.zeros_like(A), A])
    found = map_agreement(first, second)
    assert found.spearman == pytest.approx((0, -1, 1))
    assert (found.frames, found.flat) == (2, 2)
    alone = map_agreement(first[2:], second[2:])
    assert alone == ("", None, None, 0, 2)


def test_tiny_and_huge_values_correlate_as_well() -> None:
    first = np.array([0.0, 1, 2, 4])
    assert pearson(first * 1e-200, first * 1e200) == pytest.approx(1)


def test_loss_heat_is_compared_with_the_size_of_every_component() -> None:
    rising, falling = A, 3 - A
    maps = np.stack([-rising, rising - 0.5, falling])  # tx, loss, rz
    found = {pair.name: pair for pair in loss_agreements(regression(maps))}
    assert list(found) == ["tx", "rz"]
    assert found["tx"].spearman[0] == pytest.approx(1) and found["rz"].spearman[0] == pytest.approx(-1)
    # heat is 0, 0.5, 1.5, 2.5 against 0 1 2 3
    assert found["tx"].pearson[0] == pytest.approx(np.corrcoef([0, 0.5, 1.5, 2.5], [0, 1, 2, 3])[0, 1])


def test_a_vanishing_loss_is_flat() -> None:
    vanishing = np.array([[False], [True], [False]])
    assert [pair.flat for pair in loss_agreements(regression(np.stack([A, A, A]), vanishing))] == [1, 1]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="of one shape"):
        map_agreement(A, A[:, :1])
    with pytest.raises(TargetError, match="los"):
        loss_agreements(regression(np.stack([A])), loss="loss")
