"""From pose vectors to the way of the camera."""

import numpy as np
import torch

from vidcam.models.sfmlearner.rotation import pose_matrix
from vidcam.types import Floats


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
