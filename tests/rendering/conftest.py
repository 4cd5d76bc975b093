"""A small source video of known pixels, and an explanation of it that is made by hand."""

from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidcam.explaining.explanation import Explanation
from vidcam.media import VideoWriter, open_video

RATE = Fraction(30000, 1001)
WINDOWS = np.array([[0.0, 0.2], [0.2, 0.4]])


def picture(index: int, width: int, height: int) -> np.ndarray:
    """A gray ramp with a bright column that moves: frames differ."""
    pixels = np.repeat(np.linspace(40, 200, width).astype(np.uint8)[None, :, None], height, axis=0).repeat(3, axis=2)
    pixels[:, (4 * index) % width] = 250
    return pixels


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "source.mp4", *, width: int = 64, height: int = 48, seconds: Any = None) -> Path:
        seconds = np.arange(12) / float(RATE) if seconds is None else seconds
        with VideoWriter(tmp_path / name, width=width, height=height, rate=RATE) as writer:
            for i, second in enumerate(seconds):
                writer.write(picture(i, width, height), float(second))
        return tmp_path / name

    return make


@pytest.fixture
def make_explanation() -> Callable[..., Explanation]:
    """Explain a video, or a size, by a single hot cell in a grid of 4x4 on one frame."""

    def make(source: Path | tuple[int, int] = (64, 48), **changes: Any) -> Explanation:
        if isinstance(source, Path):
            with open_video(source) as video:
                seconds = np.array([frame.seconds for frame in video])
                width, height = video.info.width, video.info.height
                changes = {"provenance": {"source": str(source)}, "rate": video.info.rate} | changes
        else:
            (width, height), seconds = source, np.arange(12) / float(RATE)
        heat = np.zeros((len(seconds), 4, 4), np.float32)
        heat[min(7, len(seconds) - 1), 1, 2] = 0.5
        facts: dict[str, Any] = {
            "heat": heat,
            "seconds": seconds,
            "rows": (np.arange(4) + 0.5) * height / 4 - 0.5,
            "columns": (np.arange(4) + 0.5) * width / 4 - 0.5,
            "spread": "linear",
            "region": (-0.5, -0.5, width - 0.5, height - 0.5),
            "width": width,
            "height": height,
            "rate": RATE,
            "windows": WINDOWS,
            "probabilities": np.array([[0.9, 0.1], [0.3, 0.7]]),
            "target": 0,
            "labels": ("wave", "golf"),
        }
        return Explanation.from_heat(**facts | changes)

    return make


VANISHED = [4, 5, 11]


@pytest.fixture
def make_regression(make_explanation: Callable[..., Explanation]) -> Callable[..., Explanation]:
    """Explain three scores of a drive: on frame 7, one cell raises `tz` and one lowers it; three frames are blind."""

    def make(source: Path | tuple[int, int] = (64, 48), *, target: int = 1, **changes: Any) -> Explanation:
        frame = make_explanation(source, labels=("loss", "tz", "ry"))
        n = len(frame.heat)
        maps = np.zeros((3, n, 4, 4), np.float32)
        maps[:, 7, 1, 2], maps[:, 7, 3, 0], maps[:, 9, 0, 0] = 0.5, -1.0, 0.25
        vanishing = np.zeros((3, n), bool)
        vanishing[:, VANISHED] = True
        maps[:, VANISHED, 2, 2] = 9
        outputs = np.stack([np.linspace(0.3, 0.1, n), np.linspace(-1, 1.2, n), np.full(n, 0.25)], axis=1)
        facts = {field.name: getattr(frame, field.name) for field in fields(Explanation)} | {
            "target": target,
            "explained": (0, 1, 2),
            "classes": 0,
            "maps": maps,
            "gradients": np.where(vanishing, 1e-12, np.linspace(0.5, 2, n)),
            "vanishing": vanishing,
            "outputs": outputs,
            "probabilities": outputs[[2, 8]],
            "signed": True,
        }
        extras = {name: changes.pop(name) for name in ("poses", "true_poses", "depth") if name in changes}
        heat = changes.pop("heat", None)
        made = Explanation(**facts | changes | {"extras": {n: e for n, e in extras.items() if e is not None}})
        return made if heat is None else made.with_heat(heat)

    return make
