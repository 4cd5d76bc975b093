"""SfMLearner as one network: a clip in, motion, depth and loss of its middle frame out, and scores of these."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import Score
from vidcam.errors import ModelError, OptionError, unknown
from vidcam.models.sfmlearner.geometry import ROTATIONS, pose_matrix
from vidcam.models.sfmlearner.losses import LossWeights, sfm_losses
from vidcam.models.sfmlearner.pose_and_depth import DispNetS, PoseExpNet


class Motion(NamedTuple):
    """What is known of a clip's middle frame, the target."""

    pose: Tensor
    """(B, n, 6) tx, ty, tz, rx, ry, rz: takes points from the target's camera to each reference's."""
    disparity: Tensor | None
    """(B, 1, H, W), one over depth; None without a depth network."""
    mask: Tensor | None
    """(B, n, H, W) in 0..1; None without the explainability branch."""
    loss: Tensor | None
    """(B,) the weighed loss over four scales; None without depth network or intrinsics."""


class SfMLearner(nn.Module):
    """Pose and depth network side by side, and the loss that trains both (Zhou et al. 2017; 1704.07813).

    Args:
        pose: the pose network.
        disp: the depth network, which the loss needs.
        intrinsics: (3, 3), or (B, 3, 3), in the pixels of the clips; the loss needs them. They are no part of the
            weights, but go to other devices with them.
        weights: of the parts of the loss.
        rotation: how pose vectors are read, "euler" or "quat".

    Raises:
        OptionError: no such rotation, or intrinsics that are no camera's.
    """

    intrinsics: Tensor | None

    def __init__(
        self,
        pose: PoseExpNet,
        disp: DispNetS | None = None,
        *,
        intrinsics: Tensor | None = None,
        weights: LossWeights | None = None,
        rotation: str = "euler",
    ) -> None:
        super().__init__()
        if rotation not in ROTATIONS:
            raise OptionError(unknown("rotation", rotation, ROTATIONS))
        self.pose, self.disp = pose, disp
        self.weights, self.rotation = weights or LossWeights(), rotation
        self.register_buffer("intrinsics", None if intrinsics is None else _camera(intrinsics, pose), persistent=False)

    def forward(self, clip: Tensor) -> Motion:
        """(B, 3, n + 1, H, W) in -1..1 -> what is known of frame T // 2; the other frames are its references."""
        target, references = self.split(clip)
        masks, pose = self.pose.at_all_scales(target, references)
        disparities = None if self.disp is None else self.disp.at_all_scales(target)
        loss = None
        if disparities is not None and self.intrinsics is not None:
            images = target, references, self.intrinsics.expand(len(clip), 3, 3)
            # or a map of the pose network's would mix in the branch of masks, which grows from its conv5
            weighed = masks if masks is None or self.training else [mask.detach() for mask in masks]
            loss = sfm_losses(*images, disparities, pose, weighed, weights=self.weights, rotation=self.rotation).total
        return Motion(pose, None if disparities is None else disparities[0], None if masks is None else masks[0], loss)

    def split(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, n + 1, H, W) -> target (B, 3, H, W) and references (B, n, 3, H, W), in the order of time."""
        frames = self.pose.references + 1
        if clip.ndim != 5 or clip.shape[1] != 3 or clip.shape[2] != frames:
            raise ModelError(f"the network takes clips (B, 3, {frames}, H, W); given {tuple(clip.shape)}")
        middle = frames // 2
        others = torch.cat([clip[:, :, :middle], clip[:, :, middle + 1 :]], dim=2)
        return clip[:, :, middle], others.transpose(1, 2)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its scores must know."""
        other, side = ("the frame before", "above") if self.pose.references == 1 else ("the next frame", "below")
        return (f"tx to rz take points from a frame's camera to that of {other}: driving forward, tz is {side} zero",)

    def seeing(self, intrinsics: Tensor) -> "SfMLearner":
        """Return the same networks, shared, behind another camera: (3, 3) or (B, 3, 3) in the clips' pixels."""
        other = SfMLearner(self.pose, self.disp, intrinsics=intrinsics, weights=self.weights, rotation=self.rotation)
        other.training = self.training  # not `train`, which would also change the shared networks
        return other


def next_reference(references: int) -> int:
    """Return which of n references is the frame after the target; the only one where there is one."""
    return min((references + 1) // 2, references - 1)


def motion_scores(references: int, *, rotation: str = "euler") -> dict[str, Score]:
    """Return the scores by name, each `Motion -> (B,)`; all but the loss are of the motion to the next frame.

    With one reference there is no next frame: the components are towards the frame before.

    "loss" is minus the loss; "tx" to "rz" are the components of the pose vector; "speed" is the distance between the
    two cameras, in the network's unit; "turn" is the change of heading in radians, positive to the right.
    """
    chosen, components = next_reference(references), ("tx", "ty", "tz", "rx", "ry", "rz")

    def of_pose(measure: Callable[[Tensor], Tensor]) -> Score:
        return lambda motion: measure(motion.pose[:, chosen])

    return {
        "loss": minus_loss,
        **{name: of_pose(partial(torch.select, dim=1, index=index)) for index, name in enumerate(components)},
        "speed": of_pose(lambda pose: torch.linalg.vector_norm(pose[:, :3], dim=1)),
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


def turn(pose: Tensor, *, rotation: str = "euler", backwards: bool = False) -> Tensor:
    """Return the change of heading, of pose vectors (B, 6) -> (B,) in radians, positive to the right.

    The last row of a matrix that takes points to the other camera is that camera's forward axis. Where the other frame
    is the one before, `backwards`, it is the change from there to here.
    """
    matrix = pose_matrix(pose, rotation)
    matrix = matrix[:, :, :3].transpose(1, 2) if backwards else matrix
    return torch.atan2(matrix[:, 2, 0], matrix[:, 2, 2])


def _camera(intrinsics: Tensor, net: nn.Module) -> Tensor:
    """Check intrinsics, and bring them to where and what the network's weights are."""
    camera = torch.as_tensor(intrinsics).detach().to(next(net.parameters())).clone()
    if camera.shape[-2:] != (3, 3) or camera.ndim not in (2, 3):
        raise OptionError(f"intrinsics must be a matrix (3, 3); given shape {tuple(camera.shape)}")
    focal = camera[..., [0, 1], [0, 1]]
    if not torch.isfinite(camera).all() or (focal <= 0).any() or (camera[..., 2, 2] != 1).any():
        raise OptionError(f"intrinsics need positive focal lengths, and 1 in the last place; given {camera.tolist()}")
    return camera
