"""Inverse warping: what a target's camera would see if the world had a reference's colors."""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from vidcam.errors import OptionError
from vidcam.models.sfmlearner.rotation import pose_matrix

NEAREST = 1e-3
"""Depths in the reference's camera are at least this, so that no point lies behind it."""


def inverse_warp(
    image: Tensor, depth: Tensor, pose: Tensor, intrinsics: Tensor, *, rotation: str = "euler"
) -> tuple[Tensor, Tensor]:
    """Sample a reference image where the target's pixels are seen in it (Zhou et al. 2017, eq. 2).

    Every pixel of the target is lifted by its depth, moved by the pose, and projected; there the reference is sampled
    bilinearly. The rules are the PyTorch port's: depth at least 0.001, zeros outside, pixel centers at whole numbers
    up to both edges (`align_corners`). The original in TensorFlow adds 1e-10 to depth instead, and has no valid mask.

    Args:
        image: (B, 3, H, W) the reference.
        depth: (B, H, W) of the target.
        pose: (B, 6) vectors, or (B, 3, 4) matrices, that take points from the target's camera to the reference's.
        intrinsics: (B, 3, 3) of both, in pixels of this size.
        rotation: how vectors are read, "euler" or "quat".

    Returns:
        (B, 3, H, W) the image as seen from the target, and (B, H, W) bool, true where it was inside the reference.

    Raises:
        OptionError: shapes that do not belong together, or pictures with a side of one pixel.
    """
    _check(image, depth, pose, intrinsics)
    matrix = pose_matrix(pose, rotation) if pose.ndim == 2 else pose
    height, width = depth.shape[-2:]
    rays = torch.linalg.inv(intrinsics) @ _pixels(depth)  # (B, 3, H W)
    points = matrix[:, :, :3] @ (rays * depth.flatten(1)[:, None]) + matrix[:, :, 3:]
    x, y, z = (intrinsics @ points).unbind(1)
    z = z.clamp(min=NEAREST)
    grid = torch.stack([2 * (x / z) / (width - 1) - 1, 2 * (y / z) / (height - 1) - 1], dim=-1)
    grid = grid.reshape(-1, height, width, 2)
    warped = grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return warped, grid.abs().amax(dim=-1) <= 1


def _pixels(depth: Tensor) -> Tensor:
    """Return x, y, 1 of every pixel, (3, H W), of the depth's kind."""
    y, x = torch.meshgrid(*(torch.arange(n).to(depth) for n in depth.shape[-2:]), indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).flatten(1)


def _check(image: Tensor, depth: Tensor, pose: Tensor, intrinsics: Tensor) -> None:
    batch = len(image)
    fits = image.ndim == 4 and depth.shape == (batch, *image.shape[2:]) and intrinsics.shape == (batch, 3, 3)
    if not fits or pose.shape not in ((batch, 6), (batch, 3, 4)):
        shapes = ", ".join(str(tuple(x.shape)) for x in (image, depth, pose, intrinsics))
        raise OptionError(
            f"warping needs image (B, 3, H, W), depth (B, H, W), pose (B, 6) and intrinsics (B, 3, 3); given {shapes}"
        )
    if min(depth.shape[1:]) < 2:
        raise OptionError(f"warping needs pictures of two pixels or more per side; given {tuple(depth.shape[1:])}")
