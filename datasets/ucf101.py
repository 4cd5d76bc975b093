"""UCF101 (Soomro et al. 2012) to manifest.csv, by the official splits.

ROOT, or UCF-101/ or videos/ in it, holds CLASS/v_CLASS_gNN_cNN.avi. Where ROOT holds ucfTrainTestlist/ (or
ucfTrainTestlist is unpacked into ROOT itself) its lists are followed. Without them the groups gNN decide, by the rule
that made the lists: of 25 groups split 1 tests on the first 7, split 2 on the next 7, split 3 on the 7 after those.

    python datasets/ucf101.py ROOT --output manifest.csv --split 1

101 classes.
"""

import re
import sys
from collections import Counter
from pathlib import Path

from vidcam.data.manifest import Row
from vidcam.data.recipe import Collection, find_videos, parser, run, some, subfolders
from vidcam.errors import MediaError

LISTS = "ucfTrainTestlist"
NAME = re.compile(r"v_(?P<label>.+)_(?P<group>g\d\d)_c\d\d\.avi")
TESTED = 7


def main(arguments: list[str] | None = None) -> int:
    made = parser(__doc__)
    made.add_argument("--split", type=int, choices=(1, 2, 3), default=1, help="the official split")
    return run(made, lambda given: collect(given.root, given.split), arguments)


def collect(root: Path, split: int) -> Collection:
    """Find the videos and put each on its side."""
    videos = next((root / name for name in ("UCF-101", "videos") if (root / name).is_dir()), root)
    present = {f"{folder.name}/{path.name}": path for folder in subfolders(videos) for path in find_videos(folder)}
    lists = next((folder for folder in (root / LISTS, root) if (folder / "classInd.txt").is_file()), None)
    if lists is None:
        side = {name: _side(name, split) for name in present if NAME.fullmatch(name.partition("/")[2])}
        labels = sorted({name.partition("/")[0] for name in side})
    else:
        side, labels = read_lists(lists, split), read_classes(lists / "classInd.txt")
    rows = [Row(path, _label(name), side[name], group=_group(name)) for name, path in present.items() if name in side]
    return _collection(rows, labels, sorted(side.keys() - present.keys()), sorted(present.keys() - side.keys()), lists)


def read_lists(folder: Path, split: int) -> dict[str, str]:
    """Read a split's lists: CLASS/VIDEO -> train or test."""
    found: dict[str, str] = {}
    for side in ("train", "test"):
        file = folder / f"{side}list{split:02}.txt"
        if not file.is_file():
            raise MediaError(f"{folder} holds classInd.txt but not {file.name}")
        lines = file.read_text(encoding="utf-8").splitlines()
        found |= {line.split()[0]: side for line in lines if line.strip()}
    return found


def read_classes(file: Path) -> list[str]:
    """Read the classes by their numbers: lines of "1 ApplyEyeMakeup"."""
    numbered = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any(len(parts) != 2 or not parts[0].isdecimal() for parts in numbered):
        raise MediaError(f"{file}: lines of a number and a class are expected")
    return [name for _, name in sorted((int(number), name) for number, name in numbered)]


def _side(name: str, split: int) -> str:
    group = int(_group(name).rpartition("/g")[2])
    return "test" if TESTED * (split - 1) < group <= TESTED * split else "train"


def _label(name: str) -> str:
    return name.partition("/")[0]


def _group(name: str) -> str:
    """Name the film that a clip is from; groups are numbered in every class anew."""
    label, _, file = name.partition("/")
    found = NAME.fullmatch(file)
    return f"{label}/{found['group'] if found else file}"


def _collection(
    rows: list[Row], labels: list[str], absent: list[str], strange: list[str], lists: Path | None
) -> Collection:
    counts = Counter(row.split for row in rows)
    facts = {"train": counts["train"], "test": counts["test"], "present": len(rows), "classes": labels}
    warnings = []
    if lists is None:
        warnings.append(f"there is no {LISTS}/: the groups gNN decide, and classes are numbered in sorted order")
    if absent:
        warnings.append(f"{len(absent)} listed videos are absent: {some(absent)} (--json lists all)")
    if strange:
        warnings.append(f"{len(strange)} videos are left out, as no list or name tells their side: {some(strange)}")
    warnings += [f"no video is on the {side} side" for side in ("train", "test") if not counts[side]]
    return Collection(rows, labels, facts | {"absent": absent, "left_out": strange}, warnings)


if __name__ == "__main__":
    sys.exit(main())
