"""Videos of two motions and their manifest, small enough to train on in a second."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vidcam.data.manifest import Row, write_manifest
from vidcam.data.synthetic import MOTIONS, motion_clip
from vidcam.media import VideoWriter

SPLITS = ("train", "train", "train", "validation", "test")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Twenty videos, twelve of them to train on."""
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for i in range(20):
        clip = motion_clip(i, label=i % 2, frames=16, width=64, height=48)
        path = folder / f"{i:02}.mp4"
        with VideoWriter(path, width=64, height=48, rate=Fraction(30)) as writer:
            for pixels in clip.pixels:
                writer.write(pixels)
        rows.append(Row(path, MOTIONS[i % 2], SPLITS[i // 2 % 5]))
    return rows


@pytest.fixture(scope="session")
def manifest(videos: list[Row]) -> Path:
    path = videos[0].path.with_name("manifest.csv")
    write_manifest(videos, path)
    return path


@pytest.fixture
def quick(manifest: Path, tmp_path: Path) -> dict[str, Any]:
    """Arguments of `train` for a run of seconds; its output is `tmp_path / "run"`."""
    return {
        "manifest": manifest,
        "output": tmp_path / "run",
        "model": "r2plus1d_mini",
        "options": {"frames": 8, "frame_rate": 15.0, "size": [24, 32]},
        "epochs": 1,
        "batch": 4,
        "test_clips": 2,
        "accelerator": "cpu",
        "logger": "none",
        "progress": False,
    }


@pytest.fixture
def recurrent(quick: dict[str, Any]) -> dict[str, Any]:
    """The same with a CNN-LSTM, with attention and a little dropout."""
    options = {"frames": 4, "frame_rate": 15.0, "size": [32, 32], "backbone": "squeezenet1_1", "hidden": 8}
    return quick | {"model": "cnn_lstm_attention", "options": options | {"dropout": 0.5}}
