"""One look for all pictures: colors, type that fits, and figures without global state."""

from bisect import bisect_right
from math import floor, log10
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from vidcam.errors import OptionError, printable, unknown
from vidcam.media import replacing
from vidcam.types import Pixels

POINTS_PER_INCH = 72
DPI = 150  # of files
PICTURES = ("png", "jpg", "pdf", "svg")

# The strips beside a video are dark, the pictures for paper and screen are light; a thing keeps its hue.
_COLORS = {
    "paper": ("#15171c", "#ffffff"),
    "ink": ("#e8eaed", "#22252b"),
    "faint": ("#9aa0aa", "#6b7280"),
    "grid": ("#343842", "#dfe2e7"),
    "target": ("#ff9e4a", "#e0671b"),
    "importance": ("#58b2e8", "#2a84c2"),
    "loss": ("#86cf8a", "#3a8f4a"),
    "vanishing": ("#4a2f3c", "#f3dfe6"),  # behind the frames whose gradient vanishes
    "vanishing_ink": ("#d98aa6", "#a8476a"),  # of the type that says so
}
NIGHT = {thing: dark for thing, (dark, _) in _COLORS.items()}
DAY = {thing: light for thing, (_, light) in _COLORS.items()} | {"attention": "#7a55a8"}
DAY_OTHERS = ("#64748b", "#94a3b8", "#b8c2ce", "#d3d9e0")


def empty_figure(width: int, height: int, theme: dict[str, str]) -> Figure:
    """Return a figure in which a point is a pixel."""
    # The canvas takes the floor of inches times dots per inch; a hundredth of a pixel keeps it from losing one.
    inches = ((width + 0.01) / POINTS_PER_INCH, (height + 0.01) / POINTS_PER_INCH)
    return Figure(figsize=inches, dpi=POINTS_PER_INCH, facecolor=theme["paper"])


def pixels_of(figure: Figure) -> Pixels:
    """Draw a figure into an array, (H, W, 3)."""
    canvas: Any = FigureCanvasAgg(plain(figure))  # not typed
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place given in pixels (points) from the top left corner of the figure."""
    across, down = figure.get_size_inches() * POINTS_PER_INCH
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def write(
    figure: Figure, left: float, top: float, text: str, *, size: float, room: float | None = None, **style: Any
) -> None:
    """Write one line, cut to fit the room, at a place in pixels (points) from the top left corner."""
    text = printable(text) if room is None else shorten(text, room, size=size)
    across, down = figure.get_size_inches() * POINTS_PER_INCH
    style = dict[str, Any](va="top", ha="left") | style
    figure.text(left / across, 1 - top / down, text, fontsize=size, **style)


def plain(figure: Figure) -> Figure:
    """Let all words of a figure stand as they are written: `$` begins no mathematics."""
    for text in figure.findobj(Text):
        text.set(parse_math=False)
    return figure


def clean(axes: Axes, theme: dict[str, str], *, size: float) -> None:
    """Take away the box and the tick marks; make the rest light."""
    axes.set_facecolor(theme["paper"])
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set(color=theme["grid"], linewidth=max(0.8, size / 14))
    axes.tick_params(length=0, pad=size * 0.35, labelsize=size, colors=theme["faint"])
    axes.tick_params(axis="x", pad=size * 0.6)
    axes.set_axisbelow(True)


def text_width(text: str, size: float, *, weight: str = "normal") -> float:
    """Return how wide a line of text is, in points."""
    font = FontProperties(size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(printable(text), font, ismath=False)[0])


def shorten(text: str, width: float, *, size: float, weight: str = "normal") -> str:
    """Cut the middle out of a line so that it fits `width` points: `balancing a st…bject`."""
    text = printable(" ".join(text.split()))
    if text_width(text, size, weight=weight) <= width:
        return text
    cuts = [f"{text[: n - n // 2]}…{text[len(text) - n // 2 :]}" for n in range(len(text))]
    fitting = bisect_right(cuts, width, key=lambda cut: text_width(cut, size, weight=weight))
    return cuts[max(fitting - 1, 0)]


def number(value: float) -> str:
    """Write a number with three digits."""
    return f"{value:.3g}"


def round_step(least: float) -> float:
    """Return the first of 1, 2, 5, 10, 20 ... and their tenths that is not below `least`."""
    power = 10.0 ** floor(log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def check_format(path: Path) -> str:
    """Return the format that a picture's extension names; refuse others."""
    kind = path.suffix.lower().lstrip(".")
    if kind not in PICTURES:
        raise OptionError(unknown("picture format", kind, PICTURES))
    return kind


def save_figure(figure: Figure, path: str | Path, *, force: bool = False) -> None:
    """Write a figure in the format of the file's extension; nothing is left behind on an exception."""
    kind = check_format(Path(path))
    with replacing(path, force=force) as part:
        plain(figure).savefig(part, format=kind, dpi=DPI)
