"""What a recipe gives, and what every recipe does: find videos, follow lists, say what is odd."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from vidcam.data.checking import look
from vidcam.data.manifest import Row, write_manifest
from vidcam.errors import MediaError, OptionError, unknown

SUFFIXES = frozenset(".3gp .avi .flv .gif .m4v .mkv .mov .mp4 .mpeg .mpg .ogv .ts .webm .wmv".split())
PICTURES = frozenset(".bmp .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())
SIDES = {"train": "train", "training": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validate", "validation"), "val"
)
"""What the folders and lists of a side are called -> the split."""
SPLITS = (1, 2, 3)
"""The official splits of HMDB51 and of UCF101."""
ODD = {
    "missing": "listed videos are missing",
    "absent": "listed videos are absent",
    "corrupt": "videos are corrupt and left out",
    "unlabeled": "lines have no label and are left out",
    "unlisted": "videos are left out, as no list or name tells their side",
    "relisted": "videos are listed more than once, and the first line of each counts",
    "copied": "videos lie in several places, and one of each is taken",
}
"""What may be wrong with a video or a line of a list."""
SHOWN = 5  # names of a long list that people get to see
DEEPEST = 5  # folders from the root down to a video
Thing = TypeVar("Thing")
Say = Callable[[str], None]
"""Told what is being done, for people."""


@dataclass
class Collection:
    """What a download holds."""

    rows: list[Row]
    labels: Sequence[str]
    """All classes, in the order of their indices."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Counts by name, and lists of names."""
    warnings: list[str] = field(default_factory=list)

    def write(self, output: str | Path, *, force: bool = False) -> dict[str, Any]:
        """Write the manifest, see `write_manifest`; returns what was written, and the facts.

        Args:
            output: the manifest.csv to write.
            force: replace what is there.
        """
        write_manifest(self.rows, output, labels=self.labels, force=force)
        return {"manifest": str(output), "videos": len(self.rows), **self.facts}

    @staticmethod
    def lines(facts: dict[str, Any]) -> Iterator[str]:
        """Say what `write` returned for people: the length of a list."""
        for name, value in facts.items():
            yield f"{name}: {len(value) if isinstance(value, list | dict) else value}"


class Assigned(NamedTuple):
    """What a line of an official list says of a video."""

    label: str
    name: str
    """Of the video's file."""
    split: str


class Matched(NamedTuple):
    """Videos beside the lines of official lists, one of each by what a video is known by, and what is odd."""

    present: dict[str, Path]
    listed: dict[str, Assigned]
    absent: list[str]
    unlisted: list[str]
    warnings: list[str]


def silent(message: str) -> None:
    """Tell nobody."""


def existing(root: str | Path) -> Path:
    """Return the folder of a data set; a MediaError if it is not there."""
    if not Path(root).is_dir():
        raise MediaError(f"there is no folder {str(root)!r}")
    return Path(root)


def official(split: int) -> int:
    """Return the number of an official split; an OptionError if there is none such."""
    if split not in SPLITS:
        raise OptionError(unknown("split", split, map(str, SPLITS)))
    return split


def find_videos(folder: Path, *, depth: int = DEEPEST) -> list[Path]:
    """List the videos in a folder, and in folders so deep in it, by name; a folder of pictures stands for a video."""
    clips: list[Path] = []
    for path in sorted(path for path in folder.iterdir() if path.name[0] != "."):
        below = find_videos(path, depth=depth - 1) if depth and path.is_dir() else []
        clips += below or ([path] if _is_video(path) else [])
    return clips


def subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def read_lines(file: Path) -> list[str]:
    """Read a list; a MediaError if it is not UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise MediaError(f"{file} is not UTF-8") from None


def key(name: str) -> str:
    """Return what a video is known by: its name without the suffix, in small letters."""
    stem, dot, suffix = name.rpartition(".")
    return (stem if f"{dot}{suffix.lower()}" in SUFFIXES else name).casefold()


def firsts(things: Iterable[Thing], name: Callable[[Thing], str]) -> tuple[dict[str, Thing], list[str]]:
    """Keep the first thing of every name; returns the names of those that come again too."""
    kept: dict[str, Thing] = {}
    again = [name(thing) for thing in things if kept.setdefault(name(thing), thing) is not thing]
    return kept, list(dict.fromkeys(again))


def matched(folder: Path, clips: Sequence[Path], lines: Iterable[Assigned]) -> Matched:
    """Match the videos in a folder with the lines of an official split."""
    present, copied = firsts(clips, lambda clip: key(clip.name))
    listed, relisted = firsts(lines, lambda line: key(line.name))
    absent = sorted(f"{line.label}/{line.name}" for name, line in listed.items() if name not in present)
    unlisted = sorted(f"{clip.parent.name}/{clip.name}" for name, clip in present.items() if name not in listed)
    odd = doubts(absent=absent, unlisted=unlisted, relisted=relisted, copied=copied)
    return Matched(present, listed, absent, unlisted, [*odd, *_overruled(folder, clips)])


def doubts(**named: Sequence[str]) -> Iterator[str]:
    """Warn of what is odd about a copy of a data set: names by what is wrong with them, a key of `ODD`."""
    yield from (f"{len(names)} {ODD[kind]}: {some(names)}" for kind, names in named.items() if names)


def _overruled(root: Path, clips: Iterable[Path]) -> Iterator[str]:
    """Warn of folders such as test/ between ROOT and its clips, which an official split does not follow."""
    parts = {part for clip in clips for part in clip.relative_to(root).parts[:-1] if part.lower() in SIDES}
    if parts:
        yield f"the official split is followed, and not the folders {some(sorted(parts))}"


def unreadable(rows: Sequence[Row], *, workers: int = 4) -> dict[Path, str]:
    """Open every video: path -> reason of those that cannot be read."""
    with ThreadPoolExecutor(workers) as pool:
        looked = zip(rows, pool.map(look, rows), strict=True)
        return {row.path: problem.about for row, problem in looked if problem is not None}


def pattern(text: str) -> re.Pattern[str]:
    """Compile a regular expression that a user gave; an OptionError if it is none."""
    try:
        return re.compile(text)
    except re.error as error:
        raise OptionError(f"{text!r} is no regular expression: {error}") from None


def some(names: Iterable[str], *, most: int = SHOWN) -> str:
    """Name the first few, and say how many more there are."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _is_video(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() in PICTURES for file in path.iterdir())
    return path.suffix.lower() in SUFFIXES
