"""What SfMLearner sees of a drive, and what it tells beside its scores: the camera's way and depth."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from vidcam.data.drives.drive import Drive, open_drive
from vidcam.data.drives.trajectory import chained
from vidcam.errors import OptionError
from vidcam.models.extra import Extra
from vidcam.models.model import Model
from vidcam.models.sfmlearner.geometry import pose_matrix
from vidcam.models.sfmlearner.network import Motion
from vidcam.models.source import Source, video_source
from vidcam.types import Floats

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
        source: what `open_drive` takes, as it takes `camera` and `intrinsics`; or what it returns.

    Raises:
        MediaError: the drive cannot be read.
        OptionError: a camera or intrinsics that are none, or for a drive that is open already.
    """
    if isinstance(source, Drive) and (camera is not None or intrinsics is not None):
        raise OptionError("the drive is open already; give camera= and intrinsics= to open_drive")
    drive = source if isinstance(source, Drive) else open_drive(source, camera=camera, intrinsics=intrinsics)
    net: Any = model.net
    if net.disp is None or drive.intrinsics is None:
        scores = {name: score for name, score in model.scores.items() if name != "loss"}
        lacks = {"loss": "disp=" if net.disp is None else "the camera's intrinsics"}
        return replace(video_source(replace(model, scores=scores), drive), lacks=lacks)
    height, width = model.preprocessing.resized(drive.height, drive.width)
    return video_source(replace(model, net=net.seeing(drive.intrinsics_at(height, width))), drive)


def motion_extras(rotation: str) -> dict[str, Extra]:
    """Return what it tells beside its scores: "poses" (B, T, 4, 4) of a window's cameras, and "depth" (B, h, w)."""

    def poses(motion: Motion) -> Tensor:
        return torch.from_numpy(camera_poses(motion.pose.detach().cpu().double().numpy(), rotation=rotation))

    return {"poses": Extra(poses, join=lambda snippets: chained(chosen_steps(snippets)).poses), "depth": Extra(_depth)}


def camera_poses(vectors: Floats, *, rotation: str = "euler") -> Floats:
    """(S, n, 6) target to references -> (S, n + 1, 4, 4) poses of all cameras in order, seen from the first frame.

    A pose vector takes points from the target's camera to a reference's: its inverse is the reference's pose. The
    target, frame (n + 1) // 2, is the identity between them.
    """
    count, references, _ = vectors.shape
    given = np.tile(np.eye(4), (count, references, 1, 1))
    given[:, :, :3] = pose_matrix(torch.from_numpy(vectors), rotation).numpy()
    seen = np.insert(np.linalg.inv(given), (references + 1) // 2, np.eye(4), axis=1)
    rebased: Floats = np.linalg.inv(seen[:, :1]) @ seen
    return rebased


def chosen_steps(snippets: Floats) -> Floats:
    """(S, T, 4, 4) -> (S + T - 2, 4, 4) one step from each frame to the next, by the snippet with the frame as target.

    The frames before the first target take the first snippet, those after the last target the last one.
    """
    count, length = snippets.shape[:2]
    frame = np.arange(count + length - 2)
    target = min(length // 2, length - 2)  # of two frames the second is the target: its step ends outside
    snippet = np.clip(frame - target, 0, count - 1)
    here, there = snippets[snippet, frame - snippet], snippets[snippet, frame - snippet + 1]
    steps: Floats = np.linalg.inv(here) @ there
    return steps


def _depth(motion: Motion) -> Tensor | None:
    if motion.disparity is None or not (motion.disparity > 0).all():
        return None
    depth = 1 / motion.disparity.detach().float()
    height, width = depth.shape[-2:]
    size = (max(1, round(height * DEPTH_WIDTH / width)), DEPTH_WIDTH) if width > DEPTH_WIDTH else (height, width)
    return adaptive_avg_pool2d(depth, size)[:, 0]
