"""Rotation matrices from three numbers, and pose vectors as matrices; batched and differentiable."""

from collections.abc import Callable

import torch
from torch import Tensor

from vidcam.errors import OptionError, unknown


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
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


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


def _about(angle: Tensor, *, axis: int) -> Tensor:
    """(...) -> (..., 3, 3), the right-handed turn about a coordinate axis."""
    sine, cosine, zero, one = angle.sin(), angle.cos(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = {
        0: ((one, zero, zero), (zero, cosine, -sine), (zero, sine, cosine)),
        1: ((cosine, zero, sine), (zero, one, zero), (-sine, zero, cosine)),
        2: ((cosine, -sine, zero), (sine, cosine, zero), (zero, zero, one)),
    }[axis]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
