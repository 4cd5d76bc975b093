"""Lists of drives: drives.csv, and the train.txt and val.txt of prepared scenes."""

import csv
import os
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from vidcam.data.drives.intrinsics import read_text
from vidcam.errors import MediaError, OptionError, unknown
from vidcam.media import replacing

COLUMNS = ("path", "camera", "split")
SPLITS = ("train", "val", "test")


class ListedDrive(NamedTuple):
    """A row of drives.csv: the drive's folder, in KITTI's layout the camera or else "", and train, val or test."""

    path: Path
    camera: str
    split: str


def listed(path: Path, split: str | None) -> list[tuple[Path, str | None]] | None:
    """Return the folders that a drives.csv, or a root's lists such as train.txt, name, each with its camera.

    A split of None takes all. None is returned if the path is no drives.csv and holds no such list.

    Raises:
        MediaError: a list is malformed or names a folder that is not there.
        OptionError: the split is not told of, or holds nothing.
    """
    if path.suffix.lower() == ".csv":
        rows = read_drives(path)
        wanted = [(row.path, row.camera or None) for row in rows if split in (None, row.split)]
        if not wanted:
            raise OptionError(f"{path}: {unknown('split', split, dict.fromkeys(row.split for row in rows))}")
        return wanted
    files = [path / f"{name}.txt" for name in SPLITS if (path / f"{name}.txt").is_file()]
    if not files:
        return None
    chosen = [file for file in files if split in (None, file.stem)]
    if not chosen:
        raise OptionError(f"{path}: {unknown('split', split, [file.stem for file in files])}")
    # A scene that two lists name is opened once.
    return [(place, None) for place in dict.fromkeys(place for file in chosen for place in _scenes(file))]


def read_drives(path: Path) -> list[ListedDrive]:
    """Read a drives.csv; its paths are relative to its folder.

    Raises:
        MediaError: it cannot be read, has other columns, no rows, or names a folder that is not there.
    """
    lines = csv.reader(StringIO(read_text(path)))
    if tuple(next(lines, ())) != COLUMNS:
        raise MediaError(f"{path}: the first line must be {','.join(COLUMNS)}")
    rows = [_row(path, lines.line_num, cells) for cells in lines if cells]
    if not rows:
        raise MediaError(f"{path} lists no drives")
    return rows


def write_drives(rows: Iterable[ListedDrive], path: Path, *, force: bool = False) -> None:
    """Write a drives.csv, see `replacing`; paths become relative to its folder."""
    home = path.parent.resolve()
    with replacing(path, force=force) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow((Path(os.path.relpath(row.path.resolve(), home)).as_posix(), row.camera, row.split))


def _row(path: Path, line: int, cells: list[str]) -> ListedDrive:
    if len(cells) != len(COLUMNS) or cells[2] not in SPLITS:
        wanted = f"{','.join(COLUMNS)} with a split of {', '.join(SPLITS)}"
        raise MediaError(f"{path}, line {line}: {wanted} are expected; given {','.join(cells)[:80]!r}")
    place = path.parent / cells[0]
    if not place.exists():
        raise MediaError(f"{path}, line {line}: there is no drive {str(place)!r}")
    return ListedDrive(place, cells[1], cells[2])


def _scenes(file: Path) -> list[Path]:
    """Return the folders that a list names, in its own folder or, in KITTI's layout, in sequences/."""
    folders = []
    for line, name in enumerate((text.strip() for text in read_text(file).splitlines()), start=1):
        places = [file.parent / name, file.parent / "sequences" / name]
        if name and not any(place.is_dir() for place in places):
            raise MediaError(f"{file}, line {line}: there is no folder {str(places[0])!r}")
        if name:
            folders.append(next(place for place in places if place.is_dir()))
    if not folders:
        raise MediaError(f"{file} lists no drives")
    return folders
