"""The contact sheet: the frames that count, with their heat."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vidcam.errors import OptionError
from vidcam.explaining.explanation import Explanation
from vidcam.explaining.ranking import Ranking
from vidcam.options import takes
from vidcam.rendering.coloring import colormap_of, overlay, peak
from vidcam.rendering.curves import VANISHES, directions, with_unit
from vidcam.rendering.drawing import DAY, axes_at, empty_figure, number, plain, save_figure, text_width, write
from vidcam.rendering.labels import HEAD, MARGIN, write_heading
from vidcam.rendering.look import Color
from vidcam.rendering.strips import color_marks, draw_ramp
from vidcam.rendering.video import open_source
from vidcam.types import Pixels

GAP, CAPTION, LEGEND = 12, 32, 74  # points
TILE_AREA = 260 * 195  # square points
SLIMMEST = Fraction(8)
"""The longer side of a tile is at most so many times the shorter one."""


@takes(Color)
def contact_sheet(
    explanation: Explanation,
    path: str | Path,
    *,
    source: object = None,
    k: int = 8,
    apart_seconds: float = 0.0,
    color: Color,
    order: Sequence[int] | None = None,
    how: str = "",
    force: bool = False,
) -> None:
    """Write a picture of the k frames with the most heat; the options are those of `figure`.

    Raises:
        MediaError: the source is gone or has changed, or the file exists or cannot be written.
    """
    which = {"source": source, "apart_seconds": apart_seconds, "order": order, "how": how}
    save_figure(figure(explanation, k, **which, **color.arguments()), path, force=force)


def rank_sheet(ranking: Ranking, path: str | Path, *, k: int = 8, **look: Any) -> None:
    """Write a picture of the first k frames with their heat; the other options are those of `contact_sheet`."""
    order, how = [frame.index for frame in ranking.frames], f"first frames by {ranking.by}"
    contact_sheet(ranking.explanation, path, k=k, order=order, how=how, **look)


@takes(Color)
def figure(
    explanation: Explanation,
    k: int = 6,
    *,
    source: object = None,
    apart_seconds: float = 0.0,
    color: Color,
    order: Sequence[int] | None = None,
    how: str = "",
) -> Figure:
    """Return a matplotlib figure of the k frames with the most heat, in the order of time.

    Args:
        explanation: What to draw.
        k: How many frames; fewer if the video has fewer.
        source: As in `render`.
        apart_seconds: Leave out frames that are closer than this to a hotter one that is shown, and then cold ones.
        order: All frames, the one that matters most first; None takes them by their heat.
        how: What the order is, for the heading.

    Raises:
        OptionError: an unknown colormap or scale, an opacity outside 0 to 1, k below 1, or no source known.
        MediaError: the source is gone or has changed.
    """
    layer = overlay(explanation, color)
    ranks = pick(explanation, k, apart_seconds=apart_seconds, order=order)
    with open_source(explanation, source) as video:
        frames = video.frames_at(sorted(ranks))
    grid = _grid(Fraction(explanation.width, explanation.height) * video.info.pixel_aspect, len(frames))
    sheet = empty_figure(grid.width, grid.height, DAY)
    write_heading(sheet, explanation, grid.width, how=how)
    for place, frame in enumerate(frames):
        axes = axes_at(sheet, *grid.corner(place), grid.tile_width, grid.tile_height)
        _picture(axes, layer.draw(frame.index, frame.pixels), explanation)
        _caption(sheet, grid, place, explanation, (ranks[frame.index], frame.index))
    _legend(sheet, grid, explanation, color)
    return plain(sheet)


COLD = 0.05
"""Share of the hottest frame's heat below which a frame is not picked to fill the sheet."""


def pick(
    explanation: Explanation, k: int, *, apart_seconds: float = 0.0, order: Sequence[int] | None = None
) -> dict[int, int]:
    """Return the rank, from 1, of each of the k first frames that lie at least so far apart."""
    if k < 1:
        raise OptionError(f"a contact sheet needs k of at least 1; given {k}")
    ranks: dict[int, int] = {}
    scores = explanation.frame_scores
    for rank, frame in enumerate(order or explanation.top_frames(len(explanation.heat)), start=1):
        if apart_seconds > 0 and ranks and scores[frame] < COLD * scores.max():
            break
        gaps = np.abs(explanation.seconds[list(ranks)] - explanation.seconds[frame])
        if (gaps >= apart_seconds - 1e-9).all():
            ranks[frame] = rank
        if len(ranks) == k:
            break
    return ranks


@dataclass(frozen=True)
class Grid:
    """Where the tiles lie; all in points."""

    columns: int
    rows: int
    tile_width: int
    tile_height: int

    @property
    def width(self) -> int:
        """Of the whole sheet, never too narrow for its head."""
        return max(2 * MARGIN + self.columns * (self.tile_width + GAP) + LEGEND, 420)

    @property
    def height(self) -> int:
        """Of the whole sheet."""
        return 2 * MARGIN + HEAD + self.rows * (self.tile_height + CAPTION + GAP) - GAP

    def corner(self, place: int) -> tuple[int, int]:
        """Return the left and top edge of a tile's picture; its caption is above."""
        row, column = divmod(place, self.columns)
        left = MARGIN + column * (self.tile_width + GAP)
        return left, MARGIN + HEAD + CAPTION + row * (self.tile_height + CAPTION + GAP)


def _grid(shape: Fraction, n: int) -> Grid:
    """Lay out tiles of a shape, width over height, at most four in a row, or six if the video is upright.

    They have equal area; those of a strip of a few pixels are wider than it is, or nothing of it would be seen.
    """
    tile_width = round((TILE_AREA * float(min(max(shape, Fraction(2, 5)), Fraction(4)))) ** 0.5)
    most = 6 if shape < 0.8 else 4 if shape < 2.2 else 2
    rows = ceil(n / most)
    return Grid(ceil(n / rows), rows, tile_width, round(tile_width / min(max(shape, 1 / SLIMMEST), SLIMMEST)))


def _picture(axes: Axes, pixels: Pixels, explanation: Explanation) -> None:
    """Show a frame, with an outline around what the network saw if that is not all of it."""
    axes.imshow(pixels, aspect="auto", interpolation="antialiased")
    axes.set_axis_off()
    height, width, _ = pixels.shape
    whole = np.array([[0, 0], [width, height]]) - 0.5
    seen = np.reshape(explanation.region, (2, 2)).clip(whole[0], whole[1])  # corners, x before y
    if np.allclose(seen, whole, atol=0.01):
        return
    corner, size = seen[0], seen[1] - seen[0]
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="black", linewidth=1.6, alpha=0.5))
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=0.9, linestyle=(0, (4, 3))))


def _caption(sheet: Figure, grid: Grid, place: int, explanation: Explanation, ranked: tuple[int, int]) -> None:
    """Write rank and time, and below, smaller, the frame's index and score."""
    rank, frame = ranked
    left, top = grid.corner(place)
    write(sheet, left, top - CAPTION + 3, f"#{rank}", size=10.5, weight="bold", color=DAY["target"])
    beside = left + text_width(f"#{rank}  ", 10.5, weight="bold")
    when = f"{explanation.seconds[frame]:,.{2 if explanation.rate < 100 else 3}f} s"  # neighbors differ
    write(sheet, beside, top - CAPTION + 3, when, size=10.5, color=DAY["ink"])
    facts = " · ".join(_facts(explanation, frame))
    write(sheet, left, top - CAPTION + 17, facts, size=9, room=grid.tile_width, color=DAY["faint"])


def _facts(explanation: Explanation, frame: int) -> list[str]:
    """Say which frame it is and how hot, or that nothing is known of it, and what a regression says there."""
    blind = explanation.is_vanishing[frame]
    facts = [f"frame {frame}", VANISHES if blind else f"heat {number(explanation.frame_scores[frame])}"]
    if not explanation.is_class:
        value = number(float(explanation.values[frame]))
        facts.append(with_unit(explanation, f"{explanation.target_name} {value}"))
    return facts


def _legend(sheet: Figure, grid: Grid, explanation: Explanation, color: Color) -> None:
    """Draw the colors and the raw heat that they stand for, beside the first row."""
    _, top = grid.corner(0)
    left = MARGIN + grid.columns * (grid.tile_width + GAP) + 6
    axes = axes_at(sheet, left, top, 11, grid.tile_height)
    ends = directions(explanation) if explanation.signed else None
    marks = color_marks(None if color.scale == "frame" else peak(explanation), ends, most="frame's\nmaximum")
    draw_ramp(axes, colormap_of(explanation, color.colormap), marks, inside=ends is not None)
    axes.tick_params(length=0, labelsize=9, colors=DAY["faint"], pad=4)
    axes.spines[:].set_visible(False)
    write(sheet, left, top - CAPTION + 17, "heat", size=9, color=DAY["faint"])
