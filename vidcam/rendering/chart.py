"""Charts: the timeline, when the network looked and what it said, and the curves of a deletion report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vidcam.errors import OptionError, printable, unknown
from vidcam.explaining.explanation import Explanation
from vidcam.metrics.deletion_report import DeletionReport
from vidcam.rendering.coloring import check_finite
from vidcam.rendering.curves import gaps, importance, kind, limits, output, runners_up, span, vanishing_spans
from vidcam.rendering.drawing import DAY, DAY_OTHERS, axes_at, clean, empty_figure, number, save_figure, shorten
from vidcam.rendering.labels import HEAD, write_heading
from vidcam.types import Floats

LEFT, PLOT, ASIDE = 56, 620, 196  # points
WIDTH = LEFT + PLOT + ASIDE + 28
PANEL, TITLE, FOOT = 130, 26, 34
COLORS = {"hottest": DAY["target"], "coldest": DAY["importance"], "random": DAY["ink"], "blocks": DAY["attention"]}
DASHES = {"even": (4, 2), "center": (1, 1.5), "fixed": (6, 2, 1, 2)}


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
    save_figure(_draw(explanation, k, others), path, force=force)


def _draw(explanation: Explanation, k: int, others: int) -> Figure:
    drawings = _drawings(explanation, k, others)
    figure = empty_figure(WIDTH, HEAD + len(drawings) * (TITLE + PANEL) + FOOT, DAY)
    write_heading(figure, explanation, WIDTH)
    for i, draw in enumerate(drawings):
        draw(_panel(figure, explanation, i))
    figure.axes[-1].set_xlabel("seconds", fontsize=10, color=DAY["faint"], loc="right")
    return figure


def _drawings(explanation: Explanation, k: int, others: int) -> list[Callable[[Axes], None]]:
    """Return what to draw into each panel, from the top."""
    slope, beside, attention = explanation.gradient, explanation.loss, explanation.attention
    drawings: list[Callable[[Axes], None]] = [lambda axes: _draw_importance(axes, explanation, k)]
    if explanation.is_class:
        drawings.append(lambda axes: _draw_classes(axes, explanation, others))
    else:
        drawings.append(lambda axes: _draw_target(axes, explanation))
    if slope is not None:
        drawings.append(lambda axes: _draw_gradient(axes, explanation, slope))
    if beside is not None:
        drawings.insert(2, lambda axes: _draw_loss(axes, explanation, beside))
    if attention is not None:
        drawings.append(lambda axes: _draw_attention(axes, explanation, attention))
    return drawings


def _panel(figure: Figure, explanation: Explanation, index: int) -> Axes:
    axes = axes_at(figure, LEFT, HEAD + index * (TITLE + PANEL) + TITLE, PLOT, PANEL - 22)
    clean(axes, DAY, size=9.5)
    axes.grid(axis="y", color=DAY["grid"], linewidth=0.7)
    axes.set_xlim(*span(explanation))
    for start, end in vanishing_spans(explanation):
        axes.axvspan(start, end, color=DAY["vanishing"], linewidth=0, zorder=0)
    return axes


def _entitle(axes: Axes, title: str, color: str) -> None:
    axes.set_title(printable(title), loc="left", fontsize=10.5, color=color, pad=6)


def _draw_importance(axes: Axes, explanation: Explanation, k: int) -> None:
    """Draw each frame's heat, and mark the k hottest frames."""
    share = importance(explanation)
    peak = float(explanation.frame_scores.max())
    scale = f"share of the hottest frame's {number(peak)}" if peak > 0 else "no frame has any positive heat"
    _entitle(axes, f"frame importance, {scale}", DAY["importance"])
    axes.fill_between(explanation.seconds, 0, share, color=DAY["importance"], alpha=0.22, linewidth=0)
    axes.plot(explanation.seconds, share, color=DAY["importance"], linewidth=1.6)
    axes.set(ylim=(0, 1.12), yticks=(0, 0.5, 1))
    if peak > 0:
        top = explanation.top_frames(k)
        axes.plot(
            explanation.seconds[top], share[top], "o", ms=5, mfc="white", mec=DAY["importance"], mew=1.4, clip_on=False
        )
        _aside(axes, [(f"○ top {len(top)} frames", DAY["importance"]), (f"hottest: frame {top[0]}", DAY["faint"])])


def _draw_classes(axes: Axes, explanation: Explanation, others: int) -> None:
    """Draw the extent of each window as a bar at the height of the target's value, and a line per class."""
    rivals = runners_up(explanation, others)
    tints = dict(zip((explanation.target, *rivals), (DAY["target"], *DAY_OTHERS * len(rivals)), strict=False))
    n = len(explanation.windows)
    _entitle(axes, f"{kind(explanation)} in {n} window{'s' * (n != 1)}, each bar the extent of one", DAY["ink"])
    low, high = limits(explanation, list(tints))
    for rival in reversed(rivals):
        axes.plot(*output(explanation, rival), color=tints[rival], linewidth=1.3)
    values = explanation.probabilities[:, explanation.target]
    axes.hlines(values, *explanation.windows.T, color=DAY["target"], alpha=0.3, linewidth=3.5 if n < 40 else 2)
    axes.plot(*output(explanation), color=DAY["target"], linewidth=2.2)
    axes.plot(explanation.windows.mean(axis=1), values, "o", color=DAY["target"], ms=4 if n < 40 else 0)
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    if (low, high) == (0, 1):
        axes.set_yticks((0, 0.5, 1))
    means = explanation.probabilities.mean(axis=0)
    _aside(axes, [(f"{number(means[column])} {explanation.name(column)}", tint) for column, tint in tints.items()])


def _draw_attention(axes: Axes, explanation: Explanation, attention: Floats) -> None:
    _entitle(axes, "the network's own attention weight", DAY["attention"])
    axes.fill_between(explanation.seconds, 0, attention, color=DAY["attention"], alpha=0.2, linewidth=0)
    axes.plot(explanation.seconds, attention, color=DAY["attention"], linewidth=1.6)
    axes.set_ylim(0, max(float(attention.max()), 1e-12) * 1.12)


def _draw_target(axes: Axes, explanation: Explanation) -> None:
    """Draw the value of a regression at every frame, in its own unit."""
    title = ", ".join(filter(None, [explanation.target_name, explanation.unit]))
    _draw_values(axes, explanation, explanation.values, f"{title}, at every frame", DAY["target"])
    axes.set_ylim(*limits(explanation))


def _draw_loss(axes: Axes, explanation: Explanation, loss: Floats) -> None:
    """Draw the loss at every frame, from zero on if it has no negative values."""
    _draw_values(axes, explanation, loss, "loss, at every frame", DAY["loss"])
    if loss.min() >= 0:
        axes.set_ylim(0, max(float(loss.max()), 1e-12) * 1.12)


def _draw_values(axes: Axes, explanation: Explanation, values: Floats, title: str, color: str) -> None:
    faint = DAY["faint"]
    _entitle(axes, title, color)
    axes.plot(explanation.seconds, values, color=color, linewidth=1.8)
    if values.min() < 0 < values.max():
        axes.axhline(0, color=faint, linewidth=0.8, linestyle=(0, (4, 3)))
    said = (("mean", values.mean(), color), ("lowest", values.min(), faint), ("highest", values.max(), faint))
    _aside(axes, [(f"{word} {number(float(value))}", ink) for word, value, ink in said])


def _draw_gradient(axes: Axes, explanation: Explanation, size: Floats) -> None:
    """Draw the size of the target's gradient on a logarithmic axis, and say how often it vanishes."""
    _entitle(axes, f"size of the gradient of {explanation.target_name} at the layer, logarithmic", DAY["importance"])
    positive = size[size > 0]
    floor, top = (float(positive.min()) / 2, float(positive.max()) * 2) if positive.size else (0.1, 1.0)
    axes.set_yscale("log")
    axes.set_ylim(floor, top)
    axes.plot(explanation.seconds, size.clip(min=floor), color=DAY["importance"], linewidth=1.6)
    axes.minorticks_off()
    vanished = [(text, DAY["vanishing_ink"]) for text in gaps(explanation)]
    _aside(axes, [(f"mean {number(float(size.mean()))}", DAY["importance"]), *vanished])


def _aside(axes: Axes, lines: list[tuple[str, str]]) -> None:
    """Write lines at the right of a panel, one below the other, each cut to fit."""
    for i, (text, color) in enumerate(lines):
        text = shorten(text, ASIDE, size=10)
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(text, (1, 1), (12, -4 - 17 * i), va="top", fontsize=10, color=color, **place)


def deletion_plot(report: DeletionReport, path: str | Path, *, measure: str | None = None, force: bool = False) -> None:
    """Draw one measure of a report, the first by default: a line per order, bands of 95 % for the colored ones.

    Raises:
        OptionError: no such measure.
        MediaError: the file exists or cannot be written.
    """
    measure = report.measures[0] if measure is None else measure
    if measure not in report.measures:
        raise OptionError(unknown("measure", measure, report.measures))
    save_figure(_draw_curves(report, measure), path, force=force)


def _draw_curves(report: DeletionReport, measure: str) -> Figure:
    figure = Figure(figsize=(6.4, 4), layout="constrained", facecolor=DAY["paper"])
    axes = figure.subplots()
    clean(axes, DAY, size=10)
    axes.grid(axis="y", color=DAY["grid"], linewidth=0.7)
    shares = [100 * n / (report.cells[0] * report.cells[1]) for n in report.erased]
    for order in (*DASHES, *reversed(COLORS)):
        mean, low, high = report.mean(measure, order)
        color = COLORS.get(order, DAY["faint"])
        line = axes.plot(shares, mean, color=color, linewidth=2 if order in COLORS else 1.2, label=order)[0]
        if order in DASHES:
            line.set_dashes(DASHES[order])
        else:
            line.set_marker("o")
            axes.fill_between(shares, low, high, color=color, alpha=0.13, linewidth=0)
    axes.set_xlabel("% of the picture erased", color=DAY["faint"])
    title = f"change of {measure} · {report.target} · {len(report.starts)} windows"
    axes.set_title(printable(title), loc="left", fontsize=10.5, color=DAY["ink"])
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False, fontsize=10)
    return figure
