"""Small generated videos whose frames tell their number."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidcam.media import VideoWriter

Make = Callable[..., Path]


def gray(index: int) -> int:
    """Every frame has one gray of its own."""
    return 16 + 5 * index


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a video of `count` gray frames, at `times` or at a constant rate."""

    def write(name="clip.mp4", *, count=40, rate=20, times=None, width=32, height=24, first=0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, width=width, height=height, rate=Fraction(rate)) as writer:
            for index in range(count):
                pixels = np.full((height, width, 3), gray(index + first), np.uint8)
                writer.write(pixels, None if times is None else times[index])
        return path

    return write


@pytest.fixture
def draw() -> Make:
    """Write numbered pictures, gray by their index."""

    def draw(folder: Path, *, count=6, numbers=None, size=(40, 24), suffix="png") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for index, number in enumerate(numbers or range(count)):
            Image.new("RGB", size, (gray(index),) * 3).save(folder / f"{number:06d}.{suffix}")
        return folder

    return draw


@pytest.fixture
def kitti(tmp_path: Path, draw: Make) -> Make:
    """Write a sequence of 40x24 in KITTI's layout; the camera goes 1 m ahead from frame to frame."""

    def kitti(name="00", *, count=6, rows=None, camera="image_2", numbers=None, meters=1.0) -> Path:
        folder, poses = tmp_path / "dataset/sequences" / name, tmp_path / f"dataset/poses/{name}.txt"
        poses.parent.mkdir(parents=True, exist_ok=True)
        rows = count if rows is None else rows
        draw(folder / camera, count=count, numbers=numbers)
        projections = [f"P{index}: {60 + index} 0 19 {index} 0 60 11 0 0 0 1 0\n" for index in range(4)]
        (folder / "calib.txt").write_text("".join(projections))
        (folder / "times.txt").write_text("".join(f"{index / 10:e}\n" for index in range(rows)))
        poses.write_text("".join(f"1 0 0 0 0 1 0 0 0 0 1 {index * meters}\n" for index in range(rows)))
        return folder

    return kitti
