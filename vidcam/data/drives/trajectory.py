"""Trajectories: where a camera was at every frame; pose files of KITTI and of the TUM benchmark."""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidcam.data.drives.intrinsics import read_text
from vidcam.errors import MediaError, OptionError
from vidcam.media import replacing
from vidcam.types import Floats

Rows = dict[int, list[str]]  # columns by the line's number

ROUNDING = 1e-3
"""How far a file's rotation may be from one, in any entry of its product with its transpose: for a few digits only."""
FARTHEST = 1e9
"""Meters that a file's positions may be from zero; beyond, sums of squares and digits run out."""
KITTI, NUMBERED, TUM = 12, 13, 8
FORMS = f"{KITTI} (KITTI), {NUMBERED} (KITTI after the frame's number) or {TUM} (TUM: stamp tx ty tz qx qy qz qw)"


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A camera's pose at every frame, from the camera (x right, y down, z forward, in meters) to a fixed world.

    Raises:
        OptionError: arrays of other shapes.
        MediaError: a pose or a time is NaN or infinite.
    """

    poses: Floats
    """(F, 4, 4)."""
    seconds: Floats | None = None
    """(F,)."""

    def __post_init__(self) -> None:
        if self.poses.ndim != 3 or self.poses.shape[1:] != (4, 4) or not len(self.poses):
            raise OptionError(f"a trajectory has poses of shape (F, 4, 4), F at least 1; given {self.poses.shape}")
        if self.seconds is not None and self.seconds.shape != self.poses.shape[:1]:
            raise OptionError(f"{len(self.poses)} poses need as many times; given {self.seconds.shape}")
        for name, values in (("pose", self.poses), ("time", self.seconds)):
            if values is not None and not np.isfinite(values).all():
                first = int(np.argwhere(~np.isfinite(values))[0, 0])
                raise MediaError(f"a trajectory's poses and times must be finite; the {name} of frame {first} is not")

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def positions(self) -> Floats:
        """(F, 3) where the camera was, in meters."""
        return self.poses[:, :3, 3]

    @property
    def steps(self) -> Floats:
        """(F-1, 4, 4) the pose of each frame's successor, seen from the frame: inv(T_i) T_{i+1}."""
        return np.linalg.inv(self.poses[:-1]) @ self.poses[1:]

    @property
    def step_meters(self) -> Floats:
        """(F-1,) meters from each frame to the next."""
        moved: Floats = np.linalg.norm(np.diff(self.positions, axis=0), axis=1)
        return moved

    @property
    def distances(self) -> Floats:
        """(F,) meters driven until each frame."""
        return np.concatenate([[0.0], np.cumsum(self.step_meters)])

    def rebased(self) -> "Trajectory":
        """Take the first frame's camera for the world."""
        return Trajectory(np.linalg.inv(self.poses[0]) @ self.poses, self.seconds)


def chained(steps: Floats, seconds: Floats | None = None) -> Trajectory:
    """Go from the identity along steps (F-1, 4, 4), the inverse of `Trajectory.steps`."""
    return Trajectory(np.stack([*accumulate(steps, np.matmul, initial=np.eye(4))]), seconds)


def read_trajectory(path: str | Path) -> Trajectory:
    """Read a pose file: rows of 12 numbers [R|t], of 13 with the frame's number before them, or of 8, which are TUM's.

    Lines that begin with `#` are comments.

    Raises:
        MediaError: the file cannot be read, holds no poses, or has a malformed row; the message names the line.
    """
    path = Path(path)
    rows = _rows(path)
    values = np.array([[_number(path, line, column) for column in columns] for line, columns in rows.items()])
    _refuse(path, rows, ~np.isfinite(values).all(axis=1), "a number is NaN or infinite")
    poses, seconds = (_read_tum if values.shape[1] == TUM else _read_kitti)(path, rows, values)
    _refuse(path, rows, np.abs(poses[:, :3, 3]).max(axis=1) > FARTHEST, f"a position is beyond {FARTHEST:.0e} m")
    return Trajectory(poses, seconds)


def write_kitti(path: str | Path, trajectory: Trajectory, *, force: bool = False) -> None:
    """Write rows of 12 numbers [R|t], with all their digits, see `replacing`."""
    with replacing(path, force=force) as part:
        write_rows(part, trajectory.poses[:, :3].reshape(-1, KITTI))


def write_rows(path: Path, rows: Floats) -> None:
    """Write numbers (N, columns) with all their digits: repr is the shortest text that reads back as the same one."""
    path.write_text("".join(" ".join(map(repr, row)) + "\n" for row in rows.tolist()), encoding="utf-8")


def _rows(path: Path) -> Rows:
    """Split the file into columns; all rows have as many as the first one."""
    split = enumerate(map(str.split, read_text(path).splitlines()), start=1)
    rows = {line: columns for line, columns in split if columns and not columns[0].startswith("#")}
    if not rows:
        raise MediaError(f"{path} holds no poses; a row has {FORMS} columns")
    first, wanted = next((line, len(columns)) for line, columns in rows.items())
    if wanted not in (KITTI, NUMBERED, TUM):
        raise MediaError(f"{path}, line {first}: a pose has {FORMS} columns; given {wanted}")
    for line, columns in rows.items():
        if len(columns) != wanted:
            raise MediaError(f"{path}, line {line}: {wanted} columns are expected, as before; given {len(columns)}")
    return rows


def _number(path: Path, line: int, column: str) -> float:
    try:
        return float(column)
    except ValueError:
        raise MediaError(f"{path}, line {line}: {column[:40]!r} is not a number") from None


def _read_kitti(path: Path, rows: Rows, values: Floats) -> tuple[Floats, None]:
    if values.shape[1] == NUMBERED:
        jumps = values[:, 0] != values[0, 0] + np.arange(len(values))
        _refuse(path, rows, jumps, "the frames' numbers, the first of 13 columns, must count up by one")
    upper = values[:, -KITTI:].reshape(-1, 3, 4)
    rotations = upper[:, :, :3]
    off = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    wrong = (off > ROUNDING) | (np.linalg.det(rotations) <= 0)
    _refuse(path, rows, wrong, "the first three of every four columns are no rotation matrix")
    return _poses(rotations, upper[:, :, 3]), None


def _read_tum(path: Path, rows: Rows, values: Floats) -> tuple[Floats, Floats]:
    seconds, positions, quaternions = values[:, 0], values[:, 1:4], values[:, 4:]
    _refuse(path, rows, np.diff(seconds, prepend=-np.inf) <= 0, "times, the first column, must increase")
    wrong = np.abs(np.linalg.norm(quaternions, axis=1) - 1) > ROUNDING
    _refuse(path, rows, wrong, "the last four columns are no quaternion of length one")
    return _poses(to_rotation(quaternions), positions), seconds


def to_rotation(quaternions: Floats) -> Floats:
    """Turn quaternions (F, 4): x, y, z, w, normalized first, into matrices (F, 3, 3)."""
    x, y, z, w = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.moveaxis(np.array(rows), 2, 0)


def _poses(rotations: Floats, positions: Floats) -> Floats:
    """(F, 3, 3) and (F, 3) -> (F, 4, 4)"""
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotations, positions
    return poses


def _refuse(path: Path, rows: Rows, wrong: NDArray[np.bool_], why: str) -> None:
    """Name the first row that is wrong."""
    if wrong.any():
        raise MediaError(f"{path}, line {[*rows][wrong.argmax()]}: {why}")
