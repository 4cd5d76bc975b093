"""Report: what a network said of every clip of a split, and how well it did, per clip and per video."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.classification import binary_auroc, binary_roc, multiclass_confusion_matrix

from vidcam.data.manifest import Row
from vidcam.media import replacing
from vidcam.training.report import RunReport, draw_confusion, draw_roc
from vidcam.types import Floats, Ints

TOP = 5
CONFUSION, ROC = "confusion.png", "roc.png"
MOST_CONFUSED = 1000
"""Classes of a confusion matrix: of 20,000 it would fill gigabytes."""
ROWS = ("video", "clip", "truth", "probabilities")


@dataclass(frozen=True)
class Predictions:
    """One row per clip, sorted by video and clip, and none twice."""

    video: Ints
    """(N,) index of the row of the split."""
    clip: Ints
    """(N,) number of the clip in its video."""
    truth: Ints
    """(N,) index of the class."""
    probabilities: Floats
    """(N, K)"""
    broken: Mapping[int, str] = field(default_factory=dict)
    """Videos that could not be read: index of the row -> reason."""

    @property
    def per_video(self) -> "Predictions":
        """One row per video, whose probabilities are the mean of its clips'."""
        videos, first, which = np.unique(self.video, return_index=True, return_inverse=True)
        sums = np.zeros((len(videos), self.probabilities.shape[1]))
        np.add.at(sums, which, self.probabilities)
        means = sums / np.bincount(which)[:, None]
        return Predictions(videos, np.zeros_like(videos), self.truth[first], means, self.broken)

    @property
    def loss(self) -> float:
        """Mean cross entropy of the rows."""
        right = self.probabilities[np.arange(len(self.truth)), self.truth]
        return float(-np.log(np.maximum(right, 1e-30)).mean())

    def top(self, k: int) -> float:
        """Return the share of rows whose class is among the k that are most probable."""
        best = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return float((best == self.truth[:, None]).any(axis=1).mean())

    def save(self, path: Path) -> None:
        """Write a `.npz` without pickled objects."""
        rows: dict[str, Any] = {name: getattr(self, name) for name in ROWS}
        broken = np.array(json.dumps({str(key): why for key, why in self.broken.items()}))
        with replacing(path, force=True) as part, part.open("wb") as file:
            np.savez(file, **rows, broken=broken)


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
    """Videos of class i (row) that were taken for class j (column); empty where there are more than 1,000 classes."""
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
        """Return what draws `confusion.png`, if there is a matrix, and, for two classes, `roc.png`."""
        drawn: dict[str, Callable[[Path], None]] = {}
        if self.confusion:
            drawn[CONFUSION] = partial(draw_confusion, self.confusion, self.labels)
        if self.roc is not None and self.auc is not None:
            rates = (self.roc["false_positive"], self.roc["true_positive"])
            drawn[ROC] = partial(draw_roc, *rates, self.auc, self.labels[1])
        return drawn


def load_predictions(path: Path) -> Predictions:
    """Read what `Predictions.save` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        broken = {int(key): why for key, why in json.loads(str(stored["broken"])).items()}
        return Predictions(**{name: stored[name] for name in ROWS}, broken=broken)


def merge(parts: Sequence[Predictions]) -> Predictions:
    """Join the parts of several batches or processes; a clip that comes again is dropped."""
    rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ROWS}
    _, first = np.unique(np.stack([rows["video"], rows["clip"]]), axis=1, return_index=True)
    broken = {key: why for part in parts for key, why in part.broken.items()}
    return Predictions(**{name: values[first] for name, values in rows.items()}, broken=dict(sorted(broken.items())))


def make_report(said: Predictions, rows: Sequence[Row], labels: Sequence[str], **facts: Any) -> ClassifierReport:
    """Count what was said of a split's clips; `facts` are the other fields of the report."""
    videos = said.per_video
    best = (-videos.probabilities).argsort(axis=1, kind="stable")[:, 0]
    classes = len(labels)
    counts, hits = (np.bincount(truth, minlength=classes) for truth in (videos.truth, best[best == videos.truth]))
    shares = [hit / n if n else None for hit, n in zip(hits.tolist(), counts.tolist(), strict=True)]
    auc, roc = _curve(videos) if len(labels) == 2 else (None, None)
    return ClassifierReport(
        labels=tuple(labels),
        per_clip=_accuracy(said),
        per_video=_accuracy(videos),
        per_class=dict(zip(labels, shares, strict=True)),
        confusion=_confusion(best, videos.truth, classes) if classes <= MOST_CONFUSED else (),
        auc=auc,
        roc=roc,
        skipped={str(rows[i].path): why for i, why in said.broken.items()},
        **facts,
    )


def _confusion(said: Ints, truth: Ints, classes: int) -> tuple[tuple[int, ...], ...]:
    matrix = multiclass_confusion_matrix(torch.from_numpy(said), torch.from_numpy(truth), classes)
    return tuple(tuple(map(int, line)) for line in matrix.tolist())


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
