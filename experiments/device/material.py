"""What is measured on: networks with random weights, clips of noise, and videos that are made."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Bench
from numpy.typing import NDArray

import vidcam
from vidcam.attribution.capturing import Score
from vidcam.attribution.scores import class_score
from vidcam.data.synthetic import motion_clip
from vidcam.media import VideoWriter

TARGET = 3
RATE = Fraction(30)
PAN = 512  # pixels that the picture moves, and back


@dataclass(frozen=True)
class Subject:
    """A network and what it is asked about."""

    model: vidcam.Model
    x: Any
    score: Score
    batch: int


def network(name: str, device: str, **options: Any) -> vidcam.Model:
    """Load a network with random weights, always the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return vidcam.load_model(name, weights=None, device=device, options=options)


def resnet(bench: Bench) -> vidcam.Model:
    """Load the network that most is measured of: R(2+1)D-18, or a small one to be quick."""
    return network("r2plus1d_mini" if bench.quick else "r2plus1d_18", bench.device)


def subject(model: vidcam.Model, batch: int) -> Subject:
    """Make a batch of clips of noise, and the score of a class, or of a regressor's speed."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (128, 171, 3), dtype=np.uint8) for _ in range(model.frames)]
    clip = [model.prepare(picture) for picture in pictures]
    score = model.scores["speed"] if model.scores else class_score(TARGET)
    return Subject(model, model.batch([clip] * batch), score, batch)


def panned(bench: Bench, width: int, height: int, seconds: int) -> Path:
    """Write a video in which a smooth picture with a little grain moves to and fro: noise takes too long to decode."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 16 + 2, (width + PAN) // 16 + 2, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width + PAN), mode="bicubic")[0]
    grain = 0.02 * torch.randn(smooth.shape, generator=generator)
    picture = (255 * (smooth + grain).clamp(0, 1)).byte().permute(1, 2, 0).numpy()
    shifts = (min(i % (2 * PAN), 2 * PAN - 1 - i % (2 * PAN)) for i in range(seconds * int(RATE)))
    frames = (np.ascontiguousarray(picture[:, shift : shift + width]) for shift in shifts)
    return write(bench.folder() / f"panned_{width}x{height}.mp4", frames)


def motion(folder: Path, seed: int, *, label: int | None = None, frames: int = 64) -> Path:
    """Write a clip in which a thing moves, of 160 by 120 pixels."""
    return write(folder / f"motion_{seed}.mp4", motion_clip(seed, label=label, frames=frames).pixels)


def write(path: Path, frames: Iterable[NDArray[np.uint8]]) -> Path:
    each = iter(frames)
    first = next(each)
    with VideoWriter(path, width=first.shape[1], height=first.shape[0], rate=RATE) as writer:
        writer.write(first)
        for frame in each:
            writer.write(frame)
    return path
