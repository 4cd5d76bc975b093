"""Called: a function of the user's own as preprocessing, and where the pixels that it returns lie in the source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidcam.data.preprocessing import Preprocessing, Size, View
from vidcam.errors import OptionError
from vidcam.types import Floats, Pixels

REGIONS = ("measured", "whole", "center")
FARTHEST = 0.02
"""Share of the frame by which measured positions may be off the straight line through them."""


def _plain(frames: Pixels) -> Any:
    """(T, H, W, 3) uint8 -> (T, 3, H, W) in 0..1."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2) / 255


@dataclass(frozen=True)
class Called(Preprocessing):
    """Whatever a function makes of frames, one frame at a time.

        Called(function=lambda frames: torch.from_numpy(frames).permute(0, 3, 1, 2)[:, :, ::2, ::2] / 255)

    Where its pixels lie in the source is measured: it is shown frames that grow brighter from left to right and from
    top to bottom.
    """

    function: Callable[[Pixels], Any] = _plain
    """(T, H, W, 3) uint8 RGB -> (T, C, h, w), a tensor or an array."""
    region: str | Sequence[float] = "measured"
    """What its pixels show: "measured"; the "whole" frame, squeezed; the largest part in the "center" that has
    their ratio of height to width; or (left, top, right, bottom) edges in the source's pixels."""
    _views: dict[Size, View] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.region not in REGIONS and not _is_box(self.region):
            raise OptionError(
                f"unknown region {self.region!r}; possible: {', '.join(REGIONS)}, (left, top, right, bottom)"
            )

    def __call__(self, pixels: Pixels) -> Tensor:
        """(H, W, 3) uint8 RGB -> (C, h, w) float32."""
        made = self.function(pixels[None])
        made = torch.from_numpy(made) if isinstance(made, np.ndarray) else made
        if not isinstance(made, Tensor) or made.ndim != 4 or len(made) != 1:
            given = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise OptionError(f"preprocessing must return (T, C, h, w), here of one frame; it returned {given}")
        return made[0].float()

    def resized(self, height: int, width: int) -> Size:
        """Return (H, W) of what is returned for such a frame."""
        return self.view(height, width).size

    def view(self, height: int, width: int) -> View:
        """Tell where the network's pixels lie in a source of that size.

        Raises:
            OptionError: it cannot be measured, as brighter frames are not made brighter.
        """
        if (height, width) not in self._views:
            self._views[height, width] = self._find_view(height, width)
        return self._views[height, width]

    def _find_view(self, height: int, width: int) -> View:
        shape = self(np.zeros((height, width, 3), np.uint8)).shape
        size, whole = (shape[-2], shape[-1]), (height, width)
        if not isinstance(self.region, str):
            return self._box_view(size, whole, *self.region)
        if self.region == "whole":
            return self._box_view(size, whole, 0, 0, width, height)
        if self.region == "center":
            scale = min(height / size[0], width / size[1])
            first = [(side / scale - own) / 2 for side, own in zip(whole, size, strict=True)]
            return View(size, (first[0], first[1]), (scale, scale), whole)
        lines = [self._line(whole, axis) for axis in (0, 1)]
        starts = [(start + 0.5) / step - 0.5 for step, start in lines]
        return View(size, (starts[0], starts[1]), (lines[0][0], lines[1][0]), whole)

    def _box_view(self, size: Size, whole: Size, left: float, top: float, right: float, bottom: float) -> View:
        """Tell where pixels lie that show what is inside of these edges."""
        if right > whole[1] or bottom > whole[0]:
            raise OptionError(
                f"region={self.region} reaches beyond the source, which is {whole[1]} pixels wide and {whole[0]} high"
            )
        down, across = (bottom - top) / size[0], (right - left) / size[1]
        return View(size, (top / down, left / across), (down, across), whole)

    def _line(self, whole: Size, axis: int) -> tuple[float, float]:
        """Measure the source's pixels from one of the network's to the next, and where its first one lies."""
        positions = self._positions(whole, axis)
        inside = np.isfinite(positions) & (positions > 0.02 * whole[axis]) & (positions < 0.98 * whole[axis] - 1)
        u = np.flatnonzero(inside)
        if len(u) >= 2:
            step, start = np.polyfit(u, positions[u], 1)
            off = np.abs(start + step * u - positions[u]).max()
            if step > 0 and off <= max(1.0, FARTHEST * whole[axis]):
                return float(step), float(start)
        raise OptionError(
            "where the pixels that preprocessing returns lie in the source cannot be measured: it does not keep "
            "frames that grow brighter to one side as they are; say region='whole', 'center' or "
            "(left, top, right, bottom) in the source's pixels"
        )

    def _positions(self, whole: Size, axis: int) -> Floats:
        """Read where each row or column lies in the source off a frame that grows brighter along an axis."""
        ramp = np.round(np.linspace(0, 255, whole[axis])).astype(np.uint8)
        frame = np.broadcast_to(ramp[:, None] if axis == 0 else ramp[None], whole)
        shown = [self(np.repeat(each[..., None], 3, axis=2)).double().numpy() for each in _between(frame)]
        dark, own, bright = shown
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(np.abs(bright - dark) > 1e-9, (own - dark) / (bright - dark), np.nan)
        lines = np.moveaxis(share, axis + 1, 0).reshape(share.shape[axis + 1], -1)
        along = [np.median(line[seen]) if (seen := ~np.isnan(line)).any() else np.nan for line in lines]
        return np.asarray(along, dtype=np.float64) * (whole[axis] - 1)


def _is_box(region: Any) -> bool:
    """Tell whether a region is edges (left, top, right, bottom) with something in between."""
    if not isinstance(region, tuple | list) or len(region) != 4 or not np.isfinite(region).all():
        return False
    left, top, right, bottom = region
    return bool(0 <= left < right and 0 <= top < bottom)


def _between(frame: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Return a frame between one all dark and one all bright."""
    return np.zeros_like(frame), frame, np.full_like(frame, 255)
