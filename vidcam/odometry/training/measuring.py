"""Measuring of trained odometry: snippets' errors against true poses, beside what sees no picture."""

from collections.abc import Iterator
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
from vidcam.odometry.training.splits import SplitDrives, Stretch
from vidcam.types import Floats

PUBLISHED = 5
"""Frames of the snippets that published numbers are of."""


def measure(pose: Path, split: SplitDrives, *, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield the errors in each drive with true poses: in snippets as the network sees them, and of five frames.

    Longer snippets than the network's are cut from its trajectory. The mean motion is that of the frames to learn
    from; there is none where the very same frames are measured.

    `pose` is a checkpoint that `write_networks` wrote.
    """
    known = [stretch for stretch in split.measured if stretch.drive.trajectory is not None]
    if known:
        model = load_model(
            "sfmlearner", pose=pose, options=read_checkpoint(pose).description["options"], device=str(device)
        )
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
