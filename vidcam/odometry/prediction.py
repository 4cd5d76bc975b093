"""Where a pose network says the camera went."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from vidcam.attribution.capturing import capture
from vidcam.data.drives.drive import Drive
from vidcam.data.drives.trajectory import Trajectory, chained
from vidcam.data.sampling import Window
from vidcam.errors import MediaError, ModelError
from vidcam.explaining.memory import Room
from vidcam.explaining.windows import Fed, Stream
from vidcam.media import open_video
from vidcam.models.carrying import begun, check_stateless, refuse_carried
from vidcam.models.model import Model
from vidcam.models.sfmlearner.opening import chosen_steps
from vidcam.types import Floats, Progress

BATCH = 8


@dataclass(frozen=True)
class Prediction:
    """What a network that sees T frames at once says of F frames; lengths are in the network's own unit."""

    snippets: Floats
    """(F - T + 1, T, 4, 4) camera poses of every snippet, seen from its first frame."""
    trajectory: Trajectory
    """F poses from the first frame's camera on."""


def predict(model: Model, drive: Drive, *, batch: int | None = None, progress: Progress | None = None) -> Prediction:
    """Run a pose network over every snippet of a drive, one pass with memory for a few snippets.

    The trajectory goes from frame i to i + 1 by the snippet whose target is frame i. The frames before the first
    target and after the last one have none: there the first and the last snippet tell.

    Args:
        model: a network that tells "poses" among its extras; it is left as it was.
        drive: at least T frames.
        batch: snippets in one forward pass; 8 by default.
        progress: called with the number of frames read, and of all.

    Raises:
        MediaError: the drive has fewer frames than a snippet, or a frame cannot be read.
        ModelError: the network predicts no poses, or some that are not finite.
    """
    if drive.frames < model.frames:
        raise _too_short(drive, model, drive.frames)
    refuse_carried(model, "odometry runs snippets that overlap")
    if model.sampling != "windows":
        raise ModelError(f"{model.name} has sampling={model.sampling!r}; odometry runs snippets: sampling='windows'")
    with open_video(drive.source) as video, begun(model):
        one_frame = 1 / (model.frame_rate or float(video.info.rate))
        stream = Stream(video, model, one_frame, BATCH if batch is None else batch, progress)
        with closing(iter(stream)) as groups:
            room = Room(model, stream.batch, chosen=batch is not None, of="snippet")
            snippets = np.concatenate(list(_snippets(model, drive, groups, room)))
    seconds = np.array(stream.seconds) if drive.seconds is None else drive.seconds
    return Prediction(snippets, chained(chosen_steps(snippets), seconds))


def _snippets(model: Model, drive: Drive, groups: Iterable[list[Window[Fed]]], room: Room) -> Iterator[Floats]:
    """Yield the poses (B, T, 4, 4) of every group of snippets."""
    for group in groups:
        if group[-1].padding:
            raise _too_short(drive, model, model.frames - group[-1].padding)
        yield from room.run(group, partial(_poses, model))


def _poses(model: Model, group: Sequence[Window[Fed]]) -> Floats:
    """Return the poses (B, T, 4, 4) of some snippets."""
    x = model.batch([[item.pixels for item in window.items] for window in group])
    captured = capture(model.net, x, layers=(), gradients=False)
    check_stateless(model, x, captured)
    with captured.inside():
        poses = model.extras["poses"].read(captured.output) if "poses" in model.extras else None
    if poses is None or poses.shape[1:] != (model.frames, 4, 4):
        given = type(captured.output).__name__ if poses is None else f"poses {tuple(poses.shape)}"
        wanted = f"camera poses (B, {model.frames}, 4, 4)"
        raise ModelError(f"model {model.name!r} predicts no {wanted}; it tells {given}")
    if not torch.isfinite(poses).all():
        raise ModelError(f"model {model.name!r} predicts a pose that is not finite near frame {group[0].start}")
    told: Floats = poses.double().cpu().numpy()
    return told


def _too_short(drive: Drive, model: Model, frames: int) -> MediaError:
    return MediaError(f"{str(drive.source)!r} has {frames} frames; a snippet of {model.name!r} needs {model.frames}")
