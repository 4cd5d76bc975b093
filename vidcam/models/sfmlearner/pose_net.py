"""PoseExpNet: motion of the camera from a target frame to its references, and masks of what can be explained by it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidcam.errors import ModelError, OptionError
from vidcam.models.sfmlearner.blocks import KERNELS, check_pictures, convolution, crop, draw_weights, encoded

PLANES = (16, 32, 64, 128, 256, 256, 256)
MASKED = (16, 32, 64, 128, 256)
"""Planes of upconv1 to upconv5."""
SCALE = 0.01
"""What the mean prediction is multiplied by: motions between neighboring frames are small."""

Masks = list[Tensor]


class PoseExpNet(nn.Module):
    """Pose and explainability network (Zhou et al. 2017, section 3.4 and figure 4), as its PyTorch port has it.

    Layers, names and shapes are those of the port's published checkpoints: seven convolutions of stride 2, `conv1` to
    `conv7`, then a 1x1 convolution `pose_pred` whose mean over the picture, times 0.01, is the answer. The original
    in TensorFlow differs in its padding, and has two channels and a softmax per mask where this has one and a sigmoid.
    """

    def __init__(self, references: int, explainability: bool = False) -> None:
        """Build the network with random weights, for n references; explainability adds the branch of their masks."""
        super().__init__()
        if references < 1:
            raise OptionError(f"a pose network needs one reference frame or more; given {references}")
        self.references, self.explainability = references, explainability
        channels = (3 * (references + 1), *PLANES)
        for k, kernel in enumerate(KERNELS, 1):
            self.add_module(f"conv{k}", nn.Sequential(*convolution(channels[k - 1], channels[k], kernel)))
        self.pose_pred = nn.Conv2d(PLANES[-1], 6 * references, 1)
        if explainability:
            self._add_masks()
        draw_weights(self)

    def _add_masks(self) -> None:
        channels = (*MASKED, PLANES[4])
        for k in range(5, 0, -1):
            up = nn.ConvTranspose2d(channels[k], channels[k - 1], 4, stride=2, padding=1)
            self.add_module(f"upconv{k}", nn.Sequential(up, nn.ReLU(inplace=True)))
        for k in range(4, 0, -1):
            self.add_module(f"predict_mask{k}", nn.Conv2d(MASKED[k - 1], self.references, 3, padding=1))

    def forward(self, target: Tensor, references: Tensor | Sequence[Tensor]) -> tuple[Masks | Tensor | None, Tensor]:
        """Return masks and poses; in training the masks of four scales, else only those of the finest.

        Args:
            target: (B, 3, H, W) in -1..1.
            references: (B, n, 3, H, W), or n of (B, 3, H, W), in the order of time.

        Returns:
            Masks [(B, n, H, W), (B, n, H/2, W/2), ...] in 0..1 in training, (B, n, H, W) else, None without the branch;
            and (B, n, 6), the motions tx, ty, tz, rx, ry, rz that take points from the target's camera to each
            reference's.

        Raises:
            ModelError: another number of references, or pictures that are too small.
        """
        masks, pose = self.at_all_scales(target, references)
        return (masks if self.training or masks is None else masks[0]), pose

    def at_all_scales(self, target: Tensor, references: Tensor | Sequence[Tensor]) -> tuple[Masks | None, Tensor]:
        """Return the masks of all four scales, finest first, or None, and the poses; also outside training."""
        maps = encoded(self, self._joined(target, references))
        pose = SCALE * self.pose_pred(maps[-1]).mean(dim=(2, 3)).unflatten(1, (self.references, 6))
        return (self._masks(maps) if self.explainability else None), pose

    def _masks(self, maps: Sequence[Tensor]) -> Masks:
        masks, x = [], maps[5]
        for k in range(5, 0, -1):
            x = crop(self.get_submodule(f"upconv{k}")(x), maps[k - 1])
            if k < 5:
                masks.append(self.get_submodule(f"predict_mask{k}")(x).sigmoid())
        return masks[::-1]

    def _joined(self, target: Tensor, references: Tensor | Sequence[Tensor]) -> Tensor:
        """(B, 3, H, W) and n references -> (B, 3 (n + 1), H, W)"""
        check_pictures("the pose network", target)
        others = list(references.unbind(1)) if isinstance(references, Tensor) else list(references)
        if len(others) != self.references:
            raise ModelError(f"the pose network has {self.references} reference frames; given {len(others)}")
        if odd := [tuple(other.shape) for other in others if other.shape != target.shape]:
            raise ModelError(f"references need the target's shape {tuple(target.shape)}; given {odd[0]}")
        return torch.cat([target, *others], dim=1)
