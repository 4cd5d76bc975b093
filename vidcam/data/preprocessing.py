"""From a source's frame to a network's frame, and the way back for coordinates."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from vidcam.data.processors import read_processor
from vidcam.errors import OptionError, unknown
from vidcam.types import Pixels

Size = tuple[int, int]
LARGEST = 2**13
"""Pixels of a side that a network may be given."""
CHANNELS = {"rgb": (0, 1, 2), "bgr": (2, 1, 0), "gray": (0,)}
"""What a network may take of a frame, and how many channels that is."""
LUMA = (0.299, 0.587, 0.114)
"""How bright red, green and blue are (ITU-R BT.601)."""
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


@dataclass(frozen=True)
class View:
    """Where a network's pixels lie in the source, along height and width.

    The network's pixel u is at `scale * (u + first + 0.5) - 0.5` source pixels.
    """

    size: Size
    """(H, W) of the network's frame."""
    first: tuple[float, float]
    """Resized pixels cut off at the top and at the left; negative where the crop adds a border."""
    scale: tuple[float, float]
    """Source pixels per resized pixel, down and across."""
    source: Size
    """(H, W) of the source's frame."""

    def to_source(self, positions: npt.ArrayLike, axis: int) -> npt.NDArray[np.float64]:
        """Map positions in the network's frame to the source's pixels, along axis 0 (down) or 1 (across)."""
        return self.scale[axis] * (np.asarray(positions, dtype=np.float64) + self.first[axis] + 0.5) - 0.5

    @property
    def region(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom edge of what the network sees, in source pixels."""
        top, left = (max(self.to_source(-0.5, axis).item(), -0.5) for axis in (0, 1))
        ends = [self.to_source(self.size[axis] - 0.5, axis).item() for axis in (0, 1)]
        bottom, right = (min(end, self.source[axis] - 0.5) for axis, end in enumerate(ends))
        return left, top, right, bottom

    @property
    def covers_source(self) -> bool:
        """Whether the network sees all of the source's pixels, to within half a pixel."""
        height, width = self.source
        edges = np.subtract(self.region, (-0.5, -0.5, width - 0.5, height - 0.5))
        return bool(np.abs(edges).max() <= 0.5)


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop from the middle, scale to 0..1, normalize: what torchvision's presets do, frame by frame.

    `Preprocessing.from_processor` reads what Hugging Face's, timm's and torchvision's own do.
    """

    resize: Size | int | None = None
    """(H, W), or the length of the shorter side, or None for the source's own size."""
    crop: Size | None = None
    """(H, W) cut from the middle, or None."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    antialias: bool = False
    interpolation: str = "bilinear"
    channels: str = "rgb"
    """Their order, "rgb" or "bgr", or "gray" for one."""
    divisor: float = 255.0
    """What pixels of 0..255 are divided by before the mean is taken off."""

    def __post_init__(self) -> None:
        both = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        sizes: list[Any] = [size for size in (both, self.crop) if size is not None]
        if not all(isinstance(size, tuple | list) and len(size) == 2 and all(map(is_side, size)) for size in sizes):
            given = f"resize {self.resize} and crop {self.crop}"
            raise OptionError(f"sizes must be positive, at most {LARGEST}, a crop (H, W); given {given}")
        if self.channels not in CHANNELS:
            raise OptionError(unknown("channels", self.channels, CHANNELS))
        if self.interpolation not in INTERPOLATIONS:
            raise OptionError(unknown("interpolation", self.interpolation, INTERPOLATIONS))
        if not 0 < self.divisor < np.inf:
            raise OptionError(f"the divisor must be positive; given {self.divisor}")
        if self.channels == "gray" and len(set(self.mean)) == len(set(self.std)) == 1:
            object.__setattr__(self, "mean", self.mean[:1])
            object.__setattr__(self, "std", self.std[:1])
        finite = np.isfinite(np.array([*self.mean, *self.std], dtype=float)).all()
        count = len(CHANNELS[self.channels])
        if not len(self.mean) == len(self.std) in (1, count) or not finite or any(s <= 0 for s in self.std):
            raise OptionError(f"mean and std need {count} values each, std positive; given {self.mean} and {self.std}")

    @classmethod
    def from_processor(cls, processor: Any) -> "Preprocessing":
        """Read what the processor that a network came with does to a frame.

        Args:
            processor: one of Hugging Face's for images or videos, or what holds one; timm's configuration, as
                `net.pretrained_cfg`; torchvision's presets (`weights.transforms()`) or a `Compose` of its transforms; a
                `Preprocessing` is returned as it is.

        Raises:
            OptionError: it is none of these, or does something that no `Preprocessing` does.
        """
        return processor if isinstance(processor, Preprocessing) else cls(**read_processor(processor))

    def __call__(self, pixels: Pixels) -> Tensor:
        """(H, W, 3) uint8 RGB -> (C, h, w) float32."""
        size = self.resized(*pixels.shape[:2])
        frame = resize_frame(pixels, size, antialias=self.antialias, interpolation=self.interpolation)
        if self.crop is not None:
            frame = F.center_crop(frame, list(self.crop))
        return self.normalize(frame)

    def normalize(self, frames: Tensor) -> Tensor:
        """(..., 3, h, w) uint8 RGB -> (..., C, h, w) float32: its channels, scaled, less the mean, by the deviation."""
        scaled = frames.float() / self.divisor
        if self.channels == "gray":
            scaled = (scaled * scaled.new_tensor(LUMA)[:, None, None]).sum(-3, keepdim=True)
        elif self.channels == "bgr":
            scaled = scaled.flip(-3)
        normalized: Tensor = F.normalize(scaled, list(self.mean), list(self.std))
        return normalized

    @property
    def size(self) -> Size | None:
        """(H, W) of what it makes of every frame; None where that depends on the frame's own."""
        return self.crop or (self.resize if isinstance(self.resize, tuple) else None)

    def resized(self, height: int, width: int) -> Size:
        """Return (H, W) after the resize."""
        if not isinstance(self.resize, int):
            return self.resize or (height, width)
        if height <= width:
            return self.resize, int(self.resize * width / height)
        return int(self.resize * height / width), self.resize

    def view(self, height: int, width: int) -> View:
        """Tell where the network's pixels lie in a source of that size."""
        resized = self.resized(height, width)
        size = self.crop or resized
        first = [_first(whole, part) for whole, part in zip(resized, size, strict=True)]
        scale = (height / resized[0], width / resized[1])
        return View(size=size, first=(first[0], first[1]), scale=scale, source=(height, width))


def is_side(side: object) -> bool:
    """Tell whether that many pixels can be a height or a width."""
    return isinstance(side, Integral) and not isinstance(side, bool) and 1 <= int(side) <= LARGEST


def resize_frame(pixels: Pixels, size: Size, *, antialias: bool, interpolation: str = "bilinear") -> Tensor:
    """(H, W, 3) uint8 -> (3, h, w) uint8"""
    frame = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
    resized: Tensor = F.resize(frame, list(size), InterpolationMode(interpolation), antialias=antialias)
    return resized


def _first(whole: int, part: int) -> int:
    """Return the first pixel of a crop from the middle, rounded as torchvision does; a border is negative."""
    return round((whole - part) / 2) if whole >= part else -((part - whole) // 2)
