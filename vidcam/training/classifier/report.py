"""Report: how well a network did on a split, per clip and per video."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torchmetrics.functional.classification import binary_auroc, binary_roc, multiclass_confusion_matrix

from vidcam.data.manifest import Row
from vidcam.media import replacing
from vidcam.training.classifier.predictions import Predictions
from vidcam.training.plots import draw_confusion, draw_roc

TOP = 5


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers."""

    count: int
    top1: float
    top5: float | None
    """None where there are not more than five classes."""
    loss: float
    """Mean cross entropy."""


@dataclass(frozen=True)
class Report:
    """What a network said of a split; a video's probabilities are the mean of its clips'."""

    model: str
    checkpoint: str
    manifest: str
    split: str
    split_digest: str
    trained_on: bool
    """Whether the network has learned from this very split."""
    labels: tuple[str, ...]
    clips: int
    """Per video, spread evenly."""
    per_clip: Accuracy
    per_video: Accuracy
    per_class: Mapping[str, float | None]
    """Share of each class's videos that were recognized; None where the split has none."""
    confusion: tuple[tuple[int, ...], ...]
    """Videos of class i (row) that were taken for class j (column)."""
    auc: float | None = None
    """Area under the ROC curve of the second class, per video; only for two classes."""
    roc: Mapping[str, tuple[float, ...]] | None = None
    """"false_positive" and "true_positive" rates of its thresholds."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Videos of the split that could not be read, with the reason."""
    skipped_in_training: Mapping[str, str] = field(default_factory=dict)
    best: Mapping[str, Any] = field(default_factory=dict)
    """The epoch whose weights were kept, and what they reached on the validation split."""

    @property
    def mean_class_accuracy(self) -> float:
        """Mean of the classes' accuracies, which large classes do not dominate."""
        found = [share for share in self.per_class.values() if share is not None]
        return sum(found) / len(found)

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self) | {"mean_class_accuracy": self.mean_class_accuracy}

    def write(self, folder: str | Path) -> list[Path]:
        """Write `report.json`, `confusion.png` and, for two classes, `roc.png`, in the place of older ones."""
        folder = Path(folder)
        paths = [folder / "report.json", folder / "confusion.png"]
        with replacing(paths[0], force=True) as part:
            part.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")
        with replacing(paths[1], force=True) as part:
            draw_confusion(self.confusion, self.labels, part)
        if self.roc is not None and self.auc is not None:
            paths.append(folder / "roc.png")
            with replacing(paths[2], force=True) as part:
                draw_roc(self.roc["false_positive"], self.roc["true_positive"], self.auc, self.labels[1], part)
        return paths


def make_report(said: Predictions, rows: Sequence[Row], labels: Sequence[str], **facts: Any) -> Report:
    """Count.

    Args:
        said: of a split's clips.
        rows: the split's.
        labels: the classes.
        facts: the other fields of `Report`.
    """
    videos = said.per_video
    best = (-videos.probabilities).argsort(axis=1, kind="stable")[:, 0]
    matrix = multiclass_confusion_matrix(torch.from_numpy(best), torch.from_numpy(videos.truth), len(labels))
    counts = matrix.sum(dim=1).tolist()
    shares = [hit / n if n else None for hit, n in zip(matrix.diagonal().tolist(), counts, strict=True)]
    auc, roc = _curve(videos) if len(labels) == 2 else (None, None)
    return Report(
        labels=tuple(labels),
        per_clip=_accuracy(said),
        per_video=_accuracy(videos),
        per_class=dict(zip(labels, shares, strict=True)),
        confusion=tuple(tuple(map(int, line)) for line in matrix.tolist()),
        auc=auc,
        roc=roc,
        skipped={str(rows[i].path): why for i, why in said.broken.items()},
        **facts,
    )


def _accuracy(said: Predictions) -> Accuracy:
    top5 = said.top(TOP) if said.probabilities.shape[1] > TOP else None
    return Accuracy(len(said.truth), said.top(1), top5, said.loss)


def _curve(videos: Predictions) -> tuple[float | None, dict[str, tuple[float, ...]] | None]:
    """Return area and points of the ROC curve; neither exists where all videos are of one class."""
    if len(set(videos.truth.tolist())) < 2:
        return None, None
    scores, truth = torch.from_numpy(videos.probabilities[:, 1]), torch.from_numpy(videos.truth)
    false_positive, true_positive, _ = binary_roc(scores, truth)
    points = {"false_positive": false_positive, "true_positive": true_positive}
    return float(binary_auroc(scores, truth)), {name: tuple(values.tolist()) for name, values in points.items()}
