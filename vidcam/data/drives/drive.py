"""Drives: a camera's pictures along a road with its intrinsics and, where they are known, its true poses.

KITTI's own layout, SfMLearner's prepared scenes, any folder of pictures and any video are read.
"""

import os
import re
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vidcam.data.collection import some
from vidcam.data.drives.intrinsics import calibrated, numbers, parse_intrinsics, read_intrinsics, read_text, resized
from vidcam.data.drives.listing import listed
from vidcam.data.drives.trajectory import Trajectory, read_trajectory
from vidcam.errors import MediaError, OptionError, not_there, unknown
from vidcam.media import Video, open_video
from vidcam.media.folder import natural, pictures
from vidcam.media.timeline import moment
from vidcam.types import Floats, Ints

CAMERA = re.compile(r"image_\d+")
PREFERRED = "image_2"  # the left color camera


@dataclass(frozen=True, eq=False)
class Drive:
    """A drive's pictures, each with the camera's pose where that is known."""

    name: str
    source: Path
    """A folder of pictures or a video: what `vidcam.media.open_video` takes."""
    width: int
    height: int
    frames: int
    intrinsics: Floats | None = None
    """(3, 3) at the source's pixels."""
    trajectory: Trajectory | None = None
    """The true poses, one per frame. KITTI gives those of its camera 0 for all four cameras."""
    seconds: Floats | None = None
    """(F,), strictly increasing."""
    truth: Path | None = None
    """The folder that holds depth/ and masks/ of a synthetic drive."""
    rate: Fraction | None = None
    """Frames per second, the mean where times are given; None for pictures without times."""
    numbers: Ints | None = field(default=None, repr=False)
    """(F,), increasing: the numbers in the pictures' names; None for a video, or for names without them."""

    def intrinsics_at(self, height: int, width: int) -> Floats:
        """Return the intrinsics (3, 3) for the frames resized to that size; an OptionError if they are not known."""
        if self.intrinsics is None:
            how = "give them as 'fx,fy,cx,cy' in pixels or as a file of 3 by 3 numbers"
            raise OptionError(f"the camera's intrinsics are not known for {str(self.source)!r}; {how}")
        return resized(self.intrinsics, width / self.width, height / self.height)


def open_drive(
    path: str | Path,
    *,
    camera: str | None = None,
    intrinsics: npt.ArrayLike | str | Path | None = None,
    poses: str | Path | None = None,
) -> Drive:
    """Find what belongs to a drive; pictures are read when they are asked for, but all headers, the first and the last.

    Poses and times may have more rows than there are pictures, as where only a sequence's beginning was copied: then
    the numbers in the pictures' names tell the rows.

    Args:
        path: a KITTI folder sequences/NN, a prepared scene (cam.txt and pictures), a folder of pictures or a video.
        camera: in KITTI's layout the folder of pictures; image_2 if it is there, else the first.
        intrinsics: in the place of the drive's own: (3, 3), "fx,fy,cx,cy" in pixels, or a file of 3 by 3 numbers.
        poses: in the place of the drive's own: a file that `read_trajectory` takes.

    Raises:
        MediaError: a file is missing or malformed, or the numbers of pictures, poses and times do not fit.
        OptionError: a camera that is not there, or intrinsics that are none.
    """
    if not isinstance(path, str | os.PathLike):
        raise OptionError(f"a drive is a folder or a video and what lies beside it; given {type(path).__name__}")
    if not os.path.exists(path):
        raise MediaError(not_there(path))
    place = Path(os.path.abspath(path))
    if CAMERA.fullmatch(place.name) and is_sequence(place.parent):
        place, camera = place.parent, camera or place.name
    if (place / "sequences").is_dir():
        raise MediaError(f"{str(path)!r} is a whole data set; open one of {_inside(place / 'sequences')} in sequences/")
    given = None if intrinsics is None else parse_intrinsics(intrinsics)
    if is_sequence(place):
        return _sequence(place, _camera(place, camera), given, poses)
    if camera is not None:
        raise OptionError(f"the camera {camera!r} can be chosen in KITTI's layout only; {str(path)!r} has another")
    return _scene(place, given, poses)


def find_drives(path: str | Path, *, split: str | None = None, camera: str | None = None) -> list[Drive]:
    """Open all drives of a data set, or the only one.

    Args:
        path: a KITTI folder `dataset`, a root of scenes, a drives.csv (see `vidcam.data.drives.listing`), or one drive.
        split: train, val or test, where the drives.csv or lists such as train.txt tell them apart; None takes all.
        camera: in KITTI's layout, see `open_drive`.

    Raises:
        MediaError: there is no drive, or one of them cannot be opened, see `open_drive`.
        OptionError: the split is not told of.
    """
    path = Path(path)
    named = listed(path, split)
    if named is not None:
        return [open_drive(place, camera=own or camera) for place, own in named]
    if split is not None:
        lacking = f"{str(path)!r} holds no {split}.txt and is no drives.csv"
        raise OptionError(f"the split {split!r} is not told of: {lacking}")
    places = _drives_in(path / "sequences" if (path / "sequences").is_dir() else path)
    return [open_drive(place, camera=camera) for place in places or [path]]


def is_sequence(folder: Path) -> bool:
    """Tell whether a folder is in the layout of KITTI's sequences/NN."""
    return (folder / "calib.txt").is_file() or bool(_cameras(folder))


def _drives_in(folder: Path) -> list[Path]:
    """List the sequences and scenes in a folder; none if it is one itself."""
    if not folder.is_dir() or is_sequence(folder) or _has_pictures(folder):
        return []
    inside = sorted((place for place in folder.iterdir() if place.is_dir() and place.name[0] != "."), key=natural)
    drives = [place for place in inside if is_sequence(place) or _has_pictures(place)]
    if not drives:
        raise MediaError(f"there is no drive in {str(folder)!r}; it holds {_inside(folder)}")
    return drives


def _has_pictures(folder: Path) -> bool:
    try:
        return bool(pictures(folder))
    except MediaError:
        return False


def _cameras(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.glob("image_*") if CAMERA.fullmatch(place.name) and place.is_dir())


def _camera(folder: Path, camera: str | None) -> str:
    present = _cameras(folder)
    if not present:
        raise MediaError(f"{str(folder)!r} has no folder of pictures image_0 to image_3; it holds {_inside(folder)}")
    if camera is not None and camera not in present:
        raise OptionError(f"{str(folder)!r}: {unknown('camera', camera, present)}")
    return camera or (PREFERRED if PREFERRED in present else present[0])


def _sequence(folder: Path, camera: str, given: Floats | None, poses: str | Path | None) -> Drive:
    """Open a drive in KITTI's layout."""
    intrinsics = calibrated(folder / "calib.txt", camera) if given is None else given
    return _drive(folder, folder / camera, intrinsics, poses, folder.parent.parent / "poses" / f"{folder.name}.txt")


def _scene(place: Path, given: Floats | None, poses: str | Path | None) -> Drive:
    """Open a prepared scene, a folder of pictures or a video."""
    if given is None and (place / "cam.txt").is_file():
        given = read_intrinsics(place / "cam.txt")
    return _drive(place, place, given, poses, place / "poses.txt")


def _drive(home: Path, source: Path, intrinsics: Floats | None, poses: str | Path | None, own_poses: Path) -> Drive:
    poses = poses or (own_poses if own_poses.is_file() else None)
    with open_video(source) as video:
        info = video.info
        if source.is_dir():
            files = pictures(source)
            _check_pictures(video, files)
            frames, counted = len(files), _numbers(files)
            seconds = _seconds(home / "times.txt", frames, counted)
        else:
            seconds, counted = np.array(video.times()), None
            frames = len(seconds)
    trajectory = None if poses is None else _trajectory(Path(poses), frames, counted, seconds)
    return Drive(
        name=home.name if home.is_dir() else home.stem,
        source=source,
        width=info.width,
        height=info.height,
        frames=frames,
        intrinsics=intrinsics,
        trajectory=trajectory,
        seconds=seconds,
        truth=home if (home / "depth").is_dir() or (home / "masks").is_dir() else None,
        rate=_rate(seconds) if source.is_dir() else info.rate,
        numbers=counted,
    )


def _check_pictures(video: Video, files: list[Path]) -> None:
    """Raise a MediaError where a picture has another size or cannot be read, as far as headers tell before any work."""
    sizes = [_size(file) for file in files]
    strange = [index for index, size in enumerate(sizes) if size is None or size != sizes[0]]
    for index in (0, len(files) - 1, *strange):
        video.frames_at([index])  # decoded, pictures that were turned by their headers may be alike all the same


def _size(file: Path) -> tuple[int, int] | None:
    """Read (width, height) from a header; None where that cannot be done."""
    try:
        with Image.open(file) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _numbers(files: list[Path]) -> Ints | None:
    """Return the last number of every name, if they increase."""
    digits = [re.findall(r"\d+", file.stem) for file in files]
    if not all(digits):
        return None
    # Far more digits than a frame's number has: a time of day, or a digest.
    values = [int(last) if len(last) < 19 else -1 for *_, last in digits]
    increasing = all(before < after for before, after in pairwise(values))
    return np.array(values, dtype=np.int64) if increasing and values[0] >= 0 else None


def _trajectory(path: Path, frames: int, counted: Ints | None, seconds: Floats | None) -> Trajectory:
    read = read_trajectory(path)
    rows = _rows(len(read), frames, counted, f"{path} has {len(read)} poses")
    return Trajectory(read.poses[rows], seconds if read.seconds is None else read.seconds[rows])


def _seconds(path: Path, frames: int, counted: Ints | None) -> Floats | None:
    if not path.is_file():
        return None
    seconds = numbers(read_text(path))
    if seconds is None:
        raise MediaError(f"{path}: one number of seconds per line is expected")
    seconds = seconds[_rows(len(seconds), frames, counted, f"{path} has {len(seconds)} times")]
    late = np.flatnonzero(np.diff(seconds) <= 0)
    if late.size:
        before, after = seconds[late[0]], seconds[late[0] + 1]
        raise MediaError(f"{path}: times must increase; {moment(after, 6)} s comes after {moment(before, 6)} s")
    return seconds


def _rows(count: int, frames: int, counted: Ints | None, what: str) -> Ints:
    """Return the rows that belong to the pictures: all in order, or by the pictures' numbers if there are more."""
    if count == frames:
        return np.arange(frames)
    if count > frames and counted is not None and counted[-1] < count:
        return counted
    names = "" if counted is None else f", numbered {counted[0]} to {counted[-1]}"
    raise MediaError(f"{what} for {frames} pictures{names}; as many are needed, or more that their numbers count")


def _rate(seconds: Floats | None) -> Fraction | None:
    if seconds is None or len(seconds) < 2:
        return None
    return Fraction((len(seconds) - 1) / float(seconds[-1] - seconds[0])).limit_denominator(1001)


def _inside(folder: Path) -> str:
    inside = (place.name for place in sorted(folder.iterdir(), key=natural) if place.name[0] != ".")
    return some(inside, most=8) or "nothing"
