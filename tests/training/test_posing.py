"""A classifier trained on a GPU, posed by a CPU: nothing mixes devices, and a step waits for two numbers."""

from typing import Any

import numpy as np
import pytest
from posing import on_posed_trainer, posing

from vidcam.training.classifier.train import train

LOSS = {"class_balance": "loss", "schedule": "plateau", "early_stopping": 1, "clip_gradients": 1.0}


@pytest.mark.parametrize("changes", [{}, LOSS])
def test_a_classifier_is_trained(
    recurrent: dict[str, Any], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_posed_trainer(monkeypatch)
    waits = []
    for clips in (1, 3):  # in 3 steps, and in 9
        with posing() as device:
            report = train(**{**recurrent, **changes, "clips_per_video": clips, "accelerator": "auto", "force": True})
            waits.append(device.total())
        assert np.isfinite(report.per_video.loss)
    assert (waits[1] - waits[0]) / 6 <= 2, device  # Lightning reads loss and accuracy for its bar
