"""What every report of a training has: its facts as JSON, and its pictures."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from vidcam.errors import printable
from vidcam.media import replacing

REPORT = "report.json"
MOST_OF_A_NAME = 40  # characters
MOST_NUMBERED = 25  # classes: in the cells of more, numbers cannot be read


@dataclass(frozen=True)
class RunReport(ABC):
    """The facts of a report are its fields."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self)

    @abstractmethod
    def pictures(self) -> Mapping[str, Callable[[Path], None]]:
        """Return what draws each of its pictures, by the file's name."""

    def write(self, folder: str | Path) -> list[Path]:
        """Write `report.json` and the pictures, in the place of older ones."""
        text = json.dumps(self.as_dict(), indent=1) + "\n"
        written = {REPORT: lambda path: path.write_text(text, encoding="utf-8"), **self.pictures()}
        for name, write in written.items():
            with replacing(Path(folder) / name, force=True) as part:
                write(part)
        return [Path(folder) / name for name in written]


def draw_confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], path: Path) -> None:
    """Draw the share of each class (row) that was taken for each class (column); the numbers are videos."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(3.5 + 0.35 * len(labels), 24)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the class", shrink=0.8)
    axes.set(xlabel="said", ylabel="true", title=f"{counts.trace()} of {counts.sum()} videos right")
    names = [_name(label) for label in labels]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    if len(labels) <= MOST_NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color)
    _save(figure, path)


def draw_roc(
    false_positive: Sequence[float], true_positive: Sequence[float], auc: float, label: str, path: Path
) -> None:
    """Draw the ROC curve of a class."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1)
    axes.plot(false_positive, true_positive, color="C0")
    axes.set(
        xlabel="false positive rate",
        ylabel="true positive rate",
        title=f"{_name(label)}: area {auc:.3f}",
        aspect="equal",
    )
    _save(figure, path)


def draw_losses(history: Sequence[Mapping[str, float]], terms: Sequence[str], best: int, path: Path) -> None:
    """Draw each term over the epochs, where there is one also of the validation, and mark the best epoch."""
    figure = Figure(figsize=(4 * len(terms), 3.2), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, term in zip(figure.subplots(1, len(terms), squeeze=False)[0], terms, strict=True):
        for name, color, label in ((term, "C0", "training"), (f"validation_{term}", "C1", "validation")):
            if name in history[0]:
                axes.plot(epochs, [row[name] for row in history], color=color, label=label, marker=".", markersize=4)
        axes.axvline(best, color="0.7", linestyle="--", linewidth=1, zorder=0)
        axes.set(xlabel="epoch", title=term)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
    _save(figure, path)


def _name(label: str) -> str:
    """Return a class's name as it can be shown, on one line."""
    name = printable(label)
    return name if len(name) <= MOST_OF_A_NAME else f"{name[: MOST_OF_A_NAME - 1]}…"


def _save(figure: Figure, path: Path) -> None:
    for text in figure.findobj(Text):
        text.set(parse_math=False)  # what stands between two `$` is no formula
    FigureCanvasAgg(figure).print_png(path)  # type: ignore[no-untyped-call]
