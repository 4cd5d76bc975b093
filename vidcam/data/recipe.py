"""What every recipe of datasets/ does: find videos, write manifest.csv, say how many there are."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidcam.data.checking import look
from vidcam.data.manifest import Row, write_manifest
from vidcam.errors import MediaError, OptionError, VidcamError

SUFFIXES = frozenset(".3gp .avi .flv .gif .m4v .mkv .mov .mp4 .mpeg .mpg .ogv .ts .webm .wmv".split())
PICTURES = frozenset(".bmp .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())
SHOWN = 5  # names of a long list that people get to see


@dataclass
class Collection:
    """What a recipe found."""

    rows: list[Row]
    labels: Sequence[str]
    """All classes, in the order of their indices."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What `--json` prints; people get the length of a list."""
    warnings: list[str] = field(default_factory=list)


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all recipes have."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("root", type=Path, metavar="ROOT", help="the folder of the data set")
    made.add_argument("--output", type=Path, required=True, metavar="manifest.csv", help="what to write")
    made.add_argument("--force", action="store_true", help="replace it if it is there")
    made.add_argument("--json", action="store_true", help="print what was found as JSON")
    return made


def run(
    made: argparse.ArgumentParser,
    collect: Callable[[argparse.Namespace], Collection],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a recipe and return its exit code: the result on stdout, warnings and the error, a line each, on stderr."""
    given = made.parse_args(arguments)
    try:
        if not given.root.is_dir():
            raise MediaError(f"there is no folder {str(given.root)!r}")
        found = collect(given)
        write_manifest(found.rows, given.output, labels=found.labels, force=given.force)
    except (VidcamError, OSError, UnicodeDecodeError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    facts = {"manifest": str(given.output), "videos": len(found.rows), **found.facts}
    print(json.dumps(facts, ensure_ascii=False, indent=2) if given.json else "\n".join(_told(facts)))
    return 0


def find_videos(folder: Path) -> list[Path]:
    """List the videos directly in a folder by name, and the folders of pictures that stand for a video."""
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and _is_video(path))


def subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def unreadable(rows: Sequence[Row], *, workers: int = 4) -> dict[Path, str]:
    """Open every video: path -> reason of those that cannot be read."""
    with ThreadPoolExecutor(workers) as pool:
        found = zip(rows, pool.map(look, rows), strict=True)
        return {row.path: problem.about for row, problem in found if problem is not None}


def pattern(text: str) -> re.Pattern[str]:
    """Compile a regular expression that a user gave."""
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


def _told(facts: dict[str, Any]) -> Iterable[str]:
    for name, value in facts.items():
        yield f"{name}: {len(value) if isinstance(value, list | dict) else value}"
