"""Synthetic drives as files in KITTI's layout, the truth beside the pictures."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidcam.data.drives.trajectory import Trajectory, write_kitti
from vidcam.data.synthetic.driving import CLASSES, SyntheticDrive, World, build_world
from vidcam.errors import MediaError
from vidcam.media.files import replacing_folder
from vidcam.media.source import reason
from vidcam.types import Floats

Drawn = SyntheticDrive | World | int
SEPARATORS = "/\\\0"  # of paths, on any system, and what ends a path


def write_drives(root: str | Path, drives: Mapping[str, Drawn], *, force: bool = False) -> list[Path]:
    """Write drives as KITTI odometry sequences and give their folders.

    Worlds are rendered as they are written, in constant memory; a number is the seed of a world of 100 frames.

    Below `root`, `sequences/NAME` holds `image_2/000000.png` and so on, `calib.txt`, `times.txt`, and of each frame
    `depth/000000.npy` (`(H, W)` float32, metres along the optical axis, infinite in the sky) and `masks/000000.png`
    (gray levels are indices into `CLASSES`); `poses/NAME.txt` holds the poses. All four cameras of `calib.txt` are the
    same one.

    Raises:
        MediaError: a drive of that name exists and `force` is not set, it cannot be written, or a name is no plain one.
    """
    root = Path(root)
    for name in drives:
        _check(root, name, force=force)
    return [_write(root, name, drive) for name, drive in drives.items()]


def read_truth(folder: str | Path, frame: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Read depth `(H, W)` in metres and indices into `CLASSES` `(H, W)` of a frame of a written drive.

    Raises:
        MediaError: there is no truth of that frame, or it is none.
    """
    depth, mask = Path(folder) / "depth" / f"{frame:06d}.npy", Path(folder) / "masks" / f"{frame:06d}.png"
    try:
        meters = np.load(depth, allow_pickle=False)
        with Image.open(mask) as picture:
            classes = np.asarray(picture.convert("L"))
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise MediaError(f"cannot read the truth of frame {frame} in {folder}: {reason(error)}") from None
    if meters.shape != classes.shape or meters.dtype != np.float32 or classes.max() >= len(CLASSES):
        raise MediaError(f"{depth} and {mask} are not depth (float32) and classes (below {len(CLASSES)}) of one frame")
    return meters, classes


def _check(root: Path, name: str, *, force: bool) -> None:
    """Refuse before any work is done."""
    if name in ("", ".", "..") or name != name.strip() or any(character in name for character in SEPARATORS):
        raise MediaError(f"{name!r} cannot be the name of a drive; possible: a plain file name such as '00'")
    for path in (root / "sequences" / name, root / "poses" / f"{name}.txt"):
        if os.path.lexists(path) and not force:
            raise MediaError(f"{path} exists already; use force=True to replace it")


def _write(root: Path, name: str, drawn: Drawn) -> Path:
    drive = build_world(drawn) if isinstance(drawn, int) else drawn
    folder, poses = root / "sequences" / name, root / "poses" / f"{name}.txt"
    try:
        poses.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(folder) as part:
            _write_frames(part, drive)
            (part / "calib.txt").write_text(_calibration(drive.intrinsics))
            (part / "times.txt").write_text("".join(f"{second:.6e}\n" for second in drive.seconds))
            write_kitti(poses, Trajectory(drive.poses), force=True)
    except OSError as error:
        raise MediaError(f"cannot write the drive {name!r} to {root}: {reason(error)}") from None
    return folder


def _write_frames(folder: Path, drive: SyntheticDrive | World) -> None:
    for kind in ("image_2", "depth", "masks"):
        (folder / kind).mkdir()
    for index in range(len(drive)):
        frame = drive[index]
        Image.fromarray(frame.pixels).save(folder / "image_2" / f"{index:06d}.png")
        np.save(folder / "depth" / f"{index:06d}.npy", frame.depth)
        Image.fromarray(frame.classes).save(folder / "masks" / f"{index:06d}.png")


def _calibration(intrinsics: Floats) -> str:
    projection = _row(np.column_stack([intrinsics, np.zeros(3)]))
    laser = _row(np.array([(0.0, -1, 0, 0), (0, 0, -1, 0), (1, 0, 0, 0)]))  # x forward, y left, z up
    return "".join(f"P{camera}: {projection}\n" for camera in range(4)) + f"Tr: {laser}\n"


def _row(matrix: Floats) -> str:
    """Write `(3, 4)` in a row, with all digits: what is read is what was computed."""
    return " ".join(f"{value:.16e}" for value in np.ravel(matrix).tolist())
