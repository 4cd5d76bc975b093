"""What a recipe gives, and what every recipe does: find videos, follow lists, say what is odd."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from vidcam.data.manifest import Row, write_manifest
from vidcam.errors import MediaError, OptionError, unknown
from vidcam.media.folder import PICTURES

SUFFIXES = frozenset(".3gp .avi .flv .gif .m4v .mkv .mov .mp4 .mpeg .mpg .ogv .ts .webm .wmv".split())
SIDES = {"train": "train", "training": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validate", "validation"), "val"
)
"""What the folders and lists of a side are called -> the split."""
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


def official(root: str | Path, split: int) -> Path:
    """Return the folder of HMDB51 or UCF101, see `existing`; an OptionError if the official split is not 1, 2 or 3."""
    root = existing(root)
    if split not in (1, 2, 3):
        raise OptionError(unknown("split", split, ("1", "2", "3")))
    return root


def find_videos(folder: Path, *, depth: int = 5) -> list[Path]:
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


def some(names: Iterable[str], *, most: int = 5) -> str:
    """Name the first few, and say how many more there are."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _is_video(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() in PICTURES for file in path.iterdir())
    return path.suffix.lower() in SUFFIXES
