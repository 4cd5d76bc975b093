"""Shares of heat per region, by hand on tiny arrays; bootstrap draws."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from vidcam.errors import OptionError
from vidcam.explaining.explanation import Explanation
from vidcam.metrics.bootstrap import draw, mean_with_interval
from vidcam.metrics.localization import heat_shares

NAMES = ("road", "static", "moving", "sky")
CLASSES = np.array([[[3, 3, 3, 3], [0, 0, 1, 2]], [[3, 3, 3, 3], [0, 0, 1, 1]], [[1, 1, 1, 1], [0, 0, 0, 0]]])
HEAT = np.array([[[0, 0, 0, 0], [1, 1, 2, 4]], [[2, 0, 0, 0], [0, 0, 2, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]], float)


def explanation(heat: np.ndarray, width: int, height: int, **changes: Any) -> Explanation:
    facts: dict[str, Any] = {
        "heat": heat.astype(np.float32),
        "seconds": np.arange(len(heat)) / 10,
        "rows": (np.arange(heat.shape[1]) + 0.5) * height / heat.shape[1] - 0.5,
        "columns": (np.arange(heat.shape[2]) + 0.5) * width / heat.shape[2] - 0.5,
        "spread": "nearest",
        "region": (-0.5, -0.5, width - 0.5, height - 0.5),
        "width": width,
        "height": height,
        "rate": Fraction(10),
        "windows": np.array([[0.0, 0.4]]),
        "probabilities": np.array([[1.0]]),
        "target": 0,
    }
    return Explanation.from_heat(**facts | changes)


def test_by_hand() -> None:
    found = heat_shares(HEAT, CLASSES, NAMES)
    assert (found.frames, found.without_heat, found.unnamed_area) == (3, 1, 0)
    moving = found["moving"]  # in frame 0 alone: 4 of 8 of the heat on one pixel of eight
    assert (moving.frames, moving.absent) == (1, 2)
    assert (moving.heat_share, moving.area_share, moving.density) == pytest.approx((0.5, 0.125, 4))
    assert moving.density_interval == pytest.approx((4, 4))
    road = found["road"]  # 2 of 8 and 0 of 4; a quarter of the area both times; frame 2 has no heat
    assert (road.frames, road.absent) == (2, 0)
    assert (road.heat_share, road.area_share, road.density) == pytest.approx((0.125, 0.25, 0.5))
    assert road.density_interval == pytest.approx((0, 1))  # both frames the one, both the other
    assert road.heat_share_interval == pytest.approx((0, 0.25))
    static = found["static"]  # 2 of 8 on one pixel, 2 of 4 on two
    assert (static.heat_share, static.area_share, static.density) == pytest.approx((0.375, 0.1875, 2))
    assert (found["sky"].heat_share, found["sky"].density) == pytest.approx((0.25, 0.5))


def test_every_frame_counts_alike() -> None:
    louder = HEAT * np.array([1, 1024, 1])[:, None, None]
    assert heat_shares(louder, CLASSES, NAMES) == heat_shares(HEAT, CLASSES, NAMES)


def test_a_uniform_map_has_density_one_everywhere() -> None:
    found = heat_shares(explanation(np.full((3, 2, 3), 7.0), 4, 2), CLASSES, NAMES)
    for region in found.regions:
        assert region.density == pytest.approx(1)
        assert region.density_interval == pytest.approx((1, 1))
        assert region.fixed_density == pytest.approx(1)


def test_controls() -> None:
    heat = np.zeros((2, 2, 4))
    heat[0, 1, 0], heat[1, 0, 3] = 5, 9
    classes = np.ones((2, 2, 4), int)
    classes[0, 1, 0] = classes[1, 0, 3] = 0
    found = heat_shares(heat, classes, ["object", "rest"])
    assert found["object"].density == pytest.approx(8)  # all heat on one pixel of eight
    assert found["object"].fixed_density == pytest.approx(4)  # their mean has half of it there
    across = np.exp(-0.5 * (np.array([3, 1, 1, 3]) / 8 / 0.25) ** 2)  # both rows are as far from the middle
    assert found["object"].center_density == pytest.approx(8 * across[0] / (2 * across.sum()))


def test_heat_of_an_explanation_is_spread_over_its_pixels() -> None:
    """Two cells over four columns: each covers two; what the network did not see does not count."""
    given = explanation(np.array([[[1.0, 3.0]]]), 4, 2, region=(-0.5, -0.5, 2.5, 1.5))
    classes = np.array([[[0, 0, 1, 1], [0, 0, 1, 1]]])
    found = heat_shares(given, classes, ["left", "right"])
    assert found["left"].area_share == pytest.approx(2 / 3)
    assert found["left"].heat_share == pytest.approx(2 / 5)
    assert found["right"].density == pytest.approx(3 / 5 * 3)


def test_negative_heat_is_none_and_unnamed_pixels_belong_to_none() -> None:
    found = heat_shares(np.array([[[-5.0, 1], [1, 2]]]), np.array([[[0, 0], [255, -1]]]), ["road", "sky"])
    assert found["road"].heat_share == pytest.approx(0.25)
    assert found.unnamed_area == 0.5
    assert (found["sky"].frames, found["sky"].absent, found["sky"].density) == (0, 1, None)
    assert "in none of the 1 frames" in found.table()
    with pytest.raises(OptionError, match="did you mean 'road'"):
        found["raod"]


def test_without_any_heat_nothing_is_divided() -> None:
    found = heat_shares(np.zeros((3, 2, 4)), CLASSES, NAMES)
    assert found.without_heat == 3
    assert all(region.density is None for region in found.regions)


@pytest.mark.parametrize(
    ("heat", "classes", "names", "message"),
    [
        (np.ones((2, 2, 2)), np.ones((2, 2, 3), int), NAMES, "of the same shape"),
        (np.ones((2, 2, 2)), np.ones((2, 2, 2)), NAMES, "whole numbers"),
        (np.ones((2, 2, 2)), np.ones((2, 2, 2), int), ("a", "a"), "different names"),
        (np.full((2, 2, 2), np.nan), np.ones((2, 2, 2), int), NAMES, "finite"),
    ],
)
def test_what_does_not_fit_is_refused(heat: np.ndarray, classes: np.ndarray, names: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        heat_shares(heat, classes, names)


def test_blocks_are_drawn_together() -> None:
    drawn = draw(10, resamples=50, seed=0, block=5)
    assert drawn.shape == (50, 10) and drawn.min() >= 0 and drawn.max() <= 9
    assert (np.diff(drawn.reshape(50, 2, 5), axis=2) % 10 == 1).all()  # frame 0 follows frame 9
    often = np.bincount(draw(10, resamples=20000, seed=0, block=5).ravel(), minlength=10) / 20000
    assert often == pytest.approx(np.ones(10), abs=0.03)  # frames at the ends are drawn as often
    assert set(np.unique(draw(3, resamples=200, seed=1))) == {0, 1, 2}


def test_interval_covers_the_mean_of_independent_frames() -> None:
    """Of a mean over n frames the standard error is the deviation by the root of n."""
    values = np.random.default_rng(0).normal(size=400)
    mean, low, high = mean_with_interval(values, draw(400, resamples=4000, seed=0))
    assert mean == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.08)


def test_blocks_widen_the_interval_of_frames_that_resemble_their_neighbors() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=40), 10)
    alone, together = (mean_with_interval(values, draw(400, resamples=1000, seed=0, block=b)) for b in (1, 20))
    assert together[2] - together[1] > 2 * (alone[2] - alone[1])
