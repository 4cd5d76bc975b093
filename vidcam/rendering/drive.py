"""The driving video: frame, heat, depth and the way so far, side by side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidcam.attribution.geometry import interpolation_matrix
from vidcam.explaining.explanation import Explanation
from vidcam.media import Frame
from vidcam.options import takes
from vidcam.rendering.coloring import LEVELS, Spread, colors, overlay
from vidcam.rendering.curves import VANISHES
from vidcam.rendering.labels import Ramp, draw_tag, heat_ramp, stamp
from vidcam.rendering.look import PLAIN, Audio, Color
from vidcam.rendering.path import way, way_panel
from vidcam.rendering.strips import draw_bar, type_size
from vidcam.rendering.video import FramePanel, HeatPanel, Panel, Scene, film, room
from vidcam.types import Floats, Pixels, Progress

BAR_TYPE = 1.25
"""Height of the type in the strip below, in heights of that in the panels."""
COLORMAP = "magma"
NEAREST = 0.005
"""Share of the pixels of all frames that are nearer than what is drawn brightest: single pixels never set the scale."""
SAMPLED = 200
"""Frames that are looked at for the scale."""
TABLE = np.rint(colors(COLORMAP, np.linspace(0, 1, LEVELS)) * 255).astype(np.uint8)


@takes(Color, Audio)
def render_drive(
    explanation: Explanation,
    path: str | Path,
    *,
    source: object = None,
    color: Color,
    sound: Audio,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write a video of panels of the source's size, for every frame of the source, above the curves over time.

    The panels are the frame, the frame with its heat, depth (near is bright, one scale for the video), and the way
    so far from above: the predicted one beside the true one, laid on it by one scale for the whole drive. What the
    explanation does not know is left out.

    Args:
        explanation: What to draw.
        path: The video to write; its extension chooses the format.
        source: As in `render`.
        force: Replace an existing file.
        progress: Called after every frame with the number of frames done and of all frames.

    Returns:
        What a viewer must know, such as panels that are left out.

    Raises:
        OptionError: an unknown colormap or scale, or an opacity outside 0 to 1.
        MediaError: the source is gone or has changed, or the file exists or cannot be written.
        VidcamError: heat, outputs or poses that are not finite.
    """
    drawn = drive_scene(explanation, color)
    notes = film(drawn, explanation, path, source=source, audio=sound.audio, force=force, progress=progress)
    missing = [name for name, known in (("depth", explanation.depth), ("course", explanation.poses)) if known is None]
    return (*notes, *(f"the network tells no {name}: its panel is left out" for name in missing))


def drive_scene(explanation: Explanation, color: Color = PLAIN) -> Scene:
    """Draw what stays the same in all frames."""
    size = type_size(explanation.width)
    across = {"width": explanation.width, "height": explanation.height, "size": size}
    panels: list[Panel] = [FramePanel(), _heat(explanation, color, size)]
    if explanation.depth is not None:
        panels.append(depth_panel(explanation.depth, **across))
    if explanation.poses is not None:
        panels.append(way_panel(way(explanation.poses, explanation.true_poses), **across))
    columns = columns_of(len(panels), explanation.width / explanation.height)
    blank = room(explanation, len(panels), columns)
    strip = draw_bar(explanation, blank.shape[1], size=round(BAR_TYPE * size))
    return Scene(tuple(panels), columns, np.concatenate([blank, strip.pixels]), strip)


def _heat(explanation: Explanation, color: Color, size: int) -> HeatPanel:
    layer = overlay(explanation, color)
    name, width = f"heat for {explanation.target_name}", explanation.width
    title = draw_tag(name, size, width, ramp=heat_ramp(explanation, color))
    return HeatPanel(layer, explanation.is_vanishing, draw_tag(f"{name}: {VANISHES}", size, width), title)


SHAPE = 16 / 9
"""Width over height of a screen, which the grid of panels shall fill."""


def columns_of(panels: int, shape: float) -> int:
    """Return in how many columns panels of a shape, width over height, fill a screen best; 4 wide ones stand 2 by 2."""
    if panels == 4 and shape >= 1:
        return 2

    def misfit(columns: int) -> float:
        rows = -(-panels // columns)
        return abs(float(np.log(columns * shape / rows / SHAPE))) + 0.5 * (columns * rows - panels)

    return min(range(panels, 0, -1), key=misfit)


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
