"""Synthetic drives as files in KITTI's layout, the truth beside the pictures."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vidcam.data.synthetic.driving import CLASSES, SyntheticDrive, World, build_world
from vidcam.errors import MediaError
from vidcam.media import replacing
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
        classes = _read_gray(mask)
    except (OSError, ValueError, EOFError, StopIteration) as error:
        raise MediaError(f"cannot read the truth of frame {frame} in {folder}: {_reason(error)}") from None
    if meters.shape != classes.shape or meters.dtype != np.float32 or classes.max() >= len(CLASSES):
        raise MediaError(f"{depth} and {mask} are not depth (float32) and classes (below {len(CLASSES)}) of one frame")
    return meters, classes


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


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
        for parent in (folder.parent, poses.parent):
            parent.mkdir(parents=True, exist_ok=True)
        with _replacing_folder(folder) as part, replacing(poses, force=True) as text:
            _write_frames(part, drive)
            (part / "calib.txt").write_text(_calibration(drive.intrinsics))
            (part / "times.txt").write_text("".join(f"{second:.6e}\n" for second in drive.seconds))
            text.write_text("".join(_row(pose[:3]) + "\n" for pose in drive.poses))
    except OSError as error:
        raise MediaError(f"cannot write the drive {name!r} to {root}: {_reason(error)}") from None
    return folder


@contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `folder` when all went well and is removed otherwise."""
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    part.mkdir()
    try:
        yield part
        _swap(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _swap(part: Path, folder: Path) -> None:
    """Put `part` in the place of `folder`, which is deleted only when that has succeeded."""
    if not os.path.lexists(folder):
        os.replace(part, folder)
        return
    aside = part.with_suffix(".old")
    os.replace(folder, aside)
    try:
        os.replace(part, folder)
    except BaseException:
        os.replace(aside, folder)
        raise
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink()


def _write_frames(folder: Path, drive: SyntheticDrive | World) -> None:
    for kind in ("image_2", "depth", "masks"):
        (folder / kind).mkdir()
    for index in range(len(drive)):
        frame = drive[index]
        _write_png(folder / "image_2" / f"{index:06d}.png", frame.pixels)
        np.save(folder / "depth" / f"{index:06d}.npy", frame.depth)
        _write_png(folder / "masks" / f"{index:06d}.png", frame.classes)


def _write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write RGB `(H, W, 3)` or gray `(H, W)`."""
    kind = "rgb24" if picture.ndim == 3 else "gray"
    encoder = VideoCodecContext.create("png", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = kind, Fraction(1)
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=kind)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for given in (frame, None) for packet in encoder.encode(given)))


def _read_gray(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as picture:
        return np.asarray(next(picture.decode(video=0)).to_ndarray(format="gray"), np.uint8)


def _calibration(intrinsics: Floats) -> str:
    projection = _row(np.column_stack([intrinsics, np.zeros(3)]))
    laser = _row(np.array([(0.0, -1, 0, 0), (0, 0, -1, 0), (1, 0, 0, 0)]))  # x forward, y left, z up
    return "".join(f"P{camera}: {projection}\n" for camera in range(4)) + f"Tr: {laser}\n"


def _row(matrix: Floats) -> str:
    """Write `(3, 4)` in a row, with all digits: what is read is what was computed."""
    return " ".join(f"{value:.16e}" for value in np.ravel(matrix).tolist())
