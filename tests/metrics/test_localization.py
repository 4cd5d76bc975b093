"""Shares of heat in known boxes and frames, against hand-made maps and a brute-force sum over pixels."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from vidcam.errors import OptionError
from vidcam.explaining.explanation import Explanation
from vidcam.metrics.localization import hits

W, H, F = 12, 8, 4
NOWHERE = [math.nan] * 4


def explanation(heat: np.ndarray, **changes: Any) -> Explanation:
    """Heat of one cell per pixel, so that it is drawn as it is."""
    facts: dict[str, Any] = {
        "heat": heat.astype(np.float32),
        "seconds": np.arange(len(heat)) / 10,
        "rows": np.linspace(0, H - 1, heat.shape[1]),
        "columns": np.linspace(0, W - 1, heat.shape[2]),
        "spread": "linear",
        "region": (-0.5, -0.5, W - 0.5, H - 0.5),
        "width": W,
        "height": H,
        "rate": Fraction(10),
        "windows": np.array([[0.0, 0.4]]),
        "probabilities": np.array([[1.0]]),
        "target": 0,
    }
    return Explanation.from_heat(**facts | changes)


def test_by_hand() -> None:
    heat = np.zeros((F, H, W))
    heat[1, 2, 3], heat[1, 2, 4], heat[2, 0, 0] = 5, 3, 2
    boxes = np.array([NOWHERE, [3, 2, 4, 3], [6, 6, 8, 8], NOWHERE])
    found = hits(explanation(heat), boxes, np.array([False, True, True, False]))
    assert found.share_in_boxes == pytest.approx(0.5)  # pixel 3 spans 3 to 4
    assert found.share_in_active_frames == pytest.approx(1)
    assert found.area_share == pytest.approx((1 + 4) / (F * W * H))
    assert found.active_frame_share == pytest.approx(0.5)
    assert list(found.as_dict()) == ["share_in_boxes", "area_share", "share_in_active_frames", "active_frame_share"]


def test_a_box_that_cuts_a_pixel_gets_its_part() -> None:
    heat = np.zeros((F, H, W))
    heat[0, 4, 5] = 1
    found = hits(explanation(heat), np.array([[5.25, 4.5, 6, 9], *[NOWHERE] * 3]), np.arange(F) == 0)
    assert found.share_in_boxes == pytest.approx(0.75 * 0.5)
    assert found.area_share == pytest.approx(0.75 * 3.5 / (F * W * H))  # the picture ends at 8


def test_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    given = explanation(rng.normal(size=(F, 3, 5)), region=(0.6, -0.5, W - 2.0, H - 1.2))
    boxes = np.array([[1, 1, 7, 5], NOWHERE, [0, 0, W, H], [8, 2, 12, 3]], float)
    active = np.array([True, False, True, True])
    pixels = np.stack([explanation(given.heat.clip(min=0), region=given.region).dense(f) for f in range(F)])
    inside = sum(pixels[f, int(t) : int(b), int(x) : int(r)].sum() for f, (x, t, r, b) in enumerate(boxes) if active[f])
    found = hits(given, boxes, active)
    assert found.share_in_boxes == pytest.approx(inside / pixels.sum(), rel=1e-5)
    assert found.share_in_active_frames == pytest.approx(pixels[active].sum() / pixels.sum(), rel=1e-5)


def test_even_heat_hits_by_its_area() -> None:
    boxes = np.tile([2.0, 1.0, 5.0, 7.0], (F, 1))
    found = hits(explanation(np.ones((F, 2, 2))), boxes, np.ones(F, bool))
    assert found.share_in_boxes == pytest.approx(found.area_share)
    assert found.share_in_active_frames == found.active_frame_share == 1


@pytest.mark.parametrize("value", [0, -1])
def test_a_flat_map_has_no_shares(value: float) -> None:
    found = hits(explanation(np.full((F, 2, 2), value)), np.tile([0.0, 0, 2, 2], (F, 1)), np.ones(F, bool))
    assert math.isnan(found.share_in_boxes) and math.isnan(found.share_in_active_frames)
    assert found.area_share > 0


def test_wrong_lengths_are_refused() -> None:
    with pytest.raises(OptionError, match=r"4 frames need boxes \(4, 4\)"):
        hits(explanation(np.ones((F, 2, 2))), np.zeros((3, 4)), np.ones(3, bool))
