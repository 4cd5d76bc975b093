"""The timeline: when the network looked, and what it said."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vidcam.explanation import Explanation
from vidcam.rendering.coloring import check_finite
from vidcam.rendering.curves import are_probabilities, importance, limits, name, output, runners_up, span
from vidcam.rendering.drawing import (
    DAY,
    DAY_ATTENTION,
    DAY_IMPORTANCE,
    DAY_OTHERS,
    DAY_TARGET,
    axes_at,
    clean,
    figure_of_pixels,
    number,
    save_figure,
    shorten,
)
from vidcam.rendering.heading import HEIGHT as HEAD
from vidcam.rendering.heading import write_heading

WIDTH, LEFT, PLOT = 900, 56, 620  # points
PANEL, TITLE, FOOT = 130, 26, 34
DPI = 150


def timeline(explanation: Explanation, path: str | Path, *, k: int = 5, others: int = 3, force: bool = False) -> None:
    """Write a picture of frame importance, class probabilities per window, and attention, over time.

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
    panels = 2 if explanation.attention is None else 3
    figure = figure_of_pixels(WIDTH, HEAD + panels * (TITLE + PANEL) + FOOT, paper=DAY["paper"])
    write_heading(figure, explanation, WIDTH)
    axes = [_panel(figure, explanation, i) for i in range(panels)]
    _draw_importance(axes[0], explanation, k)
    _draw_outputs(axes[1], explanation, others)
    if explanation.attention is not None:
        _draw_attention(axes[2], explanation, explanation.attention)
    axes[-1].set_xlabel("seconds", fontsize=10, color=DAY["faint"], loc="right")
    return figure


def _panel(figure: Figure, explanation: Explanation, index: int) -> Axes:
    axes = axes_at(figure, LEFT, HEAD + index * (TITLE + PANEL) + TITLE, PLOT, PANEL - 22)
    clean(axes, DAY, size=9.5)
    axes.grid(axis="y", color=DAY["grid"], linewidth=0.7)
    axes.set_xlim(*span(explanation))
    return axes


def _entitle(axes: Axes, title: str, color: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=color, pad=6, parse_math=False)


def _draw_importance(axes: Axes, explanation: Explanation, k: int) -> None:
    share = importance(explanation)
    peak = float(explanation.frame_scores.max())
    scale = f"share of the hottest frame's {number(peak)}" if peak > 0 else "no frame has any positive heat"
    _entitle(axes, f"frame importance, {scale}", DAY_IMPORTANCE)
    axes.fill_between(explanation.seconds, 0, share, color=DAY_IMPORTANCE, alpha=0.22, linewidth=0)
    axes.plot(explanation.seconds, share, color=DAY_IMPORTANCE, linewidth=1.6)
    axes.set(ylim=(0, 1.12), yticks=(0, 0.5, 1))
    if peak > 0:
        top = explanation.top_frames(k)
        axes.plot(
            explanation.seconds[top], share[top], "o", ms=5, mfc="white", mec=DAY_IMPORTANCE, mew=1.4, clip_on=False
        )
        _aside(axes, [(f"○ top {len(top)} frames", DAY_IMPORTANCE), (f"hottest: frame {top[0]}", DAY["faint"])])


def _draw_outputs(axes: Axes, explanation: Explanation, others: int) -> None:
    """Draw the extent of each window as a bar at the height of the target's value, and a line per class."""
    rivals = runners_up(explanation, others)
    shown = [explanation.target, *rivals]
    kind = "probability" if are_probabilities(explanation) else "output"
    n = len(explanation.windows)
    _entitle(axes, f"{kind} in {n} window{'s' * (n != 1)}, each bar the extent of one", DAY["ink"])
    low, high = limits(explanation, shown)
    for component, color in [*zip(rivals, DAY_OTHERS * len(rivals), strict=False)][::-1]:
        axes.plot(*output(explanation, component), color=color, linewidth=1.3)
    values = explanation.probabilities[:, explanation.target]
    axes.hlines(values, *explanation.windows.T, color=DAY_TARGET, alpha=0.3, linewidth=3.5 if n < 40 else 2)
    axes.plot(*output(explanation, explanation.target), color=DAY_TARGET, linewidth=2.2)
    axes.plot(explanation.windows.mean(axis=1), values, "o", color=DAY_TARGET, ms=4 if n < 40 else 0)
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    if (low, high) == (0, 1):
        axes.set_yticks((0, 0.5, 1))
    means = explanation.probabilities.mean(axis=0)
    tints = (DAY_TARGET, *DAY_OTHERS * len(rivals))
    _aside(axes, [(f"{number(means[c])} {name(explanation, c)}", t) for c, t in zip(shown, tints, strict=False)])


def _draw_attention(axes: Axes, explanation: Explanation, attention: np.ndarray) -> None:
    _entitle(axes, "the network's own attention weight", DAY_ATTENTION)
    axes.fill_between(explanation.seconds, 0, attention, color=DAY_ATTENTION, alpha=0.2, linewidth=0)
    axes.plot(explanation.seconds, attention, color=DAY_ATTENTION, linewidth=1.6)
    axes.set_ylim(0, max(float(attention.max()), 1e-12) * 1.12)


def _aside(axes: Axes, lines: list[tuple[str, str]]) -> None:
    """Write lines at the right of a panel, one below the other, each cut to fit."""
    for i, (text, color) in enumerate(lines):
        text = shorten(text, WIDTH - LEFT - PLOT - 28, size=10)
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "parse_math": False}
        axes.annotate(text, (1, 1), (12, -4 - 17 * i), va="top", fontsize=10, color=color, **place)
