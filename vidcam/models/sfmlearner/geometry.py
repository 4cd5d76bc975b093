"""Geometry of a moving camera: pose vectors as matrices, and inverse warping; batched and differentiable."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from vidcam.errors import OptionError, unknown

NEAREST = 1e-3
"""Depths in the reference's camera are at least this, so that no point lies behind it."""


def euler_matrix(angles: Tensor) -> Tensor:
    """Turn by angles rx, ry, rz in radians: R = Rx Ry Rz.  (..., 3) -> (..., 3, 3)

    Angles are taken as they are, like in the PyTorch port; the original in TensorFlow clips them to -pi..pi.
    """
    x, y, z = angles.unbind(-1)
    return _about(x, axis=0) @ _about(y, axis=1) @ _about(z, axis=2)


def quaternion_matrix(vector: Tensor) -> Tensor:
    """Turn by the quaternion (1, q1, q2, q3), normalized.  (..., 3) -> (..., 3, 3)

    The real part is fixed to 1 before it is normalized, so that turns lie below half a revolution.
    """
    quaternion = torch.cat([torch.ones_like(vector[..., :1]), vector], dim=-1)
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return _matrix(rows)


ROTATIONS: dict[str, Callable[[Tensor], Tensor]] = {"euler": euler_matrix, "quat": quaternion_matrix}
"""How the last three numbers of a pose vector are read."""


def pose_matrix(vector: Tensor, rotation: str = "euler") -> Tensor:
    """Return [R | t] of pose vectors tx, ty, tz and three numbers of rotation.  (..., 6) -> (..., 3, 4)

    Raises:
        OptionError: no such rotation, or vectors of another length.
    """
    if rotation not in ROTATIONS:
        raise OptionError(unknown("rotation", rotation, ROTATIONS))
    if vector.shape[-1:] != (6,):
        raise OptionError(f"a pose vector has 6 numbers; given shape {tuple(vector.shape)}")
    return torch.cat([ROTATIONS[rotation](vector[..., 3:]), vector[..., :3, None]], dim=-1)


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
    rays = torch.linalg.inv_ex(intrinsics).inverse @ _pixels(depth)  # (B, 3, H W)
    points = matrix[:, :, :3] @ (rays * depth.flatten(1)[:, None]) + matrix[:, :, 3:]
    x, y, z = (intrinsics @ points).unbind(1)
    z = z.clamp(min=NEAREST)
    grid = torch.stack([2 * (x / z) / (width - 1) - 1, 2 * (y / z) / (height - 1) - 1], dim=-1)
    grid = grid.reshape(-1, height, width, 2)
    warped = grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return warped, grid.abs().amax(dim=-1) <= 1


def _about(angle: Tensor, *, axis: int) -> Tensor:
    """(...) -> (..., 3, 3), the right-handed turn about a coordinate axis."""
    sine, cosine, zero, one = angle.sin(), angle.cos(), torch.zeros_like(angle), torch.ones_like(angle)
    about_x = _matrix(((one, zero, zero), (zero, cosine, -sine), (zero, sine, cosine)))
    return about_x.roll((axis, axis), dims=(-2, -1))


def _matrix(rows: Sequence[tuple[Tensor, ...]]) -> Tensor:
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _pixels(depth: Tensor) -> Tensor:
    """Return x, y, 1 of every pixel, (3, H W), of the depth's kind."""
    y, x = torch.meshgrid(*(torch.arange(n, device=depth.device).to(depth) for n in depth.shape[-2:]), indexing="ij")
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
