"""Snippets: a few neighboring frames of a drive with the camera's intrinsics, to train on."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import functional as F

from vidcam.data.augmentation import draw_change
from vidcam.data.drives.drive import Drive
from vidcam.data.drives.intrinsics import read_text
from vidcam.data.preprocessing import Size, resize_frame
from vidcam.errors import MediaError, OptionError
from vidcam.media import Frame, Video, open_video
from vidcam.types import Floats, Ints

CACHE_BYTES = 512 * 2**20  # frames of 416x128 as bytes: some 3,300
MIN_GRAY_DIFFERENCE = 2.0  # of 255, in the mean over pixels and steps: else the camera stands still
REASONS = ("gap", "listed", "static")


class Snippet(NamedTuple):
    """Which frames: the index of the drive and that of its first frame."""

    drive: int
    first: int


class SnippetDataset(Dataset[dict[str, Any]]):
    """Snippets as dictionaries: clip (3, T, H, W) in -1 to 1, intrinsics (3, 3) at (H, W), both float32, drive, first.

    The target is frame T // 2. A sample depends on the seed, the epoch and its index alone, whichever process makes it.
    No snippet crosses a gap in the numbers of the pictures' names.

    Args:
        drives: with intrinsics, see `vidcam.data.drives.drive`.
        length: T, odd.
        size: (H, W) of the network's frames; the source's are resized with antialiasing.
        augment: whether to enlarge, crop and mirror at random, the same for all frames of a snippet; the intrinsics
            follow exactly.
        seed: of all chance.
        skip_static: whether to leave out snippets in which the camera stands still: by the true poses where the drive
            has them, else by the pictures, all of which are read for it.
        min_step_meters: a camera that moves less from frame to frame, in the snippet's mean, stands still.
        static_list: a file that names more frames to leave out as targets, see `read_static_frames`.
        cache_bytes: how many bytes of resized frames each process keeps.

    Raises:
        MediaError: a drive is shorter than a snippet, or its pictures or the list cannot be read.
        OptionError: no snippet is left, a drive has no intrinsics, or an argument is out of range.
    """

    def __init__(
        self,
        drives: Sequence[Drive],
        *,
        length: int = 3,
        size: Size = (128, 416),
        augment: bool = False,
        seed: int = 0,
        skip_static: bool = True,
        min_step_meters: float = 0.05,
        static_list: str | Path | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        _check(drives, length, size)
        self.drives, self.length, self.size = tuple(drives), length, size
        self.augment, self.seed = augment, seed
        self._intrinsics = [drive.intrinsics_at(*size) for drive in drives]
        self._frames = _Frames(self.drives, size, cache_bytes)
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # with worker processes, also while they live on
        self._min_step_meters = min_step_meters if skip_static else None
        self.left_out: dict[str, int] = dict.fromkeys(REASONS, 0)
        """How many snippets were left out: across a gap, with a listed target, or because the camera stands still."""
        self.snippets = tuple(self._select(static_list))
        if not self.snippets:
            raise OptionError(f"no snippet is left: {self.left_out} were left out; lower the thresholds")

    def __len__(self) -> int:
        return len(self.snippets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no snippet {index}; they are 0 to {len(self) - 1}")
        drive, first = self.snippets[index]
        frames = self._frames.read(drive, range(first, first + self.length))  # (T, 3, H, W)
        intrinsics = self._intrinsics[drive]
        if self.augment:
            rng = np.random.default_rng((self.seed, self.epoch, index))
            frames, intrinsics = draw_change(self.size, rng)(frames, intrinsics)
        clip = F.normalize(frames.float() / 255, [0.5] * 3, [0.5] * 3).transpose(0, 1).contiguous()
        return {"clip": clip, "intrinsics": torch.from_numpy(intrinsics).float(), "drive": drive, "first": first}

    @property
    def epoch(self) -> int:
        """The epoch that random changes are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw other changes from now on, in worker processes too; call it before a loader starts on the epoch."""
        self._epoch.fill_(epoch)

    def _select(self, static_list: str | Path | None) -> Iterator[Snippet]:
        """Yield the snippets to train on, and count the others."""
        nothing: list[set[int]] = [set()] * len(self.drives)
        targets = nothing if static_list is None else read_static_frames(Path(static_list), self.drives)
        for index, drive in enumerate(self.drives):
            reasons = np.zeros(drive.frames - self.length + 1, np.int64)
            reasons[self._standing(index)] = 3
            reasons[[first for first in range(len(reasons)) if first + self.length // 2 in targets[index]]] = 2
            reasons[_across_gaps(drive.numbers, self.length)] = 1
            for code, reason in enumerate(REASONS, start=1):
                self.left_out[reason] += int((reasons == code).sum())
            yield from (Snippet(index, int(first)) for first in np.flatnonzero(reasons == 0))

    def _standing(self, index: int) -> Ints:
        """Return the first frames of the snippets in which the camera stands still."""
        if self._min_step_meters is None:
            return np.empty(0, np.int64)
        trajectory = self.drives[index].trajectory
        if trajectory is not None:
            steps, least = trajectory.step_meters, self._min_step_meters
        else:
            steps, least = _gray_differences(self._frames.all_of(index)), MIN_GRAY_DIFFERENCE
        return np.flatnonzero(_within_snippets(steps, self.length) < least)


class _Frames:
    """Resized frames (3, H, W) uint8 of drives, of which the first to be read are kept in memory."""

    def __init__(self, drives: Sequence[Drive], size: Size, limit: int) -> None:
        self._drives, self._size = drives, size
        self._room = limit // (3 * size[0] * size[1])
        self._videos: dict[int, Video] = {}
        self._kept: dict[tuple[int, int], Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_videos": {}, "_kept": {}}

    def read(self, drive: int, indices: Sequence[int]) -> Tensor:
        """Return frames as (T, 3, H, W)."""
        frames = {index: self._kept[drive, index] for index in indices if (drive, index) in self._kept}
        for frame in self._video(drive).frames_at([index for index in indices if index not in frames]):
            frames[frame.index] = self._keep(drive, frame)
        return torch.stack([frames[index] for index in indices])

    def all_of(self, drive: int) -> Iterator[Tensor]:
        """Read all frames of a drive once."""
        return (self._keep(drive, frame) for frame in self._video(drive))

    def _keep(self, drive: int, frame: Frame) -> Tensor:
        small = resize_frame(frame.pixels, self._size, antialias=True).contiguous()
        if len(self._kept) < self._room:
            self._kept[drive, frame.index] = small
        return small

    def _video(self, drive: int) -> Video:
        if drive not in self._videos:
            self._videos[drive] = open_video(self._drives[drive].source)
        return self._videos[drive]


def _across_gaps(numbers: Ints | None, length: int) -> Ints:
    """Return the first frames of snippets whose pictures' numbers do not rise as they mostly do."""
    if numbers is None:
        return np.empty(0, np.int64)
    steps = np.diff(numbers)
    strange = (steps != np.median(steps)).astype(np.float64)
    return np.flatnonzero(_within_snippets(strange, length) > 0)


def _check(drives: Sequence[Drive], length: int, size: Size) -> None:
    if length < 3 or length % 2 == 0:
        raise OptionError(f"a snippet has an odd number of frames, 3 or more, its target in the middle; given {length}")
    if min(size) < 2:
        raise OptionError(f"a size is (H, W), 2 pixels or more; given {size}")
    if not drives:
        raise OptionError("there are no drives to take snippets from")
    for drive in drives:
        if drive.frames < length:
            raise MediaError(f"the drive {str(drive.source)!r} has {drive.frames} frames; a snippet needs {length}")


def _gray_differences(frames: Iterable[Tensor]) -> Floats:
    """Return the mean absolute difference of each frame's gray (3, H, W) to the next one's, (F-1,) in 0 to 255."""
    grays = (frame.float().mean(dim=0) for frame in frames)
    return np.array([(after - before).abs().mean().item() for before, after in pairwise(grays)])


def _within_snippets(steps: Floats, length: int) -> Floats:
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
