"""Small generated videos whose frames tell their number."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

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
