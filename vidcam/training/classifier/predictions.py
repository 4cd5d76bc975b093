"""Predictions: what a network said of every clip of a split."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidcam.types import Floats, Ints

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
        np.savez(path, **rows, broken=np.array(json.dumps({str(key): why for key, why in self.broken.items()})))


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
