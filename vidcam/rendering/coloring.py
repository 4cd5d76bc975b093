"""Heat to color and opacity, and both onto a picture."""

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

from vidcam.errors import OptionError, VidcamError, unknown
from vidcam.explaining.explanation import Explanation
from vidcam.rendering.look import PLAIN, Color
from vidcam.types import Floats, Pixels

LEVELS = 256
NEUTRAL = 128
"""The level of no heat where heat has a sign: 127 levels below, 127 above."""
COLORMAP, SIGNED_COLORMAP = "turbo", "bwr"
# Rows that are blended at a time: what they need stays in the processor's cache (720p: 3.9 ms instead of 5.8 ms).
BAND = 64


@dataclass(frozen=True)
class Palette:
    """Color and opacity of each of 256 levels of heat, multiplied out: `(pixel * keep + add) >> 8` is the blend.

    Both are (256, 3) uint16. The level of no heat keeps 256 of 256 parts and adds no color, so that cold pixels stay
    bit-identical.
    """

    keep: npt.NDArray[np.uint16]
    add: npt.NDArray[np.uint16]
    neutral: int = 0
    """The level of no heat."""


def palette(colormap: str = COLORMAP, opacity: float = 0.6, *, signed: bool = False) -> Palette:
    """Look up a colormap of matplotlib, with an opacity that grows linearly from 0 to `opacity` at the hottest cell.

    If signed, the middle of the colormap is no heat, and opacity grows towards both ends.

    Raises:
        OptionError: the colormap does not exist.
    """
    neutral = NEUTRAL if signed else 0
    heat = ((np.arange(LEVELS) - neutral) / (LEVELS - 1 - neutral)).clip(-1, 1)
    parts = np.rint(256 * opacity * np.abs(heat))[:, None]  # of 256
    # Half of the divisor makes the shift by 8 bits round instead of floor.
    add = np.rint(colors(colormap, (heat + 1) / 2 if signed else heat) * 255 * parts) + 128
    return Palette(np.repeat(256 - parts, 3, axis=1).astype(np.uint16), add.astype(np.uint16), neutral)


def colors(colormap: str, warmth: Floats) -> Floats:
    """Return the colors, (..., 3) in 0 to 1, of heat in 0 to 1."""
    try:
        table = matplotlib.colormaps[colormap]
    except (KeyError, TypeError):
        raise OptionError(unknown("colormap", colormap, matplotlib.colormaps)) from None
    rgb: Floats = table(warmth)[..., :3]
    return rgb


def colormap_of(explanation: Explanation, colormap: str | None) -> str:
    """Return the colormap asked for, or the one that suits the heat: with a sign it needs two hues."""
    return colormap or (SIGNED_COLORMAP if explanation.signed else COLORMAP)


def peak(explanation: Explanation) -> float:
    """Return the heat of the hottest cell of all frames; of both signs, if heat has one."""
    heat = explanation.heat
    return float(np.abs(heat).max()) if explanation.signed else max(float(heat.max()), 0.0)


def relative(explanation: Explanation, scale: str = "video") -> Floats:
    """Return heat as a share of the peak, (F, h, w): 0 to 1, or -1 to 1 if it has a sign; flat maps stay zero."""
    if not explanation.signed:
        return explanation.normalize("frame" if scale == "frame" else "video")
    size = np.abs(explanation.heat)
    highest = size.max(axis=(1, 2) if scale == "frame" else None, keepdims=True)
    share: Floats = np.divide(explanation.heat, highest, out=np.zeros_like(size), where=highest > 0)
    return share


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
    """(F, h, w) float32 heat in levels from the palette's neutral one: 0 to 255, or -127 to 127."""
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
        if np.abs(rows).max() < 0.5:
            return pixels
        warmth = self.columns.across(rows)
        warmth += self.palette.neutral + 0.5
        level = warmth.astype(np.uint8)
        blended: npt.NDArray[np.uint16] = self.palette.keep.take(level, axis=0, mode="clip")
        blended *= pixels
        blended += self.palette.add.take(level, axis=0, mode="clip")
        blended >>= 8
        return blended


def overlay(explanation: Explanation, color: Color = PLAIN) -> Overlay:
    """Prepare an explanation for drawing.

    Raises:
        OptionError: an unknown colormap.
        VidcamError: heat that is not finite.
    """
    brush = palette(colormap_of(explanation, color.colormap), color.opacity, signed=explanation.signed)
    check_finite(explanation)
    down, across = explanation.spreading()
    levels = relative(explanation, color.scale) * (LEVELS - 1 - brush.neutral)
    return Overlay(levels.astype(np.float32), Spread(down), Spread(across.T), brush)
