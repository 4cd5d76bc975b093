"""What stands beside the picture in a video: the bar below and the color scale at the right."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vidcam.explaining.explanation import Explanation
from vidcam.media.timeline import moment
from vidcam.rendering.coloring import colors
from vidcam.rendering.curves import VANISHES, importance, in_words, limits, mean, output, share, span, vanishing_spans
from vidcam.rendering.drawing import NIGHT, axes_at, clean, empty_figure, number, pixels_of, shorten, text_width, write
from vidcam.types import Pixels

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


def draw_bar(explanation: Explanation, width: int, *, size: int | None = None) -> Bar:
    """Draw over time what the network said and how much the frames matter, `width` pixels wide, type `size` high.

    For a classification that is the target's probability and the frames' importance; for a regression the target's
    value, the loss, and the size of the gradient, with the frames marked at which it vanishes.
    """
    size = size or type_size(width)
    captions = _captions(explanation, width, size)
    head = round(size * (0.6 + 1.45 * len({caption.top for caption in captions})))
    plot, foot = round(size * 4.2), round(size * 2)
    height = head + plot + foot + (head + plot + foot) % 2
    figure = empty_figure(width, height, NIGHT)
    for caption in captions:
        write(figure, caption.edge, caption.top, caption.text, size=size, color=caption.color, ha=caption.side)
    low, high = limits(explanation)
    gutter = max(text_width(number(v), size * 0.85) for v in (low, high))
    left = min(round(size * 1.3 + gutter), width // 2)
    right = max(round(width - size * 1.8), left + 2)
    _plot(axes_at(figure, left, head, right - left, plot), explanation, (low, high), size)
    start, end = span(explanation)
    return Bar(pixels_of(figure), left, right - 1, head, head + plot - 1, start, end, max(1, round(size / 9)))


class _Caption(NamedTuple):
    text: str
    top: float
    side: str
    edge: float
    """Of the text's own side, from the left."""
    color: str


def _captions(explanation: Explanation, width: int, size: int) -> list[_Caption]:
    """Lay out the captions: the target at the left and all others at the right; below each other if narrow."""
    room, left, top = width - 1.6 * size, 0.8 * size, 0.45 * size
    others = [(shorten(text, room, size=size), color) for text, color in _asides(explanation)]
    widths = [text_width(text, size) + 2 * size for text, _ in others]
    beside = room - sum(widths)
    narrow = beside < 14 * size
    ending = _ending(explanation, short=narrow)
    first = shorten(explanation.target_name, (room if narrow else beside) - text_width(ending, size), size=size)
    captions = [_Caption(shorten(first + ending, room, size=size), top, "left", left, NIGHT["target"])]
    for i, (text, color) in enumerate(others):
        if narrow:
            captions.append(_Caption(text, top + 1.45 * size * (i + 1), "left", left, color))
        else:
            captions.append(_Caption(text, top, "right", width - left - sum(widths[i + 1 :]), color))
    return captions


def _ending(explanation: Explanation, *, short: bool) -> str:
    if short:
        return f" {mean(explanation):.2f}" if explanation.is_class else f" {number(mean(explanation))}"
    return f" · {in_words(explanation)}"


def _asides(explanation: Explanation) -> list[tuple[str, str]]:
    """Return text and color of what is said of all but the target."""
    area = "frame importance" if explanation.gradient is None else "size of the gradient"
    beside, spans = explanation.loss, vanishing_spans(explanation)
    return [
        *([] if beside is None else [(f"loss {number(beside.min())} to {number(beside.max())}", NIGHT["loss"])]),
        (area, NIGHT["importance"]),
        *([(VANISHES, NIGHT["vanishing_ink"])] if spans else []),
    ]


def _plot(axes: Axes, explanation: Explanation, range_: tuple[float, float], size: int) -> None:
    """Draw importance, or the gradient's size, as an area that spans 0 to 1, and the target's output as a line."""
    low, high = range_
    clean(axes, NIGHT, size=size * 0.85)
    for start, end in vanishing_spans(explanation):
        axes.axvspan(start, end, color=NIGHT["vanishing"], linewidth=0)
    slope, beside = explanation.gradient, explanation.loss
    area = low + (importance(explanation) if slope is None else share(slope)) * (high - low)
    axes.fill_between(explanation.seconds, low, area, color=NIGHT["importance"], alpha=0.45, linewidth=0)
    axes.plot(explanation.seconds, area, color=NIGHT["importance"], linewidth=max(1, size / 12))
    if beside is not None:
        across = low + (beside - beside.min()) / (np.ptp(beside) or 1) * (high - low)
        axes.plot(explanation.seconds, across, color=NIGHT["loss"], linewidth=max(1, size / 10))
    axes.plot(*output(explanation), color=NIGHT["target"], linewidth=max(1.2, size / 7))
    axes.set(xlim=span(explanation), ylim=(low, high), yticks=(low, high), yticklabels=(number(low), number(high)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(1, round(axes.bbox.width / (6 * size))), min_n_ticks=1))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{moment(seconds)} s")
    keep_inside(axes)
    for line in axes.lines:
        line.set_clip_on(False)


def color_marks(peak: float | None, ends: tuple[str, str] | None, *, most: str = "max") -> dict[float, str]:
    """Return what stands beside the colors, by its height from 0 to 1.

    Args:
        peak: the heat of the hottest cell; None if every frame has its own, then called `most`.
        ends: what cells above and below zero do to the target, where heat has a sign.
        most: the word for a frame's own maximum.
    """
    if ends is None:
        return {0.0: "0", 1.0: most} if peak is None else {0.0: "0", 0.5: number(peak / 2), 1.0: number(peak)}
    above, below = ends if peak is None else (f"{ends[0]}\n{number(peak)}", f"-{number(peak)}\n{ends[1]}")
    return {0.0: below, 0.5: "0", 1.0: above}


def draw_color_scale(
    height: int, size: int, colormap: str, peak: float | None, *, ends: tuple[str, str] | None = None
) -> Pixels:
    """Draw the colors from no heat to the hottest cell, (height, w, 3), with the raw heat that they stand for.

    Without a `peak`, because every frame has its own, the hottest color is called `max`. Where heat has a sign, `ends`
    are what cells above and below zero do to the target.
    """
    type_, pad, thickness, roomy = size * 0.85, round(0.7 * size), round(1.2 * size), height > 9 * size
    marks = color_marks(peak if roomy or ends is None else None, ends)
    marks = marks if roomy else {1.0: marks[1.0]} if height < 4 * size else {0.0: marks[0.0], 1.0: marks[1.0]}
    lines = [line for mark in marks.values() for line in mark.split("\n")]
    width = 2 * pad + thickness + round(0.4 * size + max(text_width(line, type_) for line in lines))
    width += width % 2
    figure = empty_figure(width, height, NIGHT)
    above = 2.2 * size if roomy else 0.7 * size
    axes = axes_at(figure, pad, above, thickness, max(height - above - 0.8 * size, 1))
    draw_ramp(axes, colormap, marks, inside=ends is not None)
    clean(axes, NIGHT, size=type_)
    axes.spines[:].set_visible(False)
    if roomy:
        write(figure, pad, 0.5 * size, "heat", size=type_, color=NIGHT["ink"])
    return pixels_of(figure)


def draw_ramp(axes: Axes, colormap: str, marks: dict[float, str], *, inside: bool) -> None:
    """Fill axes with the colors of a colormap, the last one at the top, and marks at their right.

    If `inside`, the lowest and the highest mark do not reach beyond the colors.
    """
    axes.imshow(colors(colormap, np.linspace(1, 0, 256))[:, None], aspect="auto", extent=(0, 1, 0, 1))
    axes.yaxis.tick_right()
    axes.set(xticks=(), yticks=list(marks), yticklabels=list(marks.values()))
    if inside:
        keep_inside(axes)


def keep_inside(axes: Axes) -> None:
    """Move the lowest and the highest mark of the vertical axis between the ends of the axis."""
    labels = axes.get_yticklabels()
    labels[0].set_verticalalignment("bottom")
    labels[-1].set_verticalalignment("top")
