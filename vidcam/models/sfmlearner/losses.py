"""Losses that need no labels: the reference warped to the target must look like it, and depth must be smooth.

All are per sample, (B,), never reduced over the batch, so that each clip of a batch can be explained by its own.
They follow the PyTorch port; where the original in TensorFlow differs, the function says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vidcam.errors import ModelError, OptionError
from vidcam.models.sfmlearner.geometry import inverse_warp, pose_matrix

FADING = 2.3
"""What the weight of smoothness is divided by from each scale to the next; the original in TensorFlow divides by 2."""


@dataclass(frozen=True)
class LossWeights:
    """How much each part counts; the port's defaults. Its published weights were trained with a smoothness of 2."""

    photometric: float = 1.0
    smoothness: float = 0.1
    explainability: float = 0.0


@dataclass(frozen=True)
class Losses:
    """The loss and its parts, before they are weighed; all (B,)."""

    total: Tensor
    photometric: Tensor
    smoothness: Tensor
    explainability: Tensor
    warped: tuple[Tensor, ...]
    """Per scale (B, n, 3, h, w), the references as seen from the target."""


def sfm_losses(
    target: Tensor,
    references: Tensor,
    intrinsics: Tensor,
    disparities: Sequence[Tensor],
    pose: Tensor,
    masks: Sequence[Tensor] | None = None,
    *,
    weights: LossWeights | None = None,
    rotation: str = "euler",
) -> Losses:
    """Return SfMLearner's loss of a batch (Zhou et al. 2017, eqs. 1, 3 and 4), sample by sample.

    Args:
        target: (B, 3, H, W).
        references: (B, n, 3, H, W).
        intrinsics: (B, 3, 3) in pixels of H x W.
        disparities: per scale (B, 1, h, w), finest first.
        pose: (B, n, 6) from the target's camera to the references'.
        masks: per scale (B, n, h, w) in 0..1, which weigh the residuals.
        weights: those of `LossWeights` by default.
        rotation: how pose vectors are read, "euler" or "quat".

    Raises:
        ModelError: pictures too small for second derivatives at the coarsest scale.
        OptionError: shapes that do not belong together.
    """
    weights = weights or LossWeights()
    if masks is not None and len(masks) != len(disparities):
        raise OptionError(f"masks need as many scales as disparities; given {len(masks)} and {len(disparities)}")
    depths = [1 / disparity[:, 0] for disparity in disparities]
    matrices = pose_matrix(pose, rotation)
    weighing: Sequence[Tensor | None] = masks or [None] * len(depths)
    compared = [
        photometric_loss(target, references, intrinsics, depth, matrices, mask)
        for depth, mask in zip(depths, weighing, strict=True)
    ]
    photometric = sum((loss for loss, _ in compared), torch.zeros_like(pose[:, 0, 0]))
    smoothness = smoothness_loss(depths)
    explainability = torch.zeros_like(photometric) if masks is None else explainability_loss(masks)
    total = weights.photometric * photometric + weights.smoothness * smoothness
    total = total + weights.explainability * explainability
    return Losses(total, photometric, smoothness, explainability, tuple(warped for _, warped in compared))


def photometric_loss(
    target: Tensor, references: Tensor, intrinsics: Tensor, depth: Tensor, matrices: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean absolute difference at one scale, summed over references: (B,), and what was compared.

    Pictures are averaged down to the depth's size. Pixels that lie outside a reference count as no difference, as in
    the port; the original in TensorFlow has no such rule.

    Args:
        target: like `references` and `intrinsics`, which are scaled with the pictures, as in `sfm_losses`.
        depth: (B, h, w) at the scale.
        matrices: (B, n, 3, 4) from the target's camera to the references'.
        mask: (B, n, h, w), or None for ones.

    Returns:
        The loss, and (B, n, 3, h, w), the references as seen from the target.
    """
    batch, n = references.shape[:2]
    small = interpolate(target, depth.shape[1:], mode="area")
    others = interpolate(references.flatten(0, 1), depth.shape[1:], mode="area")
    scaled = scale_intrinsics(intrinsics, target.shape[2:], depth.shape[1:])
    depths, cameras = (x.repeat_interleave(n, dim=0) for x in (depth, scaled))
    warped, valid = inverse_warp(others, depths, matrices.flatten(0, 1), cameras)
    warped = warped.reshape(batch, n, *warped.shape[1:])
    weight = valid.to(warped).reshape(batch, n, *valid.shape[1:])
    weight = weight if mask is None else weight * mask
    residual = (small[:, None] - warped).abs() * weight[:, :, None]
    return residual.mean(dim=(2, 3, 4)).sum(dim=1), warped


def scale_intrinsics(intrinsics: Tensor, size: Sequence[int], scaled: Sequence[int]) -> Tensor:
    """Return the intrinsics (..., 3, 3) of pictures resized from (H, W) to (h, w): rows 0 and 1 by their own axis."""
    factors = (scaled[1] / size[1], scaled[0] / size[0], 1.0)
    return torch.stack([row * factor for row, factor in zip(intrinsics.unbind(-2), factors, strict=True)], dim=-2)


def smoothness_loss(maps: Sequence[Tensor]) -> Tensor:
    """Return the mean absolute second derivatives of depths (B, h, w), finest first, each scale's over 2.3^scale: (B,)

    The original in TensorFlow takes disparities, and 2^scale.

    Raises:
        ModelError: a map is smaller than 3 x 3.
    """
    if min(side for x in maps for side in x.shape[1:]) < 3:
        raise ModelError(
            f"the loss needs depth of at least 3x3 pixels at its coarsest scale, and pictures of at least 17x17; "
            f"given depth of {maps[-1].shape[2]}x{maps[-1].shape[1]}"
        )
    return torch.stack([_roughness(x) / FADING**scale for scale, x in enumerate(maps)]).sum(dim=0)


def explainability_loss(masks: Sequence[Tensor]) -> Tensor:
    """Return the cross entropy of masks (B, n, h, w) with ones, averaged per scale and summed over scales: (B,)

    It keeps the masks from explaining everything away. The original in TensorFlow has two channels and a softmax.
    """
    # clamped before the logarithm, whose gradient at an exact 0 would be NaN
    logs = [mask.clamp(min=torch.finfo(mask.dtype).tiny).log() for mask in masks]
    return torch.stack([-log.mean(dim=(1, 2, 3)) for log in logs]).sum(dim=0)


def _roughness(x: Tensor) -> Tensor:
    """(B, h, w) -> (B,): dxx + dxy + dyx + dyy, the mixed derivative twice."""
    dx, dy = x.diff(dim=2), x.diff(dim=1)
    second = (dx.diff(dim=2), dx.diff(dim=1), dy.diff(dim=2), dy.diff(dim=1))
    return torch.stack([part.abs().mean(dim=(1, 2)) for part in second]).sum(dim=0)
