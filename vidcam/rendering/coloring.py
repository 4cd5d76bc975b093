"""Heat to color and opacity, and both onto a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
import numpy.typing as npt

from vidcam.errors import OptionError, VidcamError, unknown
from vidcam.explanation import Explanation, Floats

Pixels = npt.NDArray[np.uint8]
Scale = Literal["video", "frame"]

LEVELS = 256
# Rows that are blended at a time: what they need stays in the processor's cache (720p: 3.9 ms instead of 5.8 ms).
BAND = 64


@dataclass(frozen=True)
class Palette:
    """Color and opacity of each of 256 levels of heat, multiplied out: `(pixel * keep + add) >> 8` is the blend.

    Both are (256, 3) uint16. Level 0 keeps 256 of 256 parts and adds no color, so cold pixels stay bit-identical.
    """

    keep: npt.NDArray[np.uint16]
    add: npt.NDArray[np.uint16]


def palette(colormap: str = "turbo", opacity: float = 0.6) -> Palette:
    """Look up a colormap of matplotlib, with an opacity that grows linearly from 0 to `opacity` at the hottest cell.

    Raises:
        OptionError: the colormap does not exist, or the opacity is not in 0 to 1.
    """
    if not 0 <= opacity <= 1:
        raise OptionError(f"opacity is from 0 to 1; given {opacity}")
    warmth = np.linspace(0, 1, LEVELS)
    parts = np.rint(256 * opacity * warmth)[:, None]  # of 256
    # Half of the divisor makes the shift by 8 bits round instead of floor.
    add = np.rint(colors(colormap, warmth) * 255 * parts) + 128
    return Palette(np.repeat(256 - parts, 3, axis=1).astype(np.uint16), add.astype(np.uint16))


def colors(colormap: str, warmth: Floats) -> Floats:
    """Return the colors, (..., 3) in 0 to 1, of heat in 0 to 1."""
    try:
        table = matplotlib.colormaps[colormap]
    except (KeyError, TypeError):
        raise OptionError(unknown("colormap", colormap, matplotlib.colormaps)) from None
    rgb: Floats = table(warmth)[..., :3]
    return rgb


def check_choice(kind: str, given: str, possible: Sequence[str]) -> None:
    """Raise an OptionError unless the given one is possible."""
    if given not in possible:
        raise OptionError(unknown(kind, given, possible))


def check_finite(explanation: Explanation) -> None:
    """Raise a VidcamError if heat is not a number somewhere, and say on which frame."""
    broken = ~np.isfinite(explanation.heat).all(axis=(1, 2))
    if broken.any():
        raise VidcamError(
            f"heat is NaN or infinite in {broken.sum()} of {broken.size} frames, first in frame {broken.argmax()}; "
            "nothing can be drawn"
        )


class Spread:
    """A matrix (L, n) that spreads cells over pixels, applied where it is not zero: each pixel has two neighbors.

    NumPy's own product hands larger grids to several threads, which then fight with those that decode and encode
    (112 columns of cells on 720p, 2 busy cores: 250 ms a frame instead of 5).
    """

    def __init__(self, weights: Floats) -> None:
        self.length = len(weights)
        self.runs = []
        for cell, column in enumerate(weights.astype(np.float32).T):
            if (pixels := np.flatnonzero(column)).size:
                run = slice(int(pixels[0]), int(pixels[-1]) + 1)
                self.runs.append((cell, run, column[run]))

    def down(self, cells: Floats) -> npt.NDArray[np.float32]:
        """(n, w) -> (L, w)"""
        spread = np.zeros((self.length, cells.shape[1]), np.float32)
        for cell, run, weights in self.runs:
            spread[run] += weights[:, None] * cells[cell]
        return spread

    def across(self, cells: Floats) -> npt.NDArray[np.float32]:
        """(h, n) -> (h, L)"""
        spread = np.zeros((len(cells), self.length), np.float32)
        for cell, run, weights in self.runs:
            spread[:, run] += cells[:, cell, None] * weights
        return spread


@dataclass(frozen=True)
class Overlay:
    """An explanation made ready to be laid on its frames."""

    levels: Floats
    """(F, h, w) float32 heat from 0 to 255."""
    rows: Spread
    """Cells to the H rows of pixels."""
    columns: Spread
    """Cells to the W columns of pixels."""
    palette: Palette

    def draw(self, index: int, pixels: Pixels, *, out: npt.NDArray[Any] | None = None) -> Pixels:
        """Lay the heat of the frame `index` on its pixels, (H, W, 3), into a new array or into `out`."""
        out = np.empty_like(pixels) if out is None else out
        rows = self.rows.down(self.levels[index])  # (H, w)
        for top in range(0, len(pixels), BAND):
            band = slice(top, top + BAND)
            out[band] = self._blend(pixels[band], rows[band])
        return out

    def _blend(self, pixels: Pixels, rows: Floats) -> npt.NDArray[Any]:
        if rows.max() < 0.5:
            return pixels
        warmth = self.columns.across(rows)
        warmth += 0.5
        level = warmth.astype(np.uint8)
        blended: npt.NDArray[np.uint16] = self.palette.keep.take(level, axis=0, mode="clip")
        blended *= pixels
        blended += self.palette.add.take(level, axis=0, mode="clip")
        blended >>= 8
        return blended


def overlay(
    explanation: Explanation, *, colormap: str = "turbo", opacity: float = 0.6, scale: Scale = "video"
) -> Overlay:
    """Prepare an explanation for drawing.

    Raises:
        OptionError: an unknown colormap or scale, or an opacity outside 0 to 1.
        VidcamError: heat that is not finite.
    """
    check_choice("scale", scale, ("video", "frame"))
    brush = palette(colormap, opacity)
    check_finite(explanation)
    down, across = explanation.spreading()
    levels = explanation.normalize(scale) * 255
    return Overlay(levels.astype(np.float32), Spread(down), Spread(across.T), brush)
