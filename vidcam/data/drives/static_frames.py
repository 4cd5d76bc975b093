"""Frames at which the camera stands still: nothing about depth is to be learned from them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import Tensor

from vidcam.data.drives.drive import Drive
from vidcam.data.drives.intrinsics import read_text
from vidcam.data.drives.trajectory import Trajectory
from vidcam.errors import MediaError, OptionError
from vidcam.types import Floats


def step_meters(trajectory: Trajectory) -> Floats:
    """Return how far the camera moves from each frame to the next, (F-1,) in meters."""
    moved: Floats = np.linalg.norm(np.diff(trajectory.poses[:, :3, 3], axis=0), axis=1)
    return moved


def gray_differences(frames: Iterable[Tensor]) -> Floats:
    """Return the mean absolute difference of each frame's gray (3, H, W) to the next one's, (F-1,) in 0 to 255."""
    grays = (frame.float().mean(dim=0) for frame in frames)
    return np.array([(after - before).abs().mean().item() for before, after in pairwise(grays)])


def within_snippets(steps: Floats, length: int) -> Floats:
    """Return the mean step inside each snippet of that many frames, (F-length+1,)."""
    return np.convolve(steps, np.full(length - 1, 1 / (length - 1)), mode="valid")


def read_static_frames(path: Path, drives: Sequence[Drive]) -> list[set[int]]:
    """Read a list of frames at which the camera stands still: for every drive their indices.

    A line is KITTI's "date drive frame", "drive frame", or, for a single drive, "frame". A frame is the number in its
    picture's name, or its index where names have none. A drive is meant by its name, with a camera's number behind it
    or not, or by a folder that it is in. Lines of other drives are passed over.

    Raises:
        MediaError: the file cannot be read, or a line is malformed.
        OptionError: it names frames without their drive and there are several, or no frame of any of the drives.
    """
    standing: list[set[int]] = [set() for _ in drives]
    places = [_places(drive) for drive in drives]
    listed = 0
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        *named, number = text.split() or [""]
        if not number or number.startswith("#") or (named and named[0].startswith("#")):
            continue
        if not number.isdecimal() or len(named) > 2:
            raise MediaError(f"{path}, line {line}: 'date drive frame' or 'frame' is expected; given {text[:60]!r}")
        if not named and len(drives) > 1:
            raise OptionError(f"{path}, line {line}: of {len(drives)} drives one must be named: 'drive frame'")
        listed += 1
        for index, drive in enumerate(drives):
            if (not named or _is_meant(drive, named[-1])) and int(number) in places[index]:
                standing[index].add(places[index][int(number)])
    if listed and not any(standing):
        raise OptionError(f"{path} names no frame of {', '.join(drive.name for drive in drives[:5])}")
    return standing


def _places(drive: Drive) -> dict[int, int]:
    numbers = range(drive.frames) if drive.numbers is None else drive.numbers.tolist()
    return {number: index for index, number in enumerate(numbers)}


def _is_meant(drive: Drive, name: str) -> bool:
    """Scenes of KITTI's raw drives are called by the drive and the camera, such as 2011_09_26_drive_0001_sync_02."""
    return drive.name == name or drive.name.startswith(f"{name}_") or name in drive.source.parts
