"""Pose files: read, written, and refused with the line that is wrong."""

from pathlib import Path

import numpy as np
import pytest

from vidcam.data.drives.trajectory import Trajectory, chained, read_trajectory, to_rotation, write_kitti, write_rows
from vidcam.errors import MediaError, OptionError
from vidcam.types import Floats

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0"


def turns(count: int, seed: int = 0) -> Floats:
    """(count, 3, 3) random rotations, by QR."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, 3, 3)))
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]
    return np.where(np.linalg.det(q)[:, None, None] < 0, -q, q)


def wander(frames: int = 20, seed: int = 0) -> Trajectory:
    """A path in which nothing is zero or aligned with an axis."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = turns(frames, seed)
    poses[:, :3, 3] = np.random.default_rng(seed + 1).normal(size=(frames, 3)) * 300
    return Trajectory(poses, np.arange(frames) * 0.1 + 1.4e9)


def write(folder: Path, text: str) -> Path:
    path = folder / "poses.txt"
    path.write_text(text)
    return path


def test_steps_lead_from_frame_to_frame() -> None:
    path = wander()
    for i in range(len(path) - 1):
        np.testing.assert_allclose(path.poses[i] @ path.steps[i], path.poses[i + 1], atol=1e-10)
    np.testing.assert_allclose(chained(path.steps).poses, path.rebased().poses, atol=1e-9)
    np.testing.assert_allclose(path.rebased().poses[0], np.eye(4), atol=1e-12)


def test_distances_add_up() -> None:
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, :3, 3] = [(0, 0, 0), (3, 0, 4), (3, 0, 4), (3, 12, 9)]
    np.testing.assert_allclose(Trajectory(poses).distances, [0, 5, 5, 18])


def test_quaternions_of_known_turns() -> None:
    quarter_about_y = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    half_about_x = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
    found = to_rotation(np.array([(0, 0, 0, 1.0), (0, 2.0, 0, 2.0), (1.0, 0, 0, 0)]))
    np.testing.assert_allclose(found, [np.eye(3), quarter_about_y, half_about_x], atol=1e-12)


def quaternions(count: int, seed: int = 0) -> Floats:
    """(count, 4) random ones of length one."""
    drawn = np.random.default_rng(seed).normal(size=(count, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_quaternions_turn_vectors() -> None:
    given = quaternions(500)
    for quaternion, rotation in zip(given, to_rotation(given), strict=True):  # turn a vector the long way
        v, (u, w) = np.array([0.3, -2.0, 5.0]), (quaternion[:3], quaternion[3])
        turned = v + 2 * w * np.cross(u, v) + 2 * np.cross(u, np.cross(u, v))
        np.testing.assert_allclose(turned, rotation @ v, atol=1e-11)


def test_kitti_files_keep_every_digit(tmp_path: Path) -> None:
    path = wander()
    write_kitti(tmp_path / "a.txt", path)
    np.testing.assert_array_equal(read_trajectory(tmp_path / "a.txt").poses, path.poses)
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [12] * len(path)
    assert float(lines[3].split()[3]) == path.poses[3, 0, 3]  # row-major: the fourth number is x


def test_tum_files_keep_every_digit(tmp_path: Path) -> None:
    path, given = wander(), quaternions(20)
    path.poses[:, :3, :3] = to_rotation(given)
    write_rows(tmp_path / "a.txt", np.column_stack([path.seconds, path.positions, given]))
    found = read_trajectory(tmp_path / "a.txt")
    np.testing.assert_allclose(found.poses, path.poses, atol=1e-9)
    np.testing.assert_array_equal(found.seconds, path.seconds)


def test_frame_numbers_and_comments(tmp_path: Path) -> None:
    text = f"# left camera\n0 {IDENTITY}\n\n1 1 0 0 2.5 0 1 0 0 0 0 1 7e0\n"
    found = read_trajectory(write(tmp_path, text))
    np.testing.assert_array_equal(found.positions, [(0, 0, 0), (2.5, 0, 7)])
    assert found.seconds is None


TUM = "0.5 1 2 3 0 0 0 1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "poses.txt holds no poses"),
        ("# nothing\n\n", "poses.txt holds no poses"),
        ("1 2 3\n", r"line 1: a pose has 12 \(KITTI\), 13 .* or 8 \(TUM.* columns; given 3"),
        (f"{IDENTITY}\n# no\n{IDENTITY} 5\n", "line 3: 12 columns are expected, as before; given 13"),
        (f"{IDENTITY}\n1 0 0 x7 0 1 0 0 0 0 1 0\n", "line 2: 'x7' is not a number"),
        (f"{IDENTITY}\n1 0 0 nan 0 1 0 0 0 0 1 0\n", "line 2: a number is NaN or infinite"),
        (f"{IDENTITY}\n1 0 0 inf 0 1 0 0 0 0 1 0\n", "line 2: a number is NaN or infinite"),
        (f"\n{IDENTITY}\n1 0 0 0 0 1.01 0 0 0 0 1 0\n", "line 3: .* no rotation matrix"),
        (f"{IDENTITY}\n1 0 0 0 0 1 0 0 0 0 -1 0\n", "line 2: .* no rotation matrix"),
        (f"0 {IDENTITY}\n2 {IDENTITY}\n", "line 2: .* must count up by one"),
        (TUM + TUM, "line 2: times, the first column, must increase"),
        (f"{IDENTITY}\n1 0 0 0 0 1 0 -2e9 0 0 1 0\n", r"line 2: a position is beyond 1e\+09 m"),
        (TUM + "0.6 1e200 2 3 0 0 0 1\n", r"line 2: a position is beyond 1e\+09 m"),
        ("0.5 1 2 3 0 0 0 0\n", "line 1: .* no quaternion of length one"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(MediaError, match=said) as caught:
        read_trajectory(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "poses.txt") in str(caught.value)


def test_a_few_digits_are_rounding(tmp_path: Path) -> None:
    rounded = " ".join(f"{x:.4f}" for x in wander().poses[3, :3].ravel())
    assert len(read_trajectory(write(tmp_path, rounded))) == 1


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"cannot read .*none\.txt"):
        read_trajectory(tmp_path / "none.txt")
    (tmp_path / "poses.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MediaError, match="no text"):
        read_trajectory(tmp_path / "poses.txt")


def test_files_are_replaced_only_by_force(tmp_path: Path) -> None:
    path = write(tmp_path, IDENTITY)
    with pytest.raises(MediaError, match="force=True"):
        write_kitti(path, wander())
    assert path.read_text() == IDENTITY
    write_kitti(path, wander(), force=True)
    assert len(read_trajectory(path)) == 20
    assert [p.name for p in tmp_path.iterdir()] == ["poses.txt"]


def test_what_is_no_trajectory() -> None:
    with pytest.raises(OptionError, match=r"\(F, 4, 4\)"):
        Trajectory(np.zeros((3, 3, 4)))
    with pytest.raises(OptionError, match="3 poses need as many times"):
        Trajectory(np.tile(np.eye(4), (3, 1, 1)), np.zeros(2))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_no_trajectory(value: float) -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    with pytest.raises(MediaError, match="must be finite; the time of frame 1 is not"):
        Trajectory(poses, np.array([0, value, 1]))
    poses[2, 1, 3] = value
    with pytest.raises(MediaError, match="must be finite; the pose of frame 2 is not"):
        Trajectory(poses)


@pytest.mark.shared
def test_real_kitti_poses(data: Path, tmp_path: Path) -> None:
    path = read_trajectory(data / "kitti_odometry/dataset/poses/04.txt")
    assert len(path) == 271
    assert path.distances[-1] == pytest.approx(394, abs=0.5)
    write_kitti(tmp_path / "04.txt", path)
    np.testing.assert_array_equal(read_trajectory(tmp_path / "04.txt").poses, path.poses)
