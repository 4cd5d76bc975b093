"""Drives with their truth, small enough to train on in a second."""

from pathlib import Path
from typing import Any

import pytest

from vidcam.data.synthetic.driving import drive, write_drives
from vidcam.models.sfmlearner import pose_and_depth


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drives of 24 frames in KITTI's layout."""
    root = tmp_path_factory.mktemp("road")
    write_drives(root, {name: drive(seed, frames=24, size=(32, 104)) for seed, name in enumerate(("00", "01"), 1)})
    return root


@pytest.fixture
def driving(road: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of `train_odometry` for a run of a second, with a depth network of few planes."""
    monkeypatch.setattr(pose_and_depth, "DEPTH_PLANES", (8, 16, 16, 16, 16, 16, 16))
    monkeypatch.setattr(pose_and_depth, "DECODED", (8, 8, 16, 16, 16, 16, 16))
    return {
        "data": road,
        "output": tmp_path / "run",
        "size": (32, 104),
        "epochs": 1,
        "skip_static": False,
        "accelerator": "cpu",
        "logger": "none",
        "progress": False,
    }
