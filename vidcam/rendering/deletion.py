"""The picture of a deletion report: change of the output against the share of the picture that is erased."""

from pathlib import Path

from matplotlib.figure import Figure

from vidcam.errors import OptionError, printable, unknown
from vidcam.metrics.deletion_report import DeletionReport
from vidcam.rendering.drawing import DAY, clean, save_figure

COLORS = {"hottest": DAY["target"], "coldest": DAY["importance"], "random": DAY["ink"], "blocks": DAY["attention"]}
DASHES = {"even": (4, 2), "center": (1, 1.5), "fixed": (6, 2, 1, 2)}


def deletion_plot(report: DeletionReport, path: str | Path, *, measure: str | None = None, force: bool = False) -> None:
    """Draw one measure of a report, the first by default: a line per order, bands of 95 % for the colored ones.

    Raises:
        OptionError: no such measure.
        MediaError: the file exists or cannot be written.
    """
    measure = report.measures[0] if measure is None else measure
    if measure not in report.measures:
        raise OptionError(unknown("measure", measure, report.measures))
    save_figure(_draw(report, measure), path, force=force)


def _draw(report: DeletionReport, measure: str) -> Figure:
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
    axes.set_title(printable(title), loc="left", fontsize=10.5, color=DAY["ink"], parse_math=False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False, fontsize=10)
    return figure
