"""Random changes of what is learned from, the same for all frames of a clip or of a drive's snippet."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from vidcam.attribution.chance import seeded
from vidcam.data.drives.intrinsics import cropped, mirrored, stretched
from vidcam.data.preprocessing import Preprocessing, Size
from vidcam.options import Options, option
from vidcam.types import Floats

SCALE = (1.0, 1.15)  # as Zhou et al. 2017 and its PyTorch port, of a snippet's axes each on its own


def _no_range(ends: tuple[float, float]) -> str | None:
    return None if 0 < ends[0] <= ends[1] else "must be a range of positive numbers"


@dataclass(frozen=True)
class Augmentation(Options):
    """Crop somewhere, mirror and recolor; then normalize as the network's preprocessing does.

    The crop is taken from what `Preprocessing.resize` leaves, so that with scale and ratio of 1 an object is as big as
    it is when the network is tested.
    """

    scale: tuple[float, float] = option(
        "Range of the crop's area as a share of the network's picture.", (0.6, 1.0), check=_no_range
    )
    ratio: tuple[float, float] = option(
        "Range by which the crop is made wider than the network's picture; drawn on a logarithmic scale.",
        (0.8, 1.25),
        check=_no_range,
    )
    flip: float = option(
        "Probability of a mirror image; 0 where left and right are different classes.", 0.5, least=0, most=1
    )
    brightness: float = option("Factors are drawn from 1 - x to 1 + x.", 0.2, least=0, most=1)
    contrast: float = option("As brightness.", 0.2, least=0, most=1)
    saturation: float = option("As brightness.", 0.2, least=0, most=1)
    hue: float = option("Turns of the color circle, either way.", 0.0, least=0, most=0.5)
    gray: float = option("Probability of a clip without color.", 0.0, least=0, most=1)
    transform: Callable[[Tensor], Tensor] | None = None
    """Any transform of torchvision's v2, called last with the clip, (T, 3, H, W) uint8, and with torch's random state
    set from the clip's own and put back afterwards."""

    def __call__(self, clip: Tensor, preprocessing: Preprocessing, rng: np.random.Generator) -> Tensor:
        """Change a clip, (T, 3, H, W) uint8, to the network's (T, 3, h, w) float32; all chance comes from `rng`."""
        height, width = clip.shape[-2:]
        size = preprocessing.view(height, width).size
        box = self._box(rng, preprocessing.resized(height, width), size, (height, width))
        clip = F.resized_crop(clip, *box, list(size), antialias=preprocessing.antialias)
        clip = self._recolor(F.horizontal_flip(clip) if rng.random() < self.flip else clip, rng)
        if self.transform is not None:
            with seeded(int(rng.integers(2**63))):  # torchvision's transforms know only torch's global chance
                clip = self.transform(clip)
        return preprocessing.normalize(clip)

    def _box(self, rng: np.random.Generator, resized: Size, size: Size, source: Size) -> tuple[int, int, int, int]:
        """Draw a crop of the resized picture; return its top, left, height and width in the source's pixels."""
        area, ratio = rng.uniform(*self.scale), math.exp(rng.uniform(*np.log(self.ratio)))
        factors = math.sqrt(area / ratio), math.sqrt(area * ratio)
        shares = (min(side * factor / whole, 1.0) for side, factor, whole in zip(size, factors, resized, strict=True))
        height, width = (max(round(share * side), 1) for share, side in zip(shares, source, strict=True))
        down, across = rng.random(2)
        return int(down * (source[0] - height + 1)), int(across * (source[1] - width + 1)), height, width

    def _recolor(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        steps = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
        for step, by in zip(steps, (self.brightness, self.contrast, self.saturation), strict=True):
            if by:
                clip = step(clip, rng.uniform(1 - by, 1 + by))
        if self.hue:
            clip = F.adjust_hue(clip, rng.uniform(-self.hue, self.hue))
        return F.rgb_to_grayscale(clip, 3) if rng.random() < self.gray else clip


@dataclass(frozen=True)
class SnippetChange:
    """Enlarge, cut out as much as there was, mirror: the same for all frames of a snippet."""

    enlarged: Size
    """(H, W) of which the size before is cut out."""
    top: int
    left: int
    mirror: bool

    def __call__(self, frames: Tensor, intrinsics: Floats) -> tuple[Tensor, Floats]:
        """Change frames (T, 3, H, W) uint8 and intrinsics (3, 3) at their pixels; both keep their shape."""
        height, width = frames.shape[-2:]
        frames = F.resize(frames, list(self.enlarged), antialias=True)
        frames = frames[..., self.top : self.top + height, self.left : self.left + width]
        intrinsics = stretched(intrinsics, self.enlarged[1] / width, self.enlarged[0] / height)
        intrinsics = cropped(intrinsics, left=self.left, top=self.top)
        if self.mirror:
            frames, intrinsics = frames.flip(-1), mirrored(intrinsics, width)
        return frames, intrinsics


def draw_change(size: Size, rng: np.random.Generator) -> SnippetChange:
    """Draw a change of frames of that (H, W): each side 1 to 1.15 times as long, a mirror image every other time."""
    height, width = (round(side * rng.uniform(*SCALE)) for side in size)
    top, left = int(rng.integers(height - size[0] + 1)), int(rng.integers(width - size[1] + 1))
    return SnippetChange((height, width), top, left, bool(rng.random() < 0.5))
