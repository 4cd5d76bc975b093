"""What is written on pictures: the heading on top, and tags, small labels that lie on them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from vidcam.explaining.explanation import Explanation
from vidcam.rendering.coloring import colormap_of, colors, peak
from vidcam.rendering.curves import directions, gaps, in_words
from vidcam.rendering.drawing import DAY, NIGHT, axes_at, empty_figure, number, pixels_of, shorten, text_width, write
from vidcam.rendering.look import Color
from vidcam.types import Pixels

MARGIN, HEAD = 16, 56  # points


def write_heading(figure: Figure, explanation: Explanation, width: float, *, how: str = "") -> None:
    """Name the target with its probability, and below, smaller, what was explained and how."""
    ending = " · ".join([in_words(explanation), *gaps(explanation)])
    room = width - 2 * MARGIN
    name = shorten(explanation.target_name, room - text_width(ending, 12) - 10, size=18, weight="bold")
    write(figure, MARGIN, MARGIN, name, size=18, weight="bold", color=DAY["ink"])
    beside = MARGIN + text_width(name, 18, weight="bold") + 10
    write(figure, beside, MARGIN + 5, ending, size=12, color=DAY["faint"])
    write(figure, MARGIN, MARGIN + 29, _origin(explanation, how), size=10, room=room, color=DAY["faint"])


def _origin(explanation: Explanation, how: str) -> str:
    """Say what was explained, by which network and how, as far as it is known."""
    facts = explanation.provenance
    source = Path(str(facts["source"])).name if facts.get("source") else None
    parts = [source, *(facts.get(key) for key in ("model", "layer", "method")), how]
    return " · ".join(part for part in parts if isinstance(part, str) and part)


class Ramp(NamedTuple):
    """The colors of a colormap, in words."""

    colormap: str
    left: str
    """What the first color stands for."""
    right: str
    """What the last color stands for."""


def draw_tag(text: str, size: int, room: int, *, ramp: Ramp | None = None) -> Pixels:
    """Draw a tag, (h, w, 3), no wider than `room` pixels; where the ramp does not fit, it is left out."""
    if ramp is not None and _width(text, size, ramp) > room:
        ramp = None
    text = shorten(text, room - size, size=size)
    figure = empty_figure(min(round(_width(text, size, ramp)), room), round(1.9 * size), NIGHT)
    top, right = 0.4 * size, 0.5 * size + text_width(text, size)
    write(figure, 0.5 * size, top, text, size=size, color=NIGHT["ink"])
    if ramp is not None:
        left = right + size
        write(figure, left, top, ramp.left, size=size, color=NIGHT["faint"])
        left += text_width(ramp.left, size) + 0.5 * size
        axes = axes_at(figure, left, 0.55 * size, 5 * size, 0.8 * size)
        axes.imshow(colors(ramp.colormap, np.linspace(0, 1, 256))[None], aspect="auto")
        axes.set_axis_off()
        write(figure, left + 5.5 * size, top, ramp.right, size=size, color=NIGHT["faint"])
    return pixels_of(figure)


def _width(text: str, size: int, ramp: Ramp | None) -> float:
    words = size + text_width(text, size)
    return words if ramp is None else words + 7 * size + text_width(ramp.left, size) + text_width(ramp.right, size)


def heat_ramp(explanation: Explanation, color: Color) -> Ramp:
    """Say what the colors of heat stand for."""
    name = colormap_of(explanation, color.colormap)
    if explanation.signed:
        above, below = directions(explanation)
        return Ramp(name, below, above)
    return Ramp(name, "0", "frame's maximum" if color.scale == "frame" else number(peak(explanation)))


def stamp(canvas: Pixels, tag: Pixels) -> None:
    """Lay a tag into the top left corner of a canvas, (h, w, 3); what does not fit is cut."""
    height, width = (min(a, b) for a, b in zip(canvas.shape[:2], tag.shape[:2], strict=True))
    canvas[:height, :width] = tag[:height, :width]
