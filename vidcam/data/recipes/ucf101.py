"""UCF101, 101 actions, by the official splits (Soomro and others 2012).

ROOT holds CLASS/v_CLASS_gNN_cNN.avi, itself or in a folder such as UCF-101/, videos/ or train/; any other video format
will do. Where it holds ucfTrainTestlist/ (or that is unpacked into ROOT itself) the lists are followed. Without them
the groups gNN decide, by the rule that made the lists: of 25 groups split 1 tests on the first 7, split 2 on the next
7, split 3 on the 7 after those.

Example:

    vidcam manifest ucf101 UCF101 --output manifest.csv --split 1

101 classes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from vidcam.data.collection import Assigned, Collection, find_videos, firsts, key, matched, official, read_lines
from vidcam.data.manifest import Row
from vidcam.errors import MediaError

LISTS = "ucfTrainTestlist"
NAME = re.compile(r"v_(?P<label>.+)_(?P<group>g\d\d)_c\d\d(\.\w+)?")
TESTED = 7
SPELLED = {"HandStandPushups": "HandstandPushups"}
"""The one class that its files' names spell otherwise."""


def collect(root: str | Path, *, split: int = 1) -> Collection:
    """Find the videos and put each on its side.

    Args:
        root: the folder of the data set.
        split: the official split: 1, 2 or 3.

    Raises:
        MediaError: the folder, videos or a list are not there, or a list is malformed.
        OptionError: there is no such split.
    """
    root = official(root, split)
    videos = next((root / name for name in ("UCF-101", "videos") if (root / name).is_dir()), root)
    clips = find_videos(videos)
    if not clips:
        raise MediaError(f"there are no videos in {videos}")
    lists = next((folder for folder in (root / LISTS, root) if (folder / "classInd.txt").is_file()), None)
    lines = read_lists(lists, split) if lists else by_group((clip.name for clip in clips), split)
    present, listed, absent, unlisted, odd = matched(videos, clips, lines)
    labels = read_classes(lists / "classInd.txt") if lists else sorted({line.label for line in listed.values()})
    spelled = {label.casefold(): label for label in labels}
    rows = [_row(clip, listed[name], spelled) for name, clip in present.items() if name in listed]
    counts = Counter(row.split for row in rows)
    facts = {"train": counts["train"], "test": counts["test"], "present": len(rows), "classes": labels}
    facts |= {"absent": absent, "left_out": unlisted}
    guessed = f"there is no {LISTS}/: the groups gNN decide, and classes are numbered in sorted order"
    empty = [f"no video is on the {side} side" for side in ("train", "test") if not counts[side]]
    return Collection(rows, labels, facts, [*([] if lists else [guessed]), *odd, *empty])


def read_lists(folder: Path, split: int) -> Iterator[Assigned]:
    """Read a split's lists: lines of "CLASS/VIDEO" or "CLASS/VIDEO NUMBER"."""
    for side in ("train", "test"):
        file = folder / f"{side}list{split:02}.txt"
        if not file.is_file():
            raise MediaError(f"{folder} holds classInd.txt but not {file.name}")
        for words in (line.split() for line in read_lines(file) if line.strip()):
            label, _, name = words[0].rpartition("/")
            yield Assigned(label, name, side)


def read_classes(file: Path) -> list[str]:
    """Read the classes by their numbers: lines of "1 ApplyEyeMakeup"."""
    numbered = [line.split() for line in read_lines(file) if line.strip()]
    if any(len(parts) != 2 or not parts[0].isdecimal() for parts in numbered):
        raise MediaError(f"{file}: lines of a number and a class are expected")
    return [name for _, name in sorted((int(number), name) for number, name in numbered)]


def by_group(names: Iterable[str], split: int) -> Iterator[Assigned]:
    """Tell the class and the side of every video from its name; one that lies in several places comes once."""
    for match in filter(None, map(NAME.fullmatch, firsts(names, key)[0].values())):
        tested = TESTED * (split - 1) < int(match["group"][1:]) <= TESTED * split
        yield Assigned(SPELLED.get(match["label"], match["label"]), match[0], "test" if tested else "train")


def _row(clip: Path, line: Assigned, spelled: dict[str, str]) -> Row:
    """Make a row; a group is a film, and films are numbered in every class anew."""
    label = spelled.get(line.label.casefold(), line.label)
    match = NAME.fullmatch(clip.name)
    return Row(clip, label, line.split, group=f"{label}/{match['group'] if match else clip.name}")
