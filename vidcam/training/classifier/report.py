"""Report: how well a network did on a split, per clip and per video."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torchmetrics.functional.classification import binary_auroc, binary_roc, multiclass_confusion_matrix

from vidcam.data.manifest import Row
from vidcam.training.classifier.predictions import Predictions
from vidcam.training.report import RunReport, draw_confusion, draw_roc

TOP = 5
CONFUSION, ROC = "confusion.png", "roc.png"


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
class ClassifierReport(RunReport):
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
        shares = [share for share in self.per_class.values() if share is not None]
        return sum(shares) / len(shares)

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return super().as_dict() | {"mean_class_accuracy": self.mean_class_accuracy}

    def pictures(self) -> Mapping[str, Callable[[Path], None]]:
        """Return what draws `confusion.png` and, for two classes, `roc.png`."""
        drawn: dict[str, Callable[[Path], None]] = {CONFUSION: partial(draw_confusion, self.confusion, self.labels)}
        if self.roc is not None and self.auc is not None:
            rates = (self.roc["false_positive"], self.roc["true_positive"])
            drawn[ROC] = partial(draw_roc, *rates, self.auc, self.labels[1])
        return drawn


def make_report(said: Predictions, rows: Sequence[Row], labels: Sequence[str], **facts: Any) -> ClassifierReport:
    """Count what was said of a split's clips; `facts` are the other fields of the report."""
    videos = said.per_video
    best = (-videos.probabilities).argsort(axis=1, kind="stable")[:, 0]
    matrix = multiclass_confusion_matrix(torch.from_numpy(best), torch.from_numpy(videos.truth), len(labels))
    counts = matrix.sum(dim=1).tolist()
    shares = [hit / n if n else None for hit, n in zip(matrix.diagonal().tolist(), counts, strict=True)]
    auc, roc = _curve(videos) if len(labels) == 2 else (None, None)
    return ClassifierReport(
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
