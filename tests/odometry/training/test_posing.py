"""Pose and depth networks trained on a GPU, posed by a CPU: nothing mixes devices, and a step waits seldom."""

from typing import Any

import numpy as np
import pytest
from posing import on_posed_trainer, posing

from vidcam.odometry.training.train import train_odometry


def test_odometry_is_trained(driving: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A step waits for its loss, and puts four numbers of it into the log."""
    on_posed_trainer(monkeypatch)
    waits = []
    for steps in (2, 6):
        with posing() as device:
            asked = {**driving, "epoch_size": steps, "explainability": 0.2, "accelerator": "auto", "force": True}
            report = train_odometry(**asked)
            waits.append(device.total())
        assert np.isfinite(report.best["validation_photometric"])
    assert (waits[1] - waits[0]) / 4 <= 8, device
