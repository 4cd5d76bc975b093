"""Which snippets of which drives a pose network learns from, and which ones validate it."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from vidcam.data.drives.drive import Drive, find_drives
from vidcam.data.drives.intrinsics import parse_intrinsics
from vidcam.data.drives.listing import read_drives
from vidcam.data.drives.snippets import SnippetDataset
from vidcam.errors import OptionError, unknown
from vidcam.odometry.training.settings import OdometrySettings

SHARE = 0.1  # of each drive's frames, where nothing tells which ones validate


class Snippets(Subset[dict[str, Any]]):
    """Some of a data set's snippets."""

    dataset: SnippetDataset

    def set_epoch(self, epoch: int) -> None:
        """Draw other changes from now on."""
        self.dataset.set_epoch(epoch)


@dataclass(frozen=True)
class Stretch:
    """The last frames of a drive, from the first of them on."""

    drive: Drive
    first: int = 0


@dataclass(frozen=True)
class SplitDrives:
    """Snippets to learn from and to validate with."""

    train: Snippets
    validation: Snippets | None
    drives: tuple[Drive, ...]
    """Those to learn from."""
    measured: tuple[Stretch, ...]
    """What the poses are measured on: the frames that validate, or all where none do."""
    how: str
    """How the frames that validate were chosen, in words."""

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a resumed run must find again."""
        counts = {"train": len(self.train), "validation": len(self.validation) if self.validation else 0}
        return {"drives": [[drive.name, drive.frames] for drive in self.drives], "snippets": counts}


def split_drives(data: Sequence[str | Path], settings: OdometrySettings) -> SplitDrives:
    """Find the drives and split them; a drive that is given more than once counts once.

    By the settings' `validation`: the drives of these names validate, or "none"; None takes those that val.txt or a
    drives.csv tells, and where nothing is told the last tenth of each drive's frames, none of which is in a snippet to
    learn from.

    Raises:
        OptionError: no drive has that name, none is left to learn from, or one has no intrinsics.
        MediaError: there is no drive, or one is shorter than a snippet or cannot be read.
    """
    train, validation, how = _told(data, settings)
    if settings.intrinsics is not None:
        own = parse_intrinsics(settings.intrinsics)
        train, validation = ([replace(drive, intrinsics=own) for drive in drives] for drives in (train, validation))
    if not train:
        raise OptionError(f"no drive is left to learn from: {how}")
    learned = _dataset(train, settings, augment=settings.augment)
    if validation:
        tested = _dataset(validation, settings, augment=False)
        whole = tuple(Stretch(drive) for drive in validation)
        return SplitDrives(_all(learned), _all(tested), tuple(train), whole, how)
    if settings.validation is None:
        return _last_frames(learned)
    return SplitDrives(_all(learned), None, tuple(train), tuple(Stretch(drive) for drive in train), how)


def _told(data: Sequence[str | Path], settings: OdometrySettings) -> tuple[list[Drive], list[Drive], str]:
    """Return the drives to learn from, those that validate as far as they are told, and who tells."""
    roots, camera, wanted = [Path(path) for path in data], settings.camera, settings.validation
    if wanted is None or isinstance(wanted, str):
        told = [root for root in dict.fromkeys(roots) if wanted is None and _tells(root, "val")]
        validation = _once(drive for root in told for drive in find_drives(root, split="val", camera=camera))
        train = _once(_to_learn(roots, camera), but=validation)
        return train, validation, f"the drives that {', '.join(map(str, told))} lists for it" if told else "none"
    drives = [drive for root in roots for drive in find_drives(root, camera=camera)]
    known = list(dict.fromkeys(drive.name for drive in drives))
    for name in wanted:
        if name not in known:
            raise OptionError(unknown("drive to validate with", name, known))
    validation = _once(drive for drive in drives if drive.name in wanted)
    return _once(drives, but=validation), validation, f"drives {', '.join(wanted)}"


def _once(drives: Iterable[Drive], *, but: Sequence[Drive] = ()) -> list[Drive]:
    """Leave out drives whose pictures are those of an earlier one, or of one in `but`."""
    taken = {drive.source.resolve() for drive in but}
    first: dict[Path, Drive] = {}
    for drive in drives:
        first.setdefault(drive.source.resolve(), drive)
    return [drive for place, drive in first.items() if place not in taken]


def _to_learn(roots: Sequence[Path], camera: str | None) -> list[Drive]:
    """Find the drives to learn from; of a root that does not tell them apart, all."""
    splits = ["train" if _tells(root, "train") else None for root in roots]
    pairs = zip(roots, splits, strict=True)
    return [drive for root, split in pairs for drive in find_drives(root, split=split, camera=camera)]


def _tells(root: Path, split: str) -> bool:
    if root.suffix.lower() == ".csv":
        return split in {row.split for row in read_drives(root)}
    return (root / f"{split}.txt").is_file()


def _dataset(drives: Sequence[Drive], settings: OdometrySettings, *, augment: bool) -> SnippetDataset:
    return SnippetDataset(
        drives,
        length=settings.length,
        size=settings.size,
        augment=augment,
        seed=settings.seed,
        skip_static=settings.skip_static,
        static_list=settings.static_list,
    )


def _all(dataset: SnippetDataset) -> Snippets:
    return Snippets(dataset, range(len(dataset)))


def _last_frames(learned: SnippetDataset) -> SplitDrives:
    """Take the last frames of each drive that is long enough to validate."""
    drives, length = learned.drives, learned.length
    cuts = [_cut(drive.frames, length) for drive in drives]
    train = [i for i, (drive, first) in enumerate(learned.snippets) if first + length <= cuts[drive]]
    validation = [i for i, (drive, first) in enumerate(learned.snippets) if first >= cuts[drive]]
    if not train or not validation:
        everything = tuple(Stretch(drive) for drive in drives)
        return SplitDrives(_all(learned), None, drives, everything, "none: the drives are too short")
    still = copy.copy(learned)  # shares the frames that are in memory
    still.augment = False
    stretches = tuple(Stretch(drive, cut) for drive, cut in zip(drives, cuts, strict=True) if cut < drive.frames)
    how = f"the last {SHARE:.0%} of each drive's frames"
    return SplitDrives(Snippets(learned, train), Snippets(still, validation), drives, stretches, how)


def _cut(frames: int, length: int) -> int:
    """Return the first of the last frames; of a drive with too few frames, there is none."""
    last = max(length, round(SHARE * frames))
    return frames - last if frames - last >= length else frames
