"""Parts of a picture erased on a GPU, posed by a CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posing import posing
from torch import Tensor, nn

from vidcam.attribution.scores import components
from vidcam.data.preprocessing import Preprocessing
from vidcam.explaining.explain import explain
from vidcam.metrics.changes import Change, loss_rise, pose_changes, score_change, score_drop
from vidcam.metrics.deletion_curve import deletion
from vidcam.models.model import Model

COUNT, FRAMES = 12, 4


class Convolving(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, 2, 1)
        self.head = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().mean((2, 3, 4)))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (COUNT, 36, 48, 3), np.uint8)):
        (tmp_path / f"{index:02}.ppm").write_bytes(b"P6 48 36 255\n" + pixels.tobytes())
    return tmp_path


def regressor() -> Model:
    torch.manual_seed(0)
    scores = components("up", "right")
    preprocessing = Preprocessing((18, 24))
    return Model(Convolving(), "conv", layout="b c t h w", frames=FRAMES, preprocessing=preprocessing, scores=scores)


def poses(output: Tensor) -> Tensor:
    return torch.cat([torch.eye(3).to(output).expand(len(output), 1, 3, 3), output[:, None, :3, None]], 3)


TRUTH = np.linspace(0, 1, 6 * COUNT, dtype=np.float32).reshape(COUNT, 6)
MEASURES: dict[str, dict[str, Change] | None] = {
    "the score": None,
    "a fall": {"fall": score_drop(lambda output: output[:, 0]), "move": score_change(lambda output: output[:, 1])},
    "a loss": {"loss": loss_rise(TRUTH)},
    "poses": pose_changes(poses),
}


@pytest.mark.parametrize("case", MEASURES)
def test_deletion(case: str, video: Path) -> None:
    """A forward waits for its input, and twice for each measure."""
    asked: dict[str, Any] = {"measures": MEASURES[case], "draws": 2, "batch": 64}
    here = regressor()
    explanation = explain(here, video)
    expected = deletion(here, video, explanation, **asked)
    with posing() as device:
        there = regressor().to("cuda:0")
        device.clear()
        found = deletion(there, video, explanation, **asked)
    assert device.total() <= len(found.starts) * (1 + 4 * len(found.changes)), device
    for name, changes in expected.changes.items():
        for order, values in changes.items():
            np.testing.assert_allclose(found.changes[name][order], values, rtol=1e-5, atol=1e-9)
