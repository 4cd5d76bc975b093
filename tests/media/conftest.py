"""Small generated clips."""

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vidcam.media import VideoWriter

Make = Callable[..., Path]


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    return _picture


def _picture(index: int, *, width: int = 64, height: int = 48) -> np.ndarray:
    """A smooth colored picture with a bright bar whose place tells the index."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows * 3, columns * 2, np.full_like(rows, 90)], axis=-1).astype(np.uint8)
    pixels[:, (index * 4) % width : (index * 4) % width + 4] = (230, 230, 40)
    return pixels


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a clip of `count` pictures, at `times` or at the constant rate."""

    def write(name="clip.mp4", *, count=20, rate=25, times=None, width=64, height=48, audio_from=None) -> Path:
        path = tmp_path / name
        with VideoWriter(path, width=width, height=height, rate=Fraction(rate), audio_from=audio_from) as writer:
            for index in range(count):
                writer.write(_picture(index, width=width, height=height), None if times is None else times[index])
        return path

    return write


@pytest.fixture
def probe() -> Callable[[Path, str], dict[str, str]]:
    return _probe


def _probe(path: Path, entries: str) -> dict[str, str]:
    """Ask the FFmpeg command line tool, which shares no code with the reader, about the video stream."""
    if shutil.which("ffprobe") is None:
        pytest.skip("no FFmpeg command line tool")
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "default=nw=1"]
    lines = subprocess.run([*command, f"file:{path}"], capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)


@pytest.fixture
def damaged():
    """Overwrite 300 bytes in the middle of a file's pictures."""

    def overwrite(path: Path) -> Path:
        content = bytearray(path.read_bytes())
        start = content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2
        content[start : start + 300] = bytes(range(150)) * 2
        path.write_bytes(content)
        return path

    return overwrite
