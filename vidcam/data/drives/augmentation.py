"""Random changes of a snippet that a camera with other intrinsics could have taken."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from vidcam.data.drives.intrinsics import cropped, mirrored, stretched
from vidcam.data.preprocessing import Size
from vidcam.types import Floats

SCALE = (1.0, 1.15)  # as Zhou et al. 2017 and its PyTorch port, along each axis on its own


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
