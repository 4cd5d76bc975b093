"""The timeline: when the network looked, and what it said."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vidcam.explaining.explanation import Explanation
from vidcam.rendering import plots
from vidcam.rendering.coloring import check_finite
from vidcam.rendering.curves import span
from vidcam.rendering.drawing import DAY, axes_at, clean, figure_of_pixels, save_figure
from vidcam.rendering.heading import HEIGHT as HEAD
from vidcam.rendering.heading import write_heading

LEFT, PLOT = 56, 620  # points
WIDTH = LEFT + PLOT + plots.ASIDE + 28
PANEL, TITLE, FOOT = 130, 26, 34
DPI = 150


def timeline(explanation: Explanation, path: str | Path, *, k: int = 5, others: int = 3, force: bool = False) -> None:
    """Write a picture of frame importance, class probabilities per window, and attention, over time.

    For a regression: frame importance, the target's value, the loss and the size of the gradient, at every frame.

    Args:
        explanation: What to draw.
        path: The picture to write; its extension chooses the format (.png, .pdf, .svg).
        k: How many of the hottest frames are marked.
        others: How many of the other classes with the highest mean probability are shown.
        force: Replace an existing file.

    Raises:
        VidcamError: heat that is not finite.
        MediaError: the file exists or cannot be written.
    """
    check_finite(explanation)
    save_figure(_draw(explanation, k, others), path, dpi=DPI, force=force)


def _draw(explanation: Explanation, k: int, others: int) -> Figure:
    drawings = _drawings(explanation, k, others)
    figure = figure_of_pixels(WIDTH, HEAD + len(drawings) * (TITLE + PANEL) + FOOT, paper=DAY["paper"])
    write_heading(figure, explanation, WIDTH)
    for i, draw in enumerate(drawings):
        draw(_panel(figure, explanation, i))
    figure.axes[-1].set_xlabel("seconds", fontsize=10, color=DAY["faint"], loc="right")
    return figure


def _drawings(explanation: Explanation, k: int, others: int) -> list[Callable[[Axes], None]]:
    """Return what to draw into each panel, from the top."""
    slope, beside, attention = explanation.gradient, explanation.loss, explanation.attention
    drawings: list[Callable[[Axes], None]] = [lambda axes: plots.draw_importance(axes, explanation, k)]
    if slope is None:
        drawings.append(lambda axes: plots.draw_classes(axes, explanation, others))
    else:
        drawings.append(lambda axes: plots.draw_target(axes, explanation))
        drawings.append(lambda axes: plots.draw_gradient(axes, explanation, slope))
    if beside is not None:
        drawings.insert(2, lambda axes: plots.draw_loss(axes, explanation, beside))
    if attention is not None:
        drawings.append(lambda axes: plots.draw_attention(axes, explanation, attention))
    return drawings


def _panel(figure: Figure, explanation: Explanation, index: int) -> Axes:
    axes = axes_at(figure, LEFT, HEAD + index * (TITLE + PANEL) + TITLE, PLOT, PANEL - 22)
    clean(axes, DAY, size=9.5)
    axes.grid(axis="y", color=DAY["grid"], linewidth=0.7)
    axes.set_xlim(*span(explanation))
    plots.shade_vanishing(axes, explanation)
    return axes
