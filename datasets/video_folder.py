"""Any folder of videos, one folder per class, to manifest.csv.

ROOT holds CLASS/VIDEO files, or CLASS/FOLDER with the pictures of a video. Or it holds train/CLASS/VIDEO and so on for
val and test: then these are the splits.

Otherwise videos are split by group, which is what they come from: a person, a recording, a scene. --group is a regular
expression that finds it in a video's name without its suffix: what it captures (several parts are joined by "/"), or
all that it matches. --test-groups and --val-groups choose groups by name or pattern, as "dar*"; without them groups are
drawn until a share of the videos is reached.

    python datasets/video_folder.py weizmann --output manifest.csv --group '^[^_]+' --test-groups daria denis
    python datasets/video_folder.py colored_shapes --output manifest.csv --group '(.+)_(.+)_' \\
        --test-groups 'bluegreen/*' '*/star'

Weizmann (the 6 people of the common subset): 60 videos, 10 classes, the first command gives 40 train, 20 test.
Colored shapes: 135 videos, 3 classes, the second command gives 60 train, 75 test.
"""

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from vidcam.data.manifest import Row
from vidcam.data.recipe import Collection, find_videos, parser, pattern, run, some, subfolders
from vidcam.errors import MediaError, OptionError

SIDES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def main(arguments: list[str] | None = None) -> int:
    made = parser(__doc__)
    made.add_argument("--group", metavar="REGEX", help="finds in a video's name what it comes from")
    made.add_argument("--test-groups", nargs="+", default=[], metavar="GROUP", help="groups to test on")
    made.add_argument("--val-groups", nargs="+", default=[], metavar="GROUP", help="groups to validate on")
    made.add_argument("--test-share", type=float, default=0.25, metavar="X", help="of the videos, if no group is named")
    made.add_argument("--val-share", type=float, default=0.0, metavar="X", help="of the videos, if no group is named")
    made.add_argument("--seed", type=int, default=0, help="of the draw")
    return run(made, collect, arguments)


def collect(given: argparse.Namespace) -> Collection:
    """List the videos and give each a group and a split."""
    for name in ("test_share", "val_share"):
        if not 0 <= getattr(given, name) < 1:
            raise OptionError(f"--{name.replace('_', '-')} must be from 0 to below 1; given {getattr(given, name)}")
    sides = [folder for folder in subfolders(given.root) if folder.name.lower() in SIDES]
    if len(sides) != len(subfolders(given.root)):
        sides = []  # a class may be called train
    if sides:
        rows = [row for side in sides for row in classes(side, split=SIDES[side.name.lower()])]
    else:
        rows = classes(given.root)
    if not rows:
        raise MediaError(f"there are no videos in {given.root}/CLASS/")
    rows, unmatched = grouped(rows, given.group)
    if not sides:
        rows = divided(rows, given)
    labels = sorted({row.label for row in rows})
    return Collection(rows, labels, _facts(rows, labels), list(_warnings(rows, given, unmatched)))


def classes(root: Path, *, split: str = "") -> list[Row]:
    """List the videos of every class folder."""
    return [Row(path, folder.name, split) for folder in subfolders(root) for path in find_videos(folder)]


def grouped(rows: list[Row], regex: str | None) -> tuple[list[Row], list[str]]:
    """Find every video's group; returns the names without one too, which are groups of their own."""
    expression = None if regex is None else pattern(regex)
    found, unmatched = [], []
    for row in rows:
        stem = row.path.name if row.path.is_dir() else row.path.stem
        match = expression.search(stem) if expression else None
        if expression and not match:
            unmatched.append(f"{row.label}/{row.path.name}")
        found.append(replace(row, group=_group(match) if match else f"{row.label}/{stem}"))
    return found, unmatched


def _group(match: re.Match[str]) -> str:
    return "/".join(part for part in match.groups() if part) or match[0]


def divided(rows: list[Row], given: argparse.Namespace) -> list[Row]:
    """Put each group on one side."""
    groups = {row.group for row in rows}
    test = _chosen(groups, given.test_groups, "--test-groups")
    val = _chosen(groups, given.val_groups, "--val-groups")
    if both := sorted(test & val):
        raise OptionError(f"--test-groups and --val-groups both choose {some(both)}")
    if not given.test_groups:
        test = drawn(rows, groups - val, given.test_share, given.seed)
    if not given.val_groups:
        val = drawn(rows, groups - test, given.val_share, given.seed)
    split = {group: "test" if group in test else "val" if group in val else "train" for group in groups}
    return [replace(row, split=split[row.group]) for row in rows]


def _chosen(groups: set[str], wanted: Iterable[str], option: str) -> set[str]:
    found: set[str] = set()
    for name in wanted:
        fits = {group for group in groups if group == name or fnmatchcase(group, name)}
        if not fits:
            raise OptionError(f"{option}: no group is called {name!r}; there are {some(sorted(groups))}")
        found |= fits
    return found


def drawn(rows: list[Row], groups: set[str], share: float, seed: int) -> set[str]:
    """Draw groups that hold about a share of the videos: of each class, where every group has only one class."""
    pure = len({(row.group, row.label) for row in rows}) == len({row.group for row in rows})
    found: set[str] = set()
    for label in sorted({row.label for row in rows}) if pure else [None]:
        own = [row for row in rows if label in (None, row.label)]
        found |= _drawn(Counter(row.group for row in own if row.group in groups), share * len(own), seed)
    return found


def _drawn(sizes: Counter[str], missing: float, seed: int) -> set[str]:
    """Draw groups until no videos are missing, as near as whole groups come; one group is always left."""
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).hexdigest())
    found: set[str] = set()
    for group in order[:-1]:
        if sizes[group] / 2 < missing:
            found.add(group)
            missing -= sizes[group]
    return found


def _facts(rows: list[Row], labels: list[str]) -> dict[str, object]:
    counts = Counter(row.split for row in rows)
    groups = sorted({row.group for row in rows})
    return {split: counts[split] for split in ("train", "val", "test")} | {"classes": labels, "groups": groups}


def _warnings(rows: list[Row], given: argparse.Namespace, unmatched: list[str]) -> Iterable[str]:
    if given.group is None:
        yield "without --group nobody knows which videos come from one source; such may be on both sides of the split"
    if unmatched:
        yield f"{len(unmatched)} names do not match {given.group!r} and are groups of their own: {some(unmatched)}"
    sides = {(row.group, row.split) for row in rows}
    if torn := [group for group, count in Counter(group for group, _ in sides).items() if count > 1]:
        yield f"{len(torn)} groups are on both sides of the split that the folders make: {some(sorted(torn))}"
    for split in ("train", "test"):
        seen = {row.label for row in rows if row.split == split}
        if lacking := sorted({row.label for row in rows} - seen):
            yield f"{len(lacking)} classes have no video in {split}: {some(lacking)}"


if __name__ == "__main__":
    sys.exit(main())
