"""Laying slots on frames: what cannot be placed as asked is placed linearly, and that is said."""

import numpy as np
import pytest
import torch

from vidcam.models.loading import load_model
from vidcam.placing import make_plan


@pytest.mark.parametrize("centroids", [[3.0, 2.0, 9.0, 12.0], [1.0, np.nan, 5.0, 9.0]])
def test_centroids_out_of_order_fall_back_and_say_so(centroids: list[float]) -> None:
    placement = ("effective", "linear")
    plan = make_plan(load_model("demo"), method="grad_cam", layer=None, pooling="slot", when=None, placement=placement)
    plan._effective = {"t": np.array(centroids)}
    x = torch.zeros(1, 3, 32, 48, 64)
    for _ in range(2):
        positions, spread = plan._positions("t", 0, 4, 32, x)
    np.testing.assert_allclose(positions, [3.5, 11.5, 19.5, 27.5])
    assert spread == "linear" and len(plan.notes) == 1 and "'linear' places them instead" in plan.notes[0]
    plan._effective = {"t": np.array([1.0, 4.0, 9.0, 20.0])}
    np.testing.assert_allclose(plan._positions("t", 0, 4, 32, x)[0], [1, 4, 9, 20])
