"""Depth as a picture: near is bright."""

from dataclasses import dataclass

import numpy as np

from vidcam.attribution.geometry import interpolation_matrix
from vidcam.media import Frame
from vidcam.rendering.coloring import LEVELS, Spread, colors
from vidcam.rendering.tag import Ramp, draw_tag, stamp
from vidcam.types import Floats, Pixels

COLORMAP = "magma"
NEAREST = 0.005
"""Share of the pixels of all frames that are nearer than what is drawn brightest: single pixels never set the scale."""
SAMPLED = 200
"""Frames that are looked at for the scale."""


@dataclass(frozen=True)
class DepthPanel:
    """Inverse depth in color, on one scale for all frames."""

    depth: Floats
    """(F, h, w)."""
    nearest: float
    """The depth that is drawn in the last color."""
    rows: Spread
    columns: Spread
    tag: Pixels

    def draw(self, frame: Frame, out: Pixels) -> None:
        """Color one frame's depth."""
        nearness = inverse(self.depth[frame.index]) * self.nearest
        levels = self.columns.across(self.rows.down(nearness.clip(max=1) * (LEVELS - 1)))
        levels += 0.5
        np.take(TABLE, levels.astype(np.uint8), axis=0, out=out, mode="clip")
        stamp(out, self.tag)


TABLE = np.rint(colors(COLORMAP, np.linspace(0, 1, LEVELS)) * 255).astype(np.uint8)


def depth_panel(depth: Floats, *, width: int, height: int, size: int) -> DepthPanel:
    """Prepare depth, (F, h, w), for pictures of that size and type of `size` pixels."""
    sample = inverse(depth[:: max(1, len(depth) // SAMPLED)])
    top = float(np.quantile(sample, 1 - NEAREST))
    rows, columns = (_spread(n, length) for n, length in zip(depth.shape[1:], (height, width), strict=True))
    tag = draw_tag("depth", size, width, ramp=Ramp(COLORMAP, "far", "near"))
    return DepthPanel(depth, 1 / top if top > 0 else 1.0, rows, columns, tag)


def inverse(depth: Floats) -> Floats:
    """Return one over depth; zero, as if it were infinitely far, where depth is no positive number."""
    known = np.isfinite(depth) & (depth > 0)
    inverted: Floats = np.divide(1, depth, out=np.zeros(depth.shape, np.float32), where=known)
    return inverted


def _spread(cells: int, length: int) -> Spread:
    """Spread cells that share the length equally over its pixels."""
    return Spread(interpolation_matrix((np.arange(cells) + 0.5) * length / cells - 0.5, length))
