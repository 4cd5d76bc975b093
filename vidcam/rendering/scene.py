"""A scene: what one rendered frame consists of."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vidcam.explaining.explanation import Explanation
from vidcam.media import Frame
from vidcam.rendering.coloring import Overlay
from vidcam.rendering.drawing import NIGHT
from vidcam.rendering.strips import Bar
from vidcam.rendering.tag import draw_tag, stamp
from vidcam.rendering.traits import VANISHES
from vidcam.types import Pixels


class Panel(Protocol):
    """A picture of the source's size that changes from frame to frame."""

    def draw(self, frame: Frame, out: Pixels) -> None:
        """Fill `out`, (H, W, 3)."""


class FramePanel:
    """The source's own frame."""

    def draw(self, frame: Frame, out: Pixels) -> None:
        """Copy the frame."""
        out[:] = frame.pixels


@dataclass(frozen=True)
class HeatPanel:
    """The frame with its heat, and with a mark where the gradient vanishes."""

    overlay: Overlay
    vanishing: npt.NDArray[np.bool_]
    """(F,)."""
    mark: Pixels
    """The tag of a frame whose gradient vanishes."""
    title: Pixels | None = None
    """The tag of all other frames."""

    def draw(self, frame: Frame, out: Pixels) -> None:
        """Lay the heat on the frame, and the tag on top."""
        self.overlay.draw(frame.index, frame.pixels, out=out)
        tag = self.mark if self.vanishing[frame.index] else self.title
        if tag is not None:
            stamp(out, tag)


def heat_panel(explanation: Explanation, layer: Overlay, size: int) -> HeatPanel:
    """Prepare a panel without a title, whose mark has type of `size` pixels."""
    return HeatPanel(layer, explanation.is_vanishing, draw_tag(VANISHES, size, explanation.width))


@dataclass(frozen=True)
class Scene:
    """Panels and strips in their places; all but the panels and the cursor is drawn already."""

    panels: tuple[Panel, ...]
    columns: int
    """Panels in a row."""
    blank: Pixels
    """(H', W', 3) the strips in their places and room for the panels."""
    bar: Bar | None

    def draw(self, frame: Frame) -> Pixels:
        """Return the rendered frame, (H', W', 3), in memory of its own."""
        height, width, _ = frame.pixels.shape
        canvas = self.blank.copy()
        for place, panel in enumerate(self.panels):
            row, column = divmod(place, self.columns)
            left, top = column * width, row * height
            panel.draw(frame, canvas[top : top + height, left : left + width])
        if self.bar is not None:
            self.bar.mark(canvas[len(canvas) - len(self.bar.pixels) :], frame.seconds)
        return canvas


def room(explanation: Explanation, panels: int, columns: int) -> Pixels:
    """Return a canvas for so many panels of the source's size, (H', W', 3)."""
    rows = -(-panels // columns)
    paper = tuple(bytes.fromhex(NIGHT["paper"][1:]))
    return np.full((rows * explanation.height, columns * explanation.width, 3), paper, np.uint8)
