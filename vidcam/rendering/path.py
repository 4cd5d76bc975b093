"""The way: where the camera went, seen from above, as a picture that grows from frame to frame."""

from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb

from vidcam.errors import VidcamError
from vidcam.media import Frame
from vidcam.rendering.drawing import NIGHT, axes_at, empty_figure, number, pixels_of, round_step, text_width, write
from vidcam.types import Floats, Pixels

PREDICTED, TRUE = NIGHT["target"], NIGHT["importance"]
GRID_LINES = 5
"""About so many lines of the grid along the shorter side."""
LEADING = 1.45
"""From line to line of the legend, in heights of the type."""


class Way(NamedTuple):
    """Positions from above, from the first camera: right and forward; the predicted ones scaled to the true ones."""

    predicted: Floats
    """(F, 2)."""
    true: Floats | None
    """(F, 2) in metres."""
    scale: float
    """Metres in the network's unit of length, 1 if no truth is known."""


def way(poses: Floats, true_poses: Floats | None) -> Way:
    """Lay the predicted way on the true one by the scale that fits all of the drive best, `sum(t p) / sum(p p)`.

    Args:
        poses: (F, 4, 4) camera to world, in the network's unit.
        true_poses: (F, 4, 4) camera to world in metres.

    Raises:
        VidcamError: poses that are not finite.
    """
    predicted = _positions(poses)
    if true_poses is None:
        return Way(predicted[:, ::2], None, 1.0)
    true = _positions(true_poses)
    driven = float((predicted**2).sum())
    scale = float((true * predicted).sum()) / driven if driven > 0 else 1.0
    return Way(scale * predicted[:, ::2], true[:, ::2], scale)


def _positions(poses: Floats) -> Floats:
    """(F, 4, 4) -> (F, 3): seen from the first camera."""
    if not np.isfinite(poses).all():
        raise VidcamError("the poses are NaN or infinite at some frames; the course cannot be drawn")
    positions: Floats = (np.linalg.inv(poses[0]) @ poses)[:, :3, 3]
    return positions


@dataclass(frozen=True)
class Line:
    """A curve that is drawn as far as the frame that is shown."""

    points: Floats
    """(F, 2) column and row of every frame."""
    color: tuple[float, ...]
    """Red, green and blue, 0 to 255."""
    radius: float
    """Half of the width."""
    cover: npt.NDArray[np.float32]
    """(H, W) share of each pixel that is covered so far."""


@dataclass
class WayPanel:
    """The ways until now, on axes that stay the same; each frame adds a piece to what is drawn already."""

    paper: Pixels
    """(H, W, 3) what lies behind the lines."""
    lines: list[Line]
    """The true way, if known, and on top the predicted one."""
    canvas: Pixels
    """(H, W, 3) what is drawn so far."""
    _done: int = field(default=0, init=False)

    def draw(self, frame: Frame, out: Pixels) -> None:
        """Draw the lines until this frame, and a dot where the camera is now."""
        if frame.index < self._done:
            self._done = 0
            self.canvas[:] = self.paper
            for line in self.lines:
                line.cover[:] = 0
        for index in range(self._done, frame.index):
            for line in self.lines:
                self._mend(stroke(line.cover, line.points[index], line.points[index + 1], line.radius))
        self._done = frame.index
        out[:] = self.canvas
        for line in self.lines:
            _dot(out, line, line.points[frame.index])

    def _mend(self, box: tuple[slice, slice]) -> None:
        """Paint a part of the canvas again."""
        self.canvas[box] = self.paper[box]
        for line in self.lines:
            paint(self.canvas[box], line.cover[box], line.color)


def _dot(out: Pixels, line: Line, place: Floats) -> None:
    """Paint a dot with a white rim."""
    cover = np.zeros(out.shape[:2], np.float32)
    for color, radius in (((255.0,) * 3, 4 * line.radius), (line.color, 2.7 * line.radius)):
        box = stroke(cover, place, place, radius)
        paint(out[box], cover[box], color)
        cover[box] = 0


def paint(pixels: Pixels, cover: npt.NDArray[np.float32], color: tuple[float, ...]) -> None:
    """Lay a color on pixels, (h, w, 3), as far as they are covered, (h, w)."""
    pixels[:] = np.rint(pixels + cover[..., None] * (np.array(color, np.float32) - pixels))


def stroke(cover: npt.NDArray[np.float32], start: Floats, end: Floats, radius: float) -> tuple[slice, slice]:
    """Cover the pixels, (H, W), near the line from start to end (column, row); return the box that may have changed."""
    corners = np.stack([start, end])
    (left, top), (right, bottom) = corners.min(axis=0) - radius - 1, corners.max(axis=0) + radius + 2
    box = slice(max(int(top), 0), max(int(bottom), 0)), slice(max(int(left), 0), max(int(right), 0))
    rows, columns = (np.arange(side.start, min(side.stop, n)) for side, n in zip(box, cover.shape, strict=True))
    way = end - start
    x, y = columns[None, :] - start[0], rows[:, None] - start[1]
    along = ((x * way[0] + y * way[1]) / max(float(way @ way), 1e-12)).clip(0, 1)
    distance = np.hypot(x - along * way[0], y - along * way[1])
    np.maximum(cover[box], (radius + 0.5 - distance).clip(0, 1), out=cover[box])
    return box


@dataclass(frozen=True)
class GroundView:
    """Where positions lie in a picture; the axes are equal."""

    start: Floats
    end: Floats
    """(2,) top left and bottom right corner of the plot, in pixels from the left and the top of the picture."""
    per_unit: float
    """Pixels."""
    center: Floats
    """(2,) the position in the middle of the plot."""

    def pixels(self, points: Floats) -> Floats:
        """(F, 2) right and forward -> (F, 2) column and row, counted from the middle of the top left pixel."""
        placed: Floats = (self.start + self.end) / 2 - 0.5 + (points - self.center) * self.per_unit * np.array([1, -1])
        return placed

    @property
    def step(self) -> float:
        """Distance between lines of the grid: 1, 2 or 5 times a power of ten."""
        return round_step(float((self.end - self.start).min()) / self.per_unit / GRID_LINES)


def way_panel(way: Way, *, width: int, height: int, size: int) -> WayPanel:
    """Draw what stays the same, with type of `size` pixels, and place both ways in it with equal axes.

    The whole drive has room from the start. Forward of the first camera is up.
    """
    known = [(way.predicted, PREDICTED)] if way.true is None else [(way.true, TRUE), (way.predicted, PREDICTED)]
    view = _view(np.concatenate([points for points, _ in known]), _legend(way, 0), width, height, size)
    radius = max(1.0, size / 12)
    lines = [
        Line(view.pixels(points), tuple(255 * part for part in to_rgb(color)), radius, np.zeros((height, width), "f4"))
        for points, color in known
    ]
    paper = _paper(view, _legend(way, view.step), width, height, size)
    return WayPanel(paper, lines, paper.copy())


def _legend(way: Way, step: float) -> list[tuple[str, str]]:
    """Return text and color of what stands beside the plot."""
    faint = NIGHT["faint"]
    if way.true is None:
        lines = [("predicted", PREDICTED), ("in the network's unit", faint), (f"grid {number(step)}", faint)]
    else:
        fit = [(f"1 unit = {number(way.scale)} m, one fit", faint), ("over the whole drive", faint)]
        lines = [("true", TRUE), ("predicted", PREDICTED), *fit, (f"grid {number(step)} m", faint)]
    return [("course from above", NIGHT["ink"]), *lines]


def _view(points: Floats, legend: list[tuple[str, str]], width: int, height: int, size: int) -> GroundView:
    """Find room beside the legend, or below it in a picture that is not wide, and the scale that fills it."""
    beside = 1.6 * size + max(text_width(text, size) for text, _ in legend)
    below = LEADING * size * len(legend) + size
    start = np.array((beside, size) if width - beside > height - below else (size, below))
    end = np.maximum((width - size, height - size), start + 1)
    low, high = points.min(axis=0), points.max(axis=0)
    across, forward = np.maximum(high - low, 1e-3 * max(float((high - low).max()), 1e-6))
    wide, tall = (end - start).tolist()
    return GroundView(start, end, min(wide / across, tall / forward), (low + high) / 2)


def _paper(view: GroundView, legend: list[tuple[str, str]], width: int, height: int, size: int) -> Pixels:
    """Draw the grid, whose lines go through the first camera, and the legend."""
    figure = empty_figure(width, height, NIGHT)
    axes = axes_at(figure, *view.start, *(view.end - view.start))
    axes.set_axis_off()
    half = (view.end - view.start) / view.per_unit / 2
    (west, south), (east, north) = view.center - half, view.center + half
    axes.set(xlim=(west, east), ylim=(south, north))
    style: dict[str, Any] = {"color": NIGHT["grid"], "linewidth": max(1, size / 20)}
    axes.vlines(_multiples(view.step, west, east), south, north, **style)
    axes.hlines(_multiples(view.step, south, north), west, east, **style)
    for i, (text, color) in enumerate(legend):
        top, room = (0.45 + LEADING * i) * size, width - 1.6 * size
        write(figure, 0.8 * size, top, text, size=size, room=room, color=color)
    return pixels_of(figure)


def _multiples(step: float, low: float, high: float) -> Floats:
    return np.arange(ceil(low / step), floor(high / step) + 1) * step
