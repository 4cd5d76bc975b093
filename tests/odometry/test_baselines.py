"""Odometry that sees no picture: by hand, and on KITTI's true poses."""

from pathlib import Path

import numpy as np
import pytest

from vidcam.data.drives.trajectory import Trajectory, chained, read_trajectory
from vidcam.errors import OptionError
from vidcam.odometry.baselines import (
    BASELINES,
    baseline_paths,
    baselines,
    constant_velocity,
    mean_motion,
    snippets,
    straight_line,
)
from vidcam.odometry.errors import snippet_errors
from vidcam.types import Floats

LENGTHS = {"00": 4541, "01": 1101, "02": 4661, "03": 801, "04": 271, "05": 2761, "06": 1101, "07": 1101, "08": 4071}


def step(turn: float, ahead: float, up: float = 0.0) -> Floats:
    """A camera that turns to the right by `turn` radians and goes ahead."""
    pose = np.eye(4)
    pose[0, 0] = pose[2, 2] = np.cos(turn)
    pose[0, 2], pose[2, 0] = np.sin(turn), -np.sin(turn)
    pose[:3, 3] = 0, -up, ahead
    return pose


def path(*steps: Floats) -> Trajectory:
    return chained(np.stack(steps))


def test_snippets_start_at_every_frame() -> None:
    drive = path(*[step(0.1 * i, 1 + i) for i in range(7)])
    found = snippets(drive, 5)
    assert found.shape == (4, 5, 4, 4)
    for first in range(4):
        for k in range(5):
            expected = np.linalg.inv(drive.poses[first]) @ drive.poses[first + k]
            np.testing.assert_allclose(found[first, k], expected, atol=1e-12)


def test_constant_velocity_repeats_the_step_before_the_snippet() -> None:
    steps = [step(0.1 * i, 1 + i) for i in range(7)]
    found = constant_velocity(path(*steps), 5)
    assert np.isnan(found[0]).all()  # nothing is known before the first frame
    for first in (1, 2, 3):
        expected = np.eye(4)
        for k in range(5):
            np.testing.assert_allclose(found[first, k], expected, atol=1e-9)
            expected = expected @ steps[first - 1]


def test_constant_velocity_never_looks_into_its_snippet() -> None:
    steps = [step(0.1 * i, 1 + i) for i in range(9)]
    changed = [*steps[:3], *[step(1.0, 5.0)] * 6]
    np.testing.assert_array_equal(constant_velocity(path(*steps))[3], constant_velocity(path(*changed))[3])


def test_constant_velocity_is_perfect_on_a_circle_and_a_line_is_not() -> None:
    drive = path(*[step(0.05, 1.0)] * 30)
    truth = snippets(drive)
    perfect = snippet_errors(constant_velocity(drive), truth)
    np.testing.assert_allclose(perfect.ate[1:], 0, atol=1e-9)
    np.testing.assert_allclose(perfect.re[1:], 0, atol=1e-9)
    assert np.isnan(perfect.ate[0])
    assert np.isnan(perfect.re[0])
    line = snippet_errors(np.broadcast_to(straight_line(), truth.shape), truth)
    np.testing.assert_allclose(line.re, 0.05 * (1 + 2 + 3 + 4) / 5, atol=1e-12)
    assert (line.ate > 0.05).all()


def test_straight_line_is_perfect_on_a_line_of_any_speed() -> None:
    drive = path(*[step(0, 3.7)] * 10)
    errors = snippet_errors(np.broadcast_to(straight_line(), (7, 5, 4, 4)), snippets(drive))
    np.testing.assert_allclose(errors, 0, atol=1e-12)


def test_mean_motion_counts_every_snippet_once() -> None:
    slow, fast = path(*[step(0, 1.0)] * 4), path(*[step(0, 4.0)] * 6)  # 1 and 3 snippets
    found = mean_motion([slow, fast])
    np.testing.assert_allclose(found[:, 2, 3], np.arange(5) * (1 + 3 * 4) / 4)


def test_mean_motion_s_rotation_is_a_rotation() -> None:
    left, right = path(*[step(-0.1, 1.0)] * 4), path(*[step(0.3, 1.0)] * 4)
    found = mean_motion([left, right])[:, :3, :3]
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-12)
    for k in range(5):
        np.testing.assert_allclose(found[k], step(0.1 * k, 0)[:3, :3], atol=1e-12)  # the middle of two turns


def test_all_baselines_and_their_names() -> None:
    drive, other = path(*[step(0.1, 1.0)] * 9), path(*[step(0, 2.0)] * 9)
    found = baselines(drive, training=[other])
    assert list(found) == list(BASELINES)
    assert {poses.shape for poses in found.values()} == {(6, 5, 4, 4)}
    assert list(baselines(drive)) == ["constant_velocity", "straight_line"]


def test_the_evaluated_path_is_no_training_path() -> None:
    drive = path(*[step(0.1, 1.0)] * 9)
    with pytest.raises(OptionError, match="among the training ones"):
        baselines(drive, training=[Trajectory(drive.poses.copy())])
    with pytest.raises(OptionError, match="needs training trajectories"):
        mean_motion([])


def test_no_part_of_a_training_path_is_evaluated() -> None:
    """Neither where the path begins nor what it is seen from hides it; what differs anywhere is another path."""
    whole = path(*[step(0.01 * i, 1 + 0.1 * i) for i in range(30)])
    part = Trajectory(whole.poses[7:20])
    for evaluated in (part, part.rebased(), Trajectory(whole.poses[24:])):
        with pytest.raises(OptionError, match="among the training ones"):
            baselines(evaluated, training=[path(*[step(0, 2.0)] * 9), whole])
    last = part.poses.copy()
    last[-1, 2, 3] += 1e-3
    for training in (whole, path(*[step(0, 2.0)] * 9)):
        assert "mean_motion" in baselines(Trajectory(last), training=[training])
    assert "mean_motion" in baselines(whole, training=[part])


def test_standing_still_is_no_leak() -> None:
    still = path(*[step(0, 0.0)] * 9)
    assert "mean_motion" in baselines(still, training=[path(*[step(0, 0.0)] * 12, *[step(0.1, 1.0)] * 9)])


def test_too_few_frames() -> None:
    with pytest.raises(OptionError, match="snippets of 5 frames need at least as many poses; given 4"):
        snippets(path(*[step(0, 1)] * 3))
    with pytest.raises(OptionError, match="at least 2 frames; given 1"):
        snippets(path(step(0, 1)), 1)


def test_paths_go_at_the_mean_speed() -> None:
    drive = path(step(0.5, 1.0), step(0.5, 2.0), step(0.5, 6.0))
    paths = baseline_paths(drive, training=[path(*[step(0.1, 2.0)] * 4)])
    np.testing.assert_allclose(paths["straight_line"].positions, [(0, 0, 3.0 * i) for i in range(4)])
    np.testing.assert_allclose(paths["mean_motion"].steps, np.stack([step(0.1, 2.0)] * 3), atol=1e-12)


@pytest.mark.shared
def test_kitti_s_mean_motion(data: Path) -> None:
    """The mean of the training sequences 00 to 08, as published work has used it."""
    drives = [read_trajectory(data / f"kitti_odometry/dataset/poses/{name}.txt") for name in LENGTHS]
    assert [len(drive) for drive in drives] == list(LENGTHS.values())
    found = mean_motion(drives)
    np.testing.assert_allclose(found[:, 2, 3], [0, 0.9575, 1.9145, 2.8709, 3.8265], atol=5e-5)
    np.testing.assert_allclose(np.diff(found[:, 1, 3]), -0.0175, atol=3e-4)
    np.testing.assert_allclose(found[:, 0, 3], 0, atol=1e-3)


@pytest.mark.shared
def test_ten_rows_of_a_training_sequence_are_refused(data: Path) -> None:
    drives = [read_trajectory(data / f"kitti_odometry/dataset/poses/{name}.txt") for name in LENGTHS]
    part = Trajectory(drives[4].poses[100:110]).rebased()
    with pytest.raises(OptionError, match="among the training ones"):
        baselines(part, training=drives)
    assert "mean_motion" in baselines(part, training=drives[:4] + drives[5:])


@pytest.mark.shared
def test_kitti_s_constant_velocity_beats_the_line(data: Path) -> None:
    drives = {name: read_trajectory(data / f"kitti_odometry/dataset/poses/{name}.txt") for name in LENGTHS}
    for drive in drives.values():
        truth = snippets(drive)
        means = {name: np.nanmean(snippet_errors(poses, truth).ate) for name, poses in baselines(drive).items()}
        assert means["constant_velocity"] < 0.6 * means["straight_line"]
