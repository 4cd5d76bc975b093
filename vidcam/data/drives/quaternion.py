"""Unit quaternions (x, y, z, w) and rotation matrices."""

import numpy as np

from vidcam.types import Floats


def to_rotation(quaternions: Floats) -> Floats:
    """Turn quaternions (F, 4), normalized first, into matrices (F, 3, 3)."""
    x, y, z, w = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.moveaxis(np.array(rows), 2, 0)


def from_rotation(rotations: Floats) -> Floats:
    """Turn matrices (F, 3, 3) into quaternions (F, 4) with w at least 0; of a matrix with errors the nearest rotation.

    It is the eigenvector of the largest eigenvalue of a symmetric matrix (Bar-Itzhack 2000, eq. 8), without the
    divisions by numbers near zero that other formulas have for half turns.
    """
    r = np.moveaxis(rotations, 0, 2)  # (3, 3, F)
    symmetric = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]],
            [r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    quaternions: Floats = np.linalg.eigh(np.moveaxis(symmetric, 2, 0))[1][:, :, -1]
    return np.where(quaternions[:, 3:] < 0, -quaternions, quaternions)
