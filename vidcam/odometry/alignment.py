"""Laying a trajectory on the true one: what a single camera cannot know must not count as its error."""

from typing import NamedTuple

import numpy as np

from vidcam.data.drives.trajectory import Trajectory
from vidcam.errors import OptionError, unknown
from vidcam.odometry.choices import ALIGNMENTS
from vidcam.types import Floats


class Similarity(NamedTuple):
    """The map x -> scale * rotation x + translation."""

    rotation: Floats
    """(3, 3)."""
    translation: Floats
    """(3,) in meters."""
    scale: float

    def apply(self, trajectory: Trajectory) -> Trajectory:
        """Move and scale the positions, turn the cameras."""
        poses = trajectory.poses.copy()
        poses[:, :3, :3] = self.rotation @ poses[:, :3, :3]
        poses[:, :3, 3] = self.scale * trajectory.positions @ self.rotation.T + self.translation
        return Trajectory(poses, trajectory.seconds)


def align(predicted: Trajectory, true: Trajectory, kind: str = "7dof") -> Trajectory:
    """Return the prediction re-based to its first frame and laid on the truth re-based to its own; see `similarity`."""
    return similarity(predicted, true, kind).apply(predicted.rebased())


def similarity(predicted: Trajectory, true: Trajectory, kind: str = "7dof") -> Similarity:
    """Find what lays the positions of one re-based trajectory on those of the other.

    Args:
        predicted: F poses.
        true: the same frames'.
        kind: `none`; `scale` about the first frame's camera; `6dof`, a rotation and a shift; `7dof`, all of them.

    Raises:
        OptionError: an unknown kind, or trajectories of different lengths.
    """
    if kind not in ALIGNMENTS:
        raise OptionError(unknown("alignment", kind, ALIGNMENTS))
    if len(predicted) != len(true):
        raise OptionError(
            f"the predicted trajectory has {len(predicted)} poses and the true one {len(true)}; both need one per frame"
        )
    points, onto = predicted.rebased().positions, true.rebased().positions
    if kind in ("none", "scale"):
        return Similarity(np.eye(3), np.zeros(3), float(best_scale(points, onto)) if kind == "scale" else 1.0)
    return umeyama(points, onto, scaled=kind == "7dof")


def best_scale(points: Floats, onto: Floats) -> Floats:
    """(..., N, 3), (..., N, 3) -> (...) the scale s that makes s * points nearest to `onto`; 1 if all points are zero.

    s = sum(points onto) / sum(points^2); below zero where the points go the other way.
    """
    products, squares = (points * onto).sum(axis=(-2, -1)), (points**2).sum(axis=(-2, -1))
    return np.where(squares > 0, products / np.where(squares > 0, squares, 1), 1.0)


def umeyama(points: Floats, onto: Floats, *, scaled: bool = True) -> Similarity:
    """(N, 3), (N, 3) -> the similarity with the least squared distances (Umeyama 1991, eqs. 40 to 42).

    Points on a line leave the rotation about it open, and it is then any; points that are all the same, or not
    `scaled`, get scale 1.
    """
    middle, target = points.mean(axis=0), onto.mean(axis=0)
    variance = ((points - middle) ** 2).sum(axis=1).mean()
    u, strengths, v = np.linalg.svd((onto - target).T @ (points - middle) / len(points))
    signs = np.array([1.0, 1.0, 1.0 if np.linalg.det(u) * np.linalg.det(v) > 0 else -1.0])  # no reflection
    rotation = u * signs @ v
    scale = float((strengths * signs).sum() / variance) if scaled and variance > 0 else 1.0
    return Similarity(rotation, target - scale * rotation @ middle, scale)
