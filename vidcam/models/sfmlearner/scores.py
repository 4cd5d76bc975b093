"""Scores of SfMLearner: the numbers of a motion that can be explained."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from vidcam.attribution.capturing import Score
from vidcam.errors import OptionError
from vidcam.models.sfmlearner.network import Motion, next_reference
from vidcam.models.sfmlearner.rotation import pose_matrix

COMPONENTS = ("tx", "ty", "tz", "rx", "ry", "rz")
UNITS = {"rx": "rad", "ry": "rad", "rz": "rad", "turn": "rad"}
"""Lengths have none: they are in a unit of the network's own."""


def motion_scores(references: int, *, rotation: str = "euler") -> dict[str, Score]:
    """Return the scores by name, each `Motion -> (B,)`; all but the loss are of the motion to the next frame.

    With one reference there is no next frame: the components are towards the frame before.

    "loss" is minus the loss; "tx" to "rz" are the components of the pose vector; "speed" is the distance between the
    two cameras, in the network's unit; "turn" is the change of heading in radians, positive to the right.
    """
    chosen = next_reference(references)

    def of_pose(measure: Callable[[Tensor], Tensor]) -> Score:
        return lambda motion: measure(motion.pose[:, chosen])

    return {
        "loss": minus_loss,
        **{name: of_pose(partial(torch.select, dim=1, index=index)) for index, name in enumerate(COMPONENTS)},
        "speed": of_pose(speed),
        "turn": of_pose(lambda pose: turn(pose, rotation=rotation, backwards=references == 1)),
    }


def minus_loss(motion: Motion) -> Tensor:
    """Return minus the loss, (B,).

    Raises:
        OptionError: there is none, for lack of a depth network or of intrinsics.
    """
    if motion.loss is None:
        lacks = "intrinsics" if motion.disparity is not None else "a depth network (disp=) and intrinsics"
        raise OptionError(f"the score 'loss' needs {lacks}; the other scores do not")
    return -motion.loss


def speed(pose: Tensor) -> Tensor:
    """Return the distance between two cameras, of pose vectors (B, 6) -> (B,), in the network's unit."""
    distance: Tensor = torch.linalg.vector_norm(pose[:, :3], dim=1)
    return distance


def turn(pose: Tensor, *, rotation: str = "euler", backwards: bool = False) -> Tensor:
    """Return the change of heading, of pose vectors (B, 6) -> (B,) in radians, positive to the right.

    The last row of a matrix that takes points to the other camera is that camera's forward axis. Where the other frame
    is the one before, `backwards`, it is the change from there to here.
    """
    matrix = pose_matrix(pose, rotation)
    matrix = matrix[:, :, :3].transpose(1, 2) if backwards else matrix
    return torch.atan2(matrix[:, 2, 0], matrix[:, 2, 2])
