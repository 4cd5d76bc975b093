"""manifest.csv: which videos a data set holds, of which class, and on which side of the split; classes by name."""

import csv
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import takewhile
from pathlib import Path

from vidcam.errors import MediaError, OptionError, unknown
from vidcam.media import replacing
from vidcam.media.timeline import moment

COLUMNS = ("path", "label", "split", "start_seconds", "end_seconds", "group")
NEEDED = COLUMNS[:3]
LABELS = "# labels: "
"""A line before the header may list all classes in order, as JSON; without it they are in sorted order."""


@dataclass(frozen=True)
class Row:
    """A video, or the part of it from `start_seconds` to before `end_seconds`."""

    path: Path
    """A video file or a folder of pictures."""
    label: str
    split: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    group: str = ""
    """Where it comes from, such as a person or a recording: a group stands on one side of a split only."""
    line: int = field(default=0, compare=False)
    """Where it stands in its manifest."""


@dataclass(frozen=True)
class Manifest:
    """What a manifest says."""

    path: Path
    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    """The classes; a class's index in a network is its place here."""

    @property
    def splits(self) -> dict[str, int]:
        """How many rows each split has, in the order in which they come."""
        return dict(Counter(row.split for row in self.rows))

    def split(self, name: str) -> tuple[Row, ...]:
        """Return a split's rows; if it has none, an OptionError names the splits there are."""
        rows = tuple(row for row in self.rows if row.split == name)
        if not rows:
            raise OptionError(f"{self.path} has no rows for it: {unknown('split', name, self.splits)}")
        return rows

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each split's rows, not of what is in its videos: the same wherever the data lies, in any order."""
        folder = self.path.parent
        texts: dict[str, list[str]] = {name: [] for name in self.splits}
        for row in self.rows:
            texts[row.split].append(json.dumps(_cells(row, folder), ensure_ascii=False))
        return {name: hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() for name, lines in texts.items()}


def read_manifest(path: str | Path, *, require_files: bool = True) -> Manifest:
    """Read a manifest: CSV in UTF-8 with a header of at least path, label and split.

    Paths are relative to the manifest's folder.

    Raises:
        MediaError: the manifest or, if files are required, a video of it is not there, or it is no text in UTF-8.
        OptionError: what it says is wrong; the message names the file and the line.
    """
    path = Path(path)
    lines = _lines(path)
    labels, first = _listed_labels(path, lines)
    reader = csv.reader(lines[first:], strict=True)
    try:
        columns = _columns(path, next(reader, []))
        rows = [_row(path, first + reader.line_num, columns, cells) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise OptionError(f"{_at(path, first + reader.line_num)}: {error}") from None
    _check(path, rows, labels, require_files=require_files)
    return Manifest(path, tuple(rows), labels or tuple(sorted({row.label for row in rows})))


def write_manifest(
    rows: Iterable[Row], path: str | Path, *, labels: Sequence[str] | None = None, force: bool = False
) -> None:
    """Write a manifest; paths become relative to its folder.

    Labels are all classes in the order of their indices; by default those of the rows, sorted.

    Raises:
        OptionError: there are no rows.
        MediaError: the file is there already or cannot be written, or a name is not UTF-8.
    """
    path, rows = Path(path), list(rows)
    if not rows:
        raise OptionError(f"no videos to list in {path}")
    for row in rows:
        _check_name(row.path)
    with replacing(path, force=force) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if labels is not None:
            file.write(f"{LABELS}{json.dumps(list(labels), ensure_ascii=False)}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(row, path.parent) for row in rows)


def _lines(path: Path) -> list[str]:
    try:
        return list(StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise MediaError(f"{_at(path, line)}: it is not UTF-8; save it as UTF-8 text") from None
    except OSError as error:
        raise MediaError(f"cannot read the manifest {path}: {error.strerror}") from None


def _listed_labels(path: Path, lines: list[str]) -> tuple[tuple[str, ...], int]:
    """Return the classes that comments before the header list, if they do, and how many lines come before it."""
    comments = list(takewhile(lambda line: line.startswith("#"), lines))
    labels: tuple[str, ...] = ()
    for number, line in enumerate(comments, start=1):
        if line.startswith(LABELS):
            labels = _parse_labels(path, number, line.removeprefix(LABELS))
    return labels, len(comments)


def _parse_labels(path: Path, line: int, text: str) -> tuple[str, ...]:
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError):
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        raise OptionError(f'{_at(path, line)}: the labels must be JSON like ["run", "walk"]; given {text.strip()[:60]}')
    twice = [label for label, times in Counter(labels).items() if times > 1]
    if twice:
        raise OptionError(f"{_at(path, line)}: the label {twice[0]!r} is listed twice")
    return tuple(labels)


def _columns(path: Path, header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    if not names:
        raise OptionError(f"the manifest {path} is empty; it needs a header {','.join(COLUMNS)} and rows")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise OptionError(f"{path}: the header has no column {', '.join(missing)}; given {','.join(names)[:120]}")
    if strange := [name for name in names if name not in COLUMNS]:
        raise OptionError(f"{path}: {unknown('column', strange[0], COLUMNS)}")
    if len(set(names)) != len(names):
        raise OptionError(f"{path}: the header names a column twice; given {','.join(names)}")
    return names


def _row(path: Path, line: int, columns: list[str], cells: list[str]) -> Row:
    at = _at(path, line)
    if len(cells) != len(columns):
        raise OptionError(f"{at}: {len(cells)} cells instead of {len(columns)} (a path with a comma needs quotes)")
    given = dict(zip(columns, cells, strict=True))
    for name in NEEDED:
        if not given[name].strip():
            raise OptionError(f"{at}: the {name} is empty")
    if "\0" in given["path"]:
        raise OptionError(f"{at}: the path {given['path']!r} holds a null character")
    if Path(given["path"]).is_absolute():
        raise OptionError(f"{at}: the path {given['path']!r} is absolute; paths are relative to the manifest's folder")
    start, end = (_seconds(at, name, given.get(name, "")) for name in ("start_seconds", "end_seconds"))
    if end is not None and end <= (start or 0):
        raise OptionError(f"{at}: end_seconds {moment(end)} is not after start_seconds {moment(start or 0)}")
    label, split, group = given["label"].strip(), given["split"].strip(), given.get("group", "").strip()
    return Row(path.parent / given["path"], label, split, start, end, group, line)


def _seconds(at: str, name: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise OptionError(f"{at}: {name} must be seconds from 0 on, or empty; given {text!r}")
    return value


def _check(path: Path, rows: list[Row], labels: tuple[str, ...], *, require_files: bool) -> None:
    """Raise for what is wrong with the rows together."""
    if not rows:
        raise OptionError(f"the manifest {path} has a header but no rows")
    seen: dict[tuple[Path, float | None, float | None], int] = {}
    known = set(labels)
    for row in rows:
        if known and row.label not in known:
            raise OptionError(f"{_at(path, row.line)}: {unknown('label', row.label, labels)}")
        first = seen.setdefault((row.path, row.start_seconds, row.end_seconds), row.line)
        if first != row.line:
            raise OptionError(f"{_at(path, row.line)}: it lists {str(row.path)!r} again; line {first} does already")
    if len(labels or {row.label for row in rows}) < 2:
        raise OptionError(f"{_at(path, rows[0].line)}: {rows[0].label!r} is the only class; a classifier needs two")
    missing = [row for row in rows if not row.path.exists()] if require_files else []
    if missing:
        more = f" ({len(missing)} of {len(rows)} rows have no file)" if len(missing) > 1 else ""
        raise MediaError(f"{_at(path, missing[0].line)}: there is no file {str(missing[0].path)!r}{more}")


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise MediaError(f"the name {str(path)!r} is not UTF-8; rename it") from None


def _at(path: Path, line: int) -> str:
    return f"{path}, line {line}"


def _cells(row: Row, folder: Path) -> list[str]:
    # Parents are resolved, as ".." means another folder where a link leads there; a video may be a link itself.
    target = row.path.parent.resolve() / row.path.name
    relative = Path(os.path.relpath(target, folder.resolve())).as_posix()
    times = ("" if value is None else repr(value) for value in (row.start_seconds, row.end_seconds))
    return [relative, row.label, row.split, *times, row.group]


def weight_labels(weights: str) -> tuple[str, ...]:
    """Return the classes of torchvision's weights, as "R3D_18_Weights.KINETICS400_V1", or raise an OptionError."""
    from torchvision.models import get_weight

    try:
        return tuple(get_weight(weights).meta["categories"])
    except (ValueError, KeyError, AttributeError):
        raise OptionError(f"torchvision has no weights {weights!r} with named classes") from None


def match_labels(given: Iterable[str], labels: Sequence[str]) -> dict[str, str]:
    """Map class names, or names of folders made from them, to the labels that mean the same.

    Only letters and digits count: "skiing_(not_slalom)", "skiing not slalom" and "Skiing (not slalom)" are one.

    Raises:
        OptionError: a name without a label, or one that fits two.
    """
    known: dict[str, list[str]] = {}
    for label in labels:
        known.setdefault(_spelling(label), []).append(label)
    matched: dict[str, str] = {}
    for name in given:
        fits = known.get(_spelling(name), [])
        if len(fits) != 1 and name not in fits:
            why = f"{name!r} may be {' or '.join(map(repr, fits))}" if fits else unknown("label", name, labels)
            raise OptionError(why)
        matched[name] = name if name in fits else fits[0]
    return matched


def _spelling(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())
