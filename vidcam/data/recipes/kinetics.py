"""Kinetics-400, -600 or -700, actions in web videos (Kay and others 2017).

ROOT holds the videos, in any of the usual layouts (train/ID_START_END.mp4, videos_train/CLASS/ID_START_END.mp4,
train/CLASS/ID.mp4 ...), and lists of them in ROOT or ROOT/annotations:

  train.csv, val.csv or validate.csv, test.csv  with a header that names
      label, youtube_id, time_start, time_end, split
  any *.csv or *.txt without a header           lines of "PATH LABEL" or
      "PATH FRAMES LABEL", LABEL a number

Without lists the folders train/CLASS, val/CLASS and so on decide. Classes are recognized by name, however they are
spelled: those of Kinetics-400 get the names and the order of torchvision's weights, others stand in sorted order.

Example:

    vidcam manifest kinetics KINETICS --output manifest.csv --classes 400

Kinetics-400: 246534 train, 19906 val, 39805 test in the lists, some of which have left YouTube since.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidcam.data.checking import looked
from vidcam.data.collection import SIDES, SUFFIXES, Collection, doubts, existing, firsts, read_lines, subfolders
from vidcam.data.manifest import Row, match_labels, weight_labels
from vidcam.data.sampling import ClipSource
from vidcam.errors import MediaError, OptionError, unknown
from vidcam.media import each

WEIGHTS = "R3D_18_Weights.KINETICS400_V1"
VERSIONS = (400, 600, 700)
CLIP = re.compile(r"[\w-]{11}(_\d{6}_\d{6})?")
"""A clip's name, of a film and perhaps of seconds in it; others, as 0001, say nothing of what is in them."""
ID = 11  # characters of a video's name on YouTube
SLACK_SECONDS = 2
NEEDED = ("youtube_id", "time_start", "time_end")


@dataclass(frozen=True)
class Listing:
    """A line of a list."""

    names: tuple[str, ...]
    """What the file may be called, without its suffix: ID_START_END or ID; or its path."""
    label: str
    split: str
    seconds: tuple[int, int] | None = None
    """Start and end in the film that the clip was cut from."""


def collect(root: str | Path, *, classes: int = 400, check: bool = True, workers: int = 4) -> Collection:
    """Read the lists, find the videos, and leave out what is missing or corrupt.

    Args:
        root: the folder of the data set.
        classes: which Kinetics it is: 400, 600 or 700.
        check: open every video to find those that are corrupt.
        workers: videos opened at a time.

    Raises:
        MediaError: the folder or videos are not there, or nothing tells their classes.
        OptionError: a list is malformed, a class is unknown, or an argument is out of range.
    """
    root = existing(root)
    if classes not in VERSIONS:
        raise OptionError(unknown("number of classes", classes, map(str, VERSIONS)))
    if workers < 1:
        raise OptionError(f"workers= must be 1 or more; given {workers}")
    labels = weight_labels(WEIGHTS) if classes == 400 else ()
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not files:
        raise MediaError(f"there are no videos in {root}")
    entries = [entry for file in find_lists(root) for entry in read_list(file, labels)]
    entries = entries or [entry for path in files if (entry := _by_folder(root, path))]
    if not entries:
        raise MediaError(f"{root} holds neither lists nor folders train/CLASS, val/CLASS")
    rows, left = located(root, files, entries)
    labels = labels or tuple(sorted({entry.label.replace("_", " ").strip() for entry in entries if entry.label}))
    rows = list(each(cut, relabeled(rows, labels), workers))
    bad = {problem.path: problem.about for problem in looked(rows, workers=workers)} if check else {}
    rows = [row for row in rows if str(row.path) not in bad]
    counts = Counter(row.split for row in rows)
    facts: dict[str, Any] = {side: counts[side] for side in ("train", "val", "test")}
    facts |= {"present": len(rows), "listed": len(entries), "classes": list(labels)}
    facts |= {"missing": left["missing"], "corrupt": list(bad), "unlabeled": left["unlabeled"]}
    fewer = f"{len(labels)} classes instead of {classes}: a network for all of them would number them differently"
    warnings = [] if len(labels) == classes else [fewer]
    return Collection(rows, labels, facts, [*warnings, *doubts(corrupt=list(bad.values()), **left)])


def find_lists(root: Path) -> list[Path]:
    """Find the lists, in ROOT and its annotations folder or, as in the original download, one folder deeper."""
    folders = [root, *(folder for folder in subfolders(root) if folder.name.startswith(("ann", "kin")))]
    lists = [file for folder in folders for ending in ("*.csv", "*.txt") for file in sorted(folder.glob(ending))]
    return [file for file in lists if _side(file) and "label" not in file.stem]


def _side(path: Path) -> str | None:
    """Tell the split from a name such as val.csv, kinetics400_val_list_videos.txt or videos_val."""
    return next((SIDES[part] for part in path.stem.lower().split("_") if part in SIDES), None)


def read_list(file: Path, labels: Sequence[str]) -> list[Listing]:
    """Read one list, with a header or without."""
    lines = read_lines(file)
    header = [name.strip() for name in lines[0].split(",")] if lines else []
    if "youtube_id" in header:
        return _read_csv(file, lines, header)
    return [_plain(file, number, line, labels) for number, line in enumerate(lines, start=1) if line.strip()]


def _read_csv(file: Path, lines: list[str], header: list[str]) -> list[Listing]:
    if missing := [name for name in NEEDED if name not in header]:
        raise OptionError(f"{file}: the header has no column {', '.join(missing)}; given {','.join(header)}")
    entries = []
    for number, cells in enumerate(csv.reader(lines[1:]), start=2):
        given = dict(zip(header, cells, strict=False))
        try:
            start, end = (int(float(given[name])) for name in NEEDED[1:])
        except (KeyError, ValueError, OverflowError):
            raise OptionError(f"{file}, line {number}: youtube_id, time_start and time_end are expected") from None
        video = given["youtube_id"]
        split = SIDES.get(given.get("split", "").lower()) or _side(file) or "train"
        entries.append(Listing((f"{video}_{start:06}_{end:06}", video), given.get("label", ""), split, (start, end)))
    return entries


def _plain(file: Path, number: int, line: str, labels: Sequence[str]) -> Listing:
    """Read "PATH LABEL" or "PATH FRAMES LABEL"; the label's number is that of the weights' classes."""
    path, _, label = line.strip().rpartition(" ")
    head, _, frames = path.rpartition(" ")
    path = head if head and frames.isdecimal() else path
    if not path or not label.isdecimal():
        raise OptionError(f"{file}, line {number}: a path and a label's number are expected; given {line[:80]!r}")
    if not labels:
        raise OptionError(f"{file} numbers its labels, and only those of Kinetics-400 are known by number")
    if int(label) >= len(labels):
        raise OptionError(f"{file}, line {number}: label {label} is not from 0 to {len(labels) - 1}")
    return Listing((path,), labels[int(label)], _side(file) or "train")


def _by_folder(root: Path, path: Path) -> Listing | None:
    """Take split and class from SPLIT/CLASS/VIDEO."""
    parts = path.relative_to(root).parts
    split = next((side for part in parts[:-2] if (side := _side(Path(part)))), None)
    return Listing((path.relative_to(root).as_posix(),), parts[-2], split) if split else None


def located(root: Path, files: Sequence[Path], entries: Iterable[Listing]) -> tuple[list[Row], dict[str, list[str]]]:
    """Find the file of every line: rows, one for each name, and the names that are left out by why (see `ODD`)."""
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        for name in {file.stem, file.relative_to(root).as_posix(), file.name}:
            by_name[name].append(file)
    rows: dict[Path, Row] = {}
    left: dict[str, list[str]] = {kind: [] for kind in ("missing", "unlabeled", "relisted", "copied")}
    for entry in entries:
        path = next((path for name in entry.names if (path := _pick(by_name, name, entry.split))), None)
        if not entry.label:
            left["unlabeled"].append(entry.names[0])
        elif path is None:
            left["missing"].append(entry.names[0])
        elif path in rows:
            left["relisted"].append(entry.names[0])
        else:
            rows[path] = _row(path, entry)
    taken, _ = firsts(rows.values(), lambda row: row.path.stem if CLIP.fullmatch(row.path.stem) else str(row.path))
    kept = {row.path: row.path.stem for row in taken.values()}
    left["copied"] = sorted({file.stem for file in files if file.stem in kept.values() and file not in kept})
    return list(taken.values()), left


def _row(path: Path, entry: Listing) -> Row:
    """Make a row; a file that is named by ID alone may be the whole film."""
    whole = entry.seconds if len(entry.names) > 1 and path.stem == entry.names[1] else None
    start, end = whole or (None, None)
    return Row(path, entry.label, entry.split, start, end, group=path.stem[:ID])


def cut(row: Row) -> Row:
    """Forget the times of a row whose file is already cut to them."""
    if row.start_seconds is None or row.end_seconds is None:
        return row
    clip = replace(row, start_seconds=None, end_seconds=None)
    try:
        longer = ClipSource(clip).duration_seconds > row.end_seconds - row.start_seconds + SLACK_SECONDS
    except MediaError:
        return clip
    return row if longer else clip


def _pick(by_name: dict[str, list[Path]], name: str, split: str) -> Path | None:
    """Choose among files of one name: one in the split's own folder first, and a larger one before a smaller."""
    paths = by_name.get(name) or by_name.get(Path(name).name) or []
    own = [path for path in paths if any(_side(Path(part)) == split for part in path.parts[:-1])]
    return max(own or paths, key=lambda path: path.stat().st_size, default=None)


def relabeled(rows: list[Row], labels: Sequence[str]) -> list[Row]:
    """Give every row the label that its class has in `labels`."""
    first = {row.label: row.path for row in reversed(rows)}
    names: dict[str, str] = {}
    for label, path in first.items():
        try:
            names |= match_labels([label], labels)
        except OptionError as error:
            raise OptionError(f"{path}: {error}") from None
    return [replace(row, label=names[row.label]) for row in rows]
