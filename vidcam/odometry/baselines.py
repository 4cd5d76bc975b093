"""What odometry is worth that sees no picture: every result of a network stands beside these.

All are in snippets (S, n, 4, 4): camera poses of n consecutive frames, seen from the first of them.
"""

from collections.abc import Sequence

import numpy as np

from vidcam.data.drives.trajectory import Trajectory, chained
from vidcam.errors import OptionError
from vidcam.types import Floats

BASELINES = {
    "constant_velocity": "the true step into the snippet's first frame, repeated; the first snippet has none",
    "straight_line": "straight ahead with a constant step and without rotation",
    "mean_motion": "the mean snippet of the training trajectories",
}
SAME = 1e-6
"""How far the steps of two copies of a trajectory may be apart, in meters and in entries of a rotation."""


def snippets(trajectory: Trajectory, length: int = 5) -> Floats:
    """Cut a trajectory into all its snippets, (F - length + 1, length, 4, 4), one from every frame.

    Raises:
        OptionError: the trajectory is shorter than one, or the length is below 2.
    """
    if length < 2:
        raise OptionError(f"a snippet needs at least 2 frames; given {length}")
    if len(trajectory) < length:
        raise OptionError(f"snippets of {length} frames need at least as many poses; given {len(trajectory)}")
    cut = trajectory.poses[np.arange(len(trajectory) - length + 1)[:, None] + np.arange(length)]
    seen: Floats = np.linalg.inv(cut[:, :1]) @ cut
    return seen


def baselines(true: Trajectory, *, length: int = 5, training: Sequence[Trajectory] = ()) -> dict[str, Floats]:
    """Return every baseline's snippets by its name in BASELINES; no mean motion without training trajectories.

    Args:
        true: the trajectory that is evaluated.
        length: n, frames of a snippet.
        training: other trajectories.

    Raises:
        OptionError: a trajectory is shorter than a snippet, or the evaluated one is, whole, in a training one.
    """
    count = len(snippets(true, length))
    made = {"constant_velocity": constant_velocity(true, length), "straight_line": _all(straight_line(length), count)}
    if training:
        if any(_is_part(true.steps, other.steps) for other in training):  # a mean that knows what it is compared with
            raise OptionError("the evaluated trajectory is among the training ones; leave it out of the mean motion")
        made["mean_motion"] = _all(mean_motion(training, length), count)
    return made


def constant_velocity(true: Trajectory, length: int = 5) -> Floats:
    """Repeat, in every snippet, the true step that led to its first frame: S_k = (inv(T_{i-1}) T_i)^k.

    Nothing inside the snippet is used. The trajectory's first snippet has no step before it: it is NaN, and left out
    of all means.
    """
    count = len(snippets(true, length))
    steps = np.concatenate([np.full((1, 4, 4), np.nan), true.steps])[:count]
    powers = [np.tile(np.eye(4), (count, 1, 1))]
    for _ in range(length - 1):
        powers.append(powers[-1] @ steps)
    repeated = np.stack(powers, axis=1)
    repeated[0] = np.nan
    return repeated


def straight_line(length: int = 5) -> Floats:
    """(length, 4, 4) go one meter per frame along the first camera's axis; a snippet's scale is aligned anyhow.

    Its rotation error is that of predicting no rotation.
    """
    poses = np.tile(np.eye(4), (length, 1, 1))
    poses[:, 2, 3] = np.arange(length)
    return poses


def mean_motion(training: Sequence[Trajectory], length: int = 5) -> Floats:
    """(length, 4, 4) the mean over the snippets of all trajectories, each snippet counting the same.

    Positions are averaged, and rotations by the rotation nearest to the mean of their matrices.

    Raises:
        OptionError: there is no trajectory, or one is shorter than a snippet.
    """
    if not training:
        raise OptionError("the mean motion needs training trajectories; given none")
    mean: Floats = np.concatenate([snippets(trajectory, length) for trajectory in training]).mean(axis=0)
    u, _, v = np.linalg.svd(mean[:, :3, :3])
    u[:, :, 2] *= np.sign(np.linalg.det(u @ v))[:, None]
    mean[:, :3, :3] = u @ v
    return mean


def baseline_paths(true: Trajectory, *, training: Sequence[Trajectory] = ()) -> dict[str, Trajectory]:
    """Chain the baselines' steps over all F frames, for a picture.

    The straight line has the truth's mean step. Constant velocity has no path of its own: step by step it is the true
    one, a frame late.
    """
    ahead = straight_line(2)[1]
    ahead[2, 3] = true.distances[-1] / max(len(true) - 1, 1)
    steps = {"straight_line": ahead} | ({"mean_motion": mean_motion(training, 2)[1]} if training else {})
    return {name: chained(_all(step, len(true) - 1), true.seconds) for name, step in steps.items()}


def _all(snippet: Floats, count: int) -> Floats:
    return np.broadcast_to(snippet, (count, *snippet.shape))


def _is_part(steps: Floats, others: Floats) -> bool:
    """Tell whether steps (n, 4, 4) follow each other among others (m, 4, 4); wherever the path begins and is seen from.

    Standing still is the same everywhere, and tells nothing.
    """
    if (np.abs(steps - np.eye(4)) <= SAME).all():
        return False
    starts = np.arange(len(others) - len(steps) + 1)
    for i, step in enumerate(steps):
        starts = starts[(np.abs(others[starts + i] - step) <= SAME).all(axis=(1, 2))]
    return len(starts) > 0
