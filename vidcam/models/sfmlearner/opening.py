"""What SfMLearner sees of a drive, and what it tells beside its scores: the camera's way and depth."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from vidcam.data.drives.drive import Drive, open_drive
from vidcam.data.drives.trajectory import chained
from vidcam.errors import OptionError
from vidcam.models.extra import Extra
from vidcam.models.model import Model
from vidcam.models.sfmlearner.motion import camera_poses, chosen_steps
from vidcam.models.sfmlearner.network import Motion
from vidcam.models.source import Source, video_source
from vidcam.types import Floats

LOSS = "loss"
DEPTH_WIDTH = 104
"""Columns of the depth that is kept per frame, at most."""


def open_for_motion(
    model: Model,
    source: str | Path | Drive,
    *,
    camera: str | None = None,
    intrinsics: npt.ArrayLike | str | Path | None = None,
) -> Source[Model]:
    """Open a drive, and put the network behind its camera; without intrinsics or depth network there is no loss.

    Args:
        model: of SfMLearner.
        source: what `open_drive` takes, or returns.
        camera: as `open_drive` takes it.
        intrinsics: as `open_drive` takes them.

    Raises:
        MediaError: the drive cannot be read.
        OptionError: a camera or intrinsics that are none, or for a drive that is open already.
    """
    if isinstance(source, Drive):
        if camera is not None or intrinsics is not None:
            raise OptionError("the drive is open already; give camera= and intrinsics= to open_drive")
        drive = source
    else:
        drive = open_drive(source, camera=camera, intrinsics=intrinsics)
    net: Any = model.net
    if net.disp is None or drive.intrinsics is None:
        scores = {name: score for name, score in model.scores.items() if name != LOSS}
        lacks = {LOSS: "disp=" if net.disp is None else "the camera's intrinsics"}
        return replace(video_source(replace(model, scores=scores), drive), lacks=lacks)
    height, width = model.preprocessing.resized(drive.height, drive.width)
    return video_source(replace(model, net=net.seeing(drive.intrinsics_at(height, width))), drive)


def motion_extras(rotation: str) -> dict[str, Extra]:
    """Return what the network tells beside its scores: "poses" (B, T, 4, 4) of a window's cameras, "depth" (B, h, w).

    Args:
        rotation: how pose vectors are read, "euler" or "quat".
    """

    def poses(motion: Motion) -> Tensor:
        return torch.from_numpy(camera_poses(motion.pose.detach().cpu().double().numpy(), rotation=rotation))

    return {"poses": Extra(poses, join=_way), "depth": Extra(_depth)}


def _way(snippets: Floats) -> Floats:
    """(N, T, 4, 4) -> (F, 4, 4)"""
    return chained(chosen_steps(snippets)).poses


def _depth(motion: Motion) -> Tensor | None:
    if motion.disparity is None or not (motion.disparity > 0).all():
        return None
    depth = 1 / motion.disparity.detach().float()
    height, width = depth.shape[-2:]
    size = (max(1, round(height * DEPTH_WIDTH / width)), DEPTH_WIDTH) if width > DEPTH_WIDTH else (height, width)
    return adaptive_avg_pool2d(depth, size)[:, 0]
