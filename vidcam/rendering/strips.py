"""What stands beside the picture in a video: the bar below and the color scale at the right."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vidcam.explanation import Explanation
from vidcam.rendering.coloring import Pixels, colors
from vidcam.rendering.curves import are_probabilities, importance, limits, output, span
from vidcam.rendering.drawing import (
    NIGHT,
    NIGHT_IMPORTANCE,
    NIGHT_TARGET,
    axes_at,
    clean,
    figure_of_pixels,
    number,
    pixels_of,
    shorten,
    text_width,
    write,
)

CURSOR = (255, 255, 255)


def type_size(width: int) -> int:
    """Return the height of the type in pixels for a video of some width: readable at 96 pixels, modest at 4K."""
    return round(min(max(width / 58, 9), 40))


@dataclass(frozen=True)
class Bar:
    """A strip with curves over time, drawn once; only the cursor moves."""

    pixels: Pixels
    """(h, W, 3)."""
    left: int
    right: int
    """First and last column of pixels of the plot."""
    top: int
    bottom: int
    """First and last row of pixels of the plot."""
    start: float
    end: float
    """Seconds at the left and the right edge of the plot."""
    thickness: int
    """Width of the cursor in pixels."""

    def column(self, seconds: float) -> int:
        """Return the column of pixels at some time, the nearest one inside the plot."""
        share = (seconds - self.start) / (self.end - self.start)
        return round(self.left + min(max(share, 0.0), 1.0) * (self.right - self.left))

    def mark(self, canvas: Pixels, seconds: float) -> None:
        """Draw the cursor into a canvas, (h, W, 3), that already holds the strip."""
        left = max(self.column(seconds) - self.thickness // 2, 0)
        canvas[self.top : self.bottom + 1, left : left + self.thickness] = CURSOR


def draw_bar(explanation: Explanation, width: int) -> Bar:
    """Draw the target's probability and the frames' importance over time, `width` pixels wide."""
    size = type_size(width)
    captions = _captions(explanation, width, size)
    head = round(size * (0.6 + 1.45 * len({top for _, top, _, _ in captions})))
    plot, foot = round(size * 4.2), round(size * 2)
    height = head + plot + foot + (head + plot + foot) % 2
    figure = figure_of_pixels(width, height, paper=NIGHT["paper"])
    for text, top, side, color in captions:
        edge = width - 0.8 * size if side == "right" else 0.8 * size
        write(figure, edge, top, text, size=size, color=color, ha=side)
    low, high = limits(explanation, [explanation.target])
    gutter = max(text_width(number(v), size * 0.85) for v in (low, high))
    left = min(round(size * 1.3 + gutter), width // 2)
    right = max(round(width - size * 1.8), left + 2)
    _plot(axes_at(figure, left, head, right - left, plot), explanation, (low, high), size)
    start, end = span(explanation)
    return Bar(pixels_of(figure), left, right - 1, head, head + plot - 1, start, end, max(1, round(size / 9)))


def _captions(explanation: Explanation, width: int, size: int) -> list[tuple[str, float, str, str]]:
    """Return text, top, side and color of the captions: one line, or two where the video is narrow."""
    room = width - 1.6 * size
    kind = "probability" if are_probabilities(explanation) else "output"
    second = shorten("frame importance", room, size=size)
    beside = room - text_width(second, size) - 2 * size
    narrow = beside < 14 * size
    ending = f" {explanation.probability:.2f}" if narrow else f" · mean {kind} {number(explanation.probability)}"
    first = shorten(explanation.target_name, (room if narrow else beside) - text_width(ending, size), size=size)
    first = shorten(first + ending, room, size=size)
    top = 0.45 * size
    return [
        (first, top, "left", NIGHT_TARGET),
        (second, top + 1.45 * size if narrow else top, "left" if narrow else "right", NIGHT_IMPORTANCE),
    ]


def _plot(axes: Axes, explanation: Explanation, range_: tuple[float, float], size: int) -> None:
    """Draw importance as an area and the target's output as a line; the area always spans 0 to 1."""
    low, high = range_
    clean(axes, NIGHT, size=size * 0.85)
    share = low + importance(explanation) * (high - low)
    axes.fill_between(explanation.seconds, low, share, color=NIGHT_IMPORTANCE, alpha=0.45, linewidth=0)
    axes.plot(explanation.seconds, share, color=NIGHT_IMPORTANCE, linewidth=max(1, size / 12))
    axes.plot(*output(explanation, explanation.target), color=NIGHT_TARGET, linewidth=max(1.2, size / 7))
    axes.set(xlim=span(explanation), ylim=(low, high), yticks=(low, high), yticklabels=(number(low), number(high)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(1, round(axes.bbox.width / (6 * size))), min_n_ticks=1))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g} s")
    lowest, highest = axes.get_yticklabels()
    lowest.set_verticalalignment("bottom")
    highest.set_verticalalignment("top")
    for line in axes.lines:
        line.set_clip_on(False)


def draw_color_scale(height: int, size: int, colormap: str, peak: float | None) -> Pixels:
    """Draw the colors from no heat to the hottest cell, (height, w, 3), with the raw heat that they stand for.

    Without a `peak`, because every frame has its own, the hottest color is called `max`.
    """
    marks = {0.0: "0", 1.0: "max"} if peak is None else {0.0: "0", 0.5: number(peak / 2), 1.0: number(peak)}
    type_, pad, thickness, roomy = size * 0.85, round(0.7 * size), round(1.2 * size), height > 9 * size
    marks = marks if roomy else {1.0: marks[1.0]} if height < 4 * size else {0.0: "0", 1.0: marks[1.0]}
    width = 2 * pad + thickness + round(0.4 * size + max(text_width(mark, type_) for mark in marks.values()))
    width += width % 2
    figure = figure_of_pixels(width, height, paper=NIGHT["paper"])
    above = 2.2 * size if roomy else 0.7 * size
    axes = axes_at(figure, pad, above, thickness, max(height - above - 0.8 * size, 1))
    axes.imshow(colors(colormap, np.linspace(1, 0, 256))[:, None], aspect="auto", extent=(0, 1, 0, 1))
    axes.yaxis.tick_right()
    clean(axes, NIGHT, size=type_)
    axes.set(xticks=(), yticks=list(marks), yticklabels=list(marks.values()))
    axes.spines[:].set_visible(False)
    if roomy:
        write(figure, pad, 0.5 * size, "heat", size=type_, color=NIGHT["ink"])
    return pixels_of(figure)
