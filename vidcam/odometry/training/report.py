"""Report of a training of odometry: what was learned from, and snippets' errors against true poses."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vidcam.data.drives.trajectory import Trajectory
from vidcam.models.build import load_model
from vidcam.models.checkpoint import read_checkpoint
from vidcam.models.model import Model
from vidcam.odometry.baselines import baselines, snippets
from vidcam.odometry.errors import snippet_errors
from vidcam.odometry.prediction import predict
from vidcam.odometry.training.module import TERMS
from vidcam.odometry.training.splits import SplitDrives, Stretch
from vidcam.training.report import RunReport, draw_losses
from vidcam.types import Floats

CURVES = "curves.png"
PUBLISHED = 5
"""Frames of the snippets that published numbers are of."""


@dataclass(frozen=True)
class OdometryTraining(RunReport):
    """What was learned from and how well."""

    data: tuple[str, ...]
    drives: tuple[Mapping[str, Any], ...]
    """Those to learn from: name, frames, size of the source."""
    validation: str
    """How the frames that validate were chosen."""
    snippets: Mapping[str, int]
    """How many to learn from, and how many that validate."""
    left_out: Mapping[str, int]
    """Snippets that were left out, by the reason."""
    settings: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]
    """Per epoch the means of the loss and its terms, in training and in validation, and the steps so far."""
    best: Mapping[str, Any]
    """The epoch whose weights were kept, and the loss that it is lowest in."""
    odometry: tuple[Mapping[str, Any], ...] = ()
    """Per drive with true poses and per length of snippets: the mean ATE in meters over the snippets, and its standard
    deviation, of the network and of the baselines, which see no picture; see `vidcam.odometry.errors`."""

    def pictures(self) -> Mapping[str, Callable[[Path], None]]:
        """Return what draws `curves.png`."""
        terms = [name for name in TERMS[1:] if any(row[name] for row in self.history)]
        return {CURVES: partial(draw_losses, self.history, terms, self.best["epoch"])}


def measure(pose: Path, split: SplitDrives, *, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield the errors in each drive with true poses: in snippets as the network sees them, and of five frames.

    Longer snippets than the network's are cut from its trajectory. The mean motion is that of the frames to learn
    from; there is none where the very same frames are measured.

    `pose` is a checkpoint that `write_networks` wrote.
    """
    known = [stretch for stretch in split.measured if stretch.drive.trajectory is not None]
    if known:
        options = read_checkpoint(pose).description["options"]
        model = load_model("sfmlearner", pose=pose, options=options, device=str(device))
        learned = _learned(split)
        for stretch in known:
            yield _errors(model, stretch, learned)


def _learned(split: SplitDrives) -> list[Trajectory]:
    """Return the true poses of the frames that were learned from and are not measured."""
    cuts = {stretch.drive.source: stretch.first for stretch in split.measured}
    parts = [(drive.trajectory, cuts.get(drive.source, drive.frames)) for drive in split.drives]
    return [Trajectory(path.poses[:cut]) for path, cut in parts if path is not None and cut >= PUBLISHED]


def _errors(model: Model, stretch: Stretch, learned: list[Trajectory]) -> dict[str, Any]:
    drive, first = stretch.drive, stretch.first
    assert drive.trajectory is not None
    said = predict(model, drive)
    true = Trajectory(drive.trajectory.poses[first:])
    row: dict[str, Any] = {"drive": drive.name, "first_frame": first, "frames": len(true), "baselines": {}}
    for length in sorted({model.frames, PUBLISHED}):
        if len(true) < length:
            continue
        truth = snippets(true, length)
        own = said.snippets if length == model.frames else snippets(said.trajectory, length)
        row |= _means(own[first:], truth)
        for name, poses in baselines(true, length=length, training=learned).items():
            row["baselines"].setdefault(name, {}).update(_means(poses, truth))
    return row


def _means(said: Floats, truth: Floats) -> dict[str, float]:
    facts = snippet_errors(said, truth).summary(truth.shape[1])
    return {name: value for name, value in facts.items() if name != "snippets"}
