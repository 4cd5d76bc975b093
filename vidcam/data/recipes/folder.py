"""Any folder of videos, one folder per class.

ROOT holds CLASS/VIDEO files, or CLASS/FOLDER with the pictures of a video. Or it holds train/CLASS/VIDEO and so on for
val and test: then these are the splits.

Otherwise videos are split by group, which is what they come from: a person, a recording, a scene. --group is a regular
expression that finds it in a video's name without its suffix: what it captures (several parts are joined by "/"), or
all that it matches. --test-groups and --val-groups choose groups by name or pattern, as "dar*"; without them groups are
drawn until a share of the videos is reached.

Examples:

    vidcam manifest folder weizmann --output manifest.csv \\
        --group '^[^_]+' --test-groups daria --test-groups denis

    vidcam manifest folder colored_shapes --output manifest.csv \\
        --group '(.+)_(.+)_' --test-groups 'bluegreen/*' --test-groups '*/star'

Weizmann (the 6 people of the common subset): 60 videos, 10 classes, the first command gives 40 train, 20 test.
Colored shapes: 135 videos, 3 classes, the second command gives 60 train, 75 test.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from vidcam.data.collection import SIDES, Collection, existing, find_videos, firsts, key, some, subfolders
from vidcam.data.manifest import Row
from vidcam.errors import MediaError, OptionError


def collect(
    root: str | Path,
    *,
    group: str | None = None,
    test_groups: Sequence[str] = (),
    val_groups: Sequence[str] = (),
    test_share: float = 0.25,
    val_share: float = 0.0,
    seed: int = 0,
) -> Collection:
    """List the videos and give each a group and a split.

    Args:
        root: the folder of the class folders.
        group: a regular expression that finds in a video's name what it comes from.
        test_groups: a group to test on, by name or pattern; may be repeated.
        val_groups: a group to validate on, by name or pattern; may be repeated.
        test_share: of the videos, where no group to test on is named.
        val_share: of the videos, where no group to validate on is named.
        seed: of the draw.

    Raises:
        MediaError: the folder or videos are not there.
        OptionError: a regular expression or share is none, or no group is called so.
    """
    root, shares = existing(root), {"test": test_share, "val": val_share}
    for side, share in shares.items():
        if not 0 <= share < 1:
            raise OptionError(f"{side}_share= must be from 0 to below 1; given {share}")
    sides = split_folders(root)
    rows = [row for side in sides for row in classes(side, split=SIDES[side.name.lower()])] or classes(root)
    if not rows:
        raise MediaError(f"there are no videos in {root}/CLASS/")
    rows, unmatched = grouped(rows, group)
    if not sides:
        rows = divided(rows, {"test": test_groups, "val": val_groups}, shares, seed)
    labels = sorted({row.label for row in rows})
    warnings = [*_about_groups(rows, group, unmatched), *_about_sides(rows), *_about_folders(root, rows)]
    return Collection(rows, labels, _facts(rows, labels), warnings)


def split_folders(root: Path) -> list[Path]:
    """List the folders train, val and test, unless others hold videos: then a class is called so."""
    sides = [folder for folder in subfolders(root) if folder.name.lower() in SIDES]
    return [] if any(find_videos(folder, depth=0) for folder in subfolders(root) if folder not in sides) else sides


def classes(root: Path, *, split: str = "") -> list[Row]:
    """List the videos of every class folder."""
    return [Row(path, folder.name, split) for folder in subfolders(root) for path in find_videos(folder, depth=0)]


def grouped(rows: list[Row], regex: str | None) -> tuple[list[Row], list[str]]:
    """Find every video's group; returns the names without one too, which are groups of their own."""
    try:
        expression = None if regex is None else re.compile(regex)
    except re.error as error:
        raise OptionError(f"{regex!r} is no regular expression: {error}") from None
    named, unmatched = [], []
    for row in rows:
        stem = row.path.name if row.path.is_dir() else row.path.stem
        match = expression.search(stem) if expression else None
        if expression and not match:
            unmatched.append(f"{row.label}/{row.path.name}")
        named.append(replace(row, group=_group(match) if match else f"{row.label}/{stem}"))
    return named, unmatched


def _group(match: re.Match[str]) -> str:
    return "/".join(part for part in match.groups() if part) or match[0]


def divided(rows: list[Row], wanted: Mapping[str, Sequence[str]], shares: Mapping[str, float], seed: int) -> list[Row]:
    """Put each group on one side."""
    groups = {row.group for row in rows}
    sides = {side: _chosen(groups, names, f"{side}_groups=") for side, names in wanted.items()}
    if both := sorted(sides["test"] & sides["val"]):
        raise OptionError(f"test_groups= and val_groups= both choose {some(both)}")
    for side, other in (("test", "val"), ("val", "test")):
        if not wanted[side]:
            sides[side] = drawn(rows, groups - sides[other], shares[side], seed)
    split = {group: side for side, chosen in sides.items() for group in chosen}
    return [replace(row, split=split.get(row.group, "train")) for row in rows]


def _chosen(groups: set[str], wanted: Iterable[str], argument: str) -> set[str]:
    chosen: set[str] = set()
    for name in wanted:
        fits = {group for group in groups if group == name or fnmatchcase(group, name)}
        if not fits:
            raise OptionError(f"no group is called {name!r}, as {argument} wants; there are {some(sorted(groups))}")
        chosen |= fits
    return chosen


def drawn(rows: list[Row], groups: set[str], share: float, seed: int) -> set[str]:
    """Draw groups that hold about a share of the videos: of each class, where every group has only one class."""
    pure = len({(row.group, row.label) for row in rows}) == len({row.group for row in rows})
    chosen: set[str] = set()
    for label in sorted({row.label for row in rows}) if pure else [None]:
        own = [row for row in rows if label in (None, row.label)]
        chosen |= _drawn(Counter(row.group for row in own if row.group in groups), share * len(own), seed)
    return chosen


def _drawn(sizes: Counter[str], missing: float, seed: int) -> set[str]:
    """Draw groups until no videos are missing, as near as whole groups come; one group is always left."""
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).hexdigest())
    chosen: set[str] = set()
    for group in order[:-1]:
        if sizes[group] / 2 < missing:
            chosen.add(group)
            missing -= sizes[group]
    return chosen


def _facts(rows: list[Row], labels: list[str]) -> dict[str, object]:
    counts = Counter(row.split for row in rows)
    groups = sorted({row.group for row in rows})
    return {split: counts[split] for split in ("train", "val", "test")} | {"classes": labels, "groups": groups}


def _about_groups(rows: list[Row], group: str | None, unmatched: list[str]) -> Iterator[str]:
    if group is None:
        yield "without group= nobody knows which videos come from one source; such may be on both sides of the split"
    if unmatched:
        yield f"{len(unmatched)} names do not match {group!r} and are groups of their own: {some(unmatched)}"
    sides = {(row.group, row.split) for row in rows}
    if torn := [name for name, count in Counter(name for name, _ in sides).items() if count > 1]:
        yield f"{len(torn)} groups are on both sides of the split that the folders make: {some(sorted(torn))}"


def _about_sides(rows: list[Row]) -> Iterator[str]:
    for split in ("train", "test"):
        seen = {row.label for row in rows if row.split == split}
        if lacking := sorted({row.label for row in rows} - seen):
            yield f"{len(lacking)} classes have no video in {split}: {some(lacking)}"


def _about_folders(root: Path, rows: list[Row]) -> Iterator[str]:
    if again := firsts(rows, lambda row: f"{row.label}/{key(row.path.name)}")[1]:
        yield f"{len(again)} videos lie in several places of a class, and all are taken: {some(again)}"
    used = {parent for row in rows for parent in row.path.parents}
    if empty := [folder.name for folder in subfolders(root) if folder not in used]:
        yield f"{len(empty)} folders hold no videos of a class and are left out: {some(empty)}"
