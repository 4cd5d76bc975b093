"""HMDB51 (Kuehne et al. 2011) to manifest.csv, by the official splits.

ROOT holds videos/CLASS/*.avi and testTrainMulti_7030_splits/. In the place of videos/ it may hold the download
hmdb51_org.rar or the archives inside it, CLASS.rar: they are unpacked to videos/ by unar, unrar, bsdtar or 7z.

    python datasets/hmdb51.py ROOT --output manifest.csv --split 1

Every split: 51 classes, 6766 videos, of them 3570 train (70 per class), 1530 test (30 per class), 1666 unused.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from vidcam.data.manifest import Row
from vidcam.data.recipe import Collection, parser, run, some, subfolders
from vidcam.errors import MediaError

SPLITS = "testTrainMulti_7030_splits"
CODES = {"1": "train", "2": "test", "0": "unused"}
EXPECTED = {"train": 3570, "test": 1530, "unused": 1666}
CLASSES = 51
TOOLS = {  # how each is told to unpack an archive into a folder
    "unar": ["unar", "-quiet", "-no-directory", "-force-overwrite", "-output-directory", "{folder}", "{archive}"],
    "unrar": ["unrar", "x", "-idq", "-o+", "{archive}", "{folder}/"],
    "bsdtar": ["bsdtar", "-x", "-f", "{archive}", "-C", "{folder}"],
    "7z": ["7z", "x", "-y", "-bd", "-o{folder}", "{archive}"],
}


def main(arguments: list[str] | None = None) -> int:
    made = parser(__doc__)
    made.add_argument("--split", type=int, choices=(1, 2, 3), default=1, help="the official split")
    made.add_argument("--require-all", action="store_true", help="videos that are absent are an error")
    return run(made, lambda given: collect(given.root, given.split, require_all=given.require_all), arguments)


def collect(root: Path, split: int, *, require_all: bool = False) -> Collection:
    """Read a split's lists and find the videos that they name."""
    listed = read_lists(root / SPLITS, split)
    unpack(root)
    present = {f"{folder.name}/{file.name}" for folder in subfolders(root / "videos") for file in folder.iterdir()}
    rows = [
        Row(root / "videos" / label / name, label, side, group=f"{label}/{source(name, label)}")
        for label, videos in listed.items()
        for name, side in videos.items()
        if f"{label}/{name}" in present
    ]
    absent = [f"{label}/{name}" for label, videos in listed.items() for name in videos]
    absent = [name for name in absent if name not in present]
    if absent and require_all:
        raise MediaError(f"{len(absent)} of the listed videos are absent from {root / 'videos'}: {some(absent)}")
    counts = Counter(side for videos in listed.values() for side in videos.values())
    facts: dict[str, Any] = {side: counts[side] for side in EXPECTED}
    facts |= {"split": split, "present": len(rows), "classes": list(listed), "absent": absent}
    return Collection(rows, list(listed), facts, list(_warnings(listed, counts, absent)))


def read_lists(folder: Path, split: int) -> dict[str, dict[str, str]]:
    """Read a split's lists: class, by the order of folder names -> video -> train, test or unused."""
    ending = f"_test_split{split}.txt"
    files = {file.name.removesuffix(ending): file for file in folder.glob(f"[!.]*{ending}")}
    if not files:
        raise MediaError(f"there are no lists *{ending} in {folder}")
    # By class: sorted by file name, climb_stairs would come before climb.
    return {label: _read_list(files[label]) for label in sorted(files)}


def _read_list(file: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.rsplit(maxsplit=1)  # a name may hold spaces
        if parts and (len(parts) == 1 or parts[1] not in CODES):
            raise MediaError(f"{file}, line {number}: a name and 0, 1 or 2 are expected; given {line[:80]!r}")
        if parts:
            found[parts[0].strip()] = CODES[parts[1]]
    return found


def source(name: str, label: str) -> str:
    """Return the film that a clip was cut from: what stands before the class in its name."""
    found = re.fullmatch(rf"(.+)_{re.escape(label)}_[a-z]_.*", name)
    return found[1] if found else name


def unpack(root: Path) -> None:
    """Unpack the download to videos/CLASS; what is there already stays."""
    outer, videos = root / "hmdb51_org.rar", root / "videos"
    classes = sorted({*root.glob("*.rar"), *videos.glob("*.rar")} - {outer, root / "test_train_splits.rar"})
    if outer.exists() and not classes and not (videos.is_dir() and subfolders(videos)):
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=root) as temporary:
            extract(outer, Path(temporary))
            _unpack_classes(sorted(Path(temporary).rglob("*.rar")), videos)
    _unpack_classes(classes, videos)
    if not videos.is_dir():
        raise MediaError(f"{root} holds neither videos/ nor hmdb51_org.rar")


def _unpack_classes(archives: list[Path], videos: Path) -> None:
    for archive in archives:
        if not (videos / archive.stem).exists():
            _unpack_class(archive, videos)


def _unpack_class(archive: Path, videos: Path) -> None:
    """Unpack CLASS.rar, which holds CLASS/*.avi; the folder appears when it is whole."""
    videos.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=videos) as temporary:
        print(f"unpacking {archive.name}", file=sys.stderr)
        extract(archive, Path(temporary))
        folder = next((file.parent for file in sorted(Path(temporary).rglob("*.avi"))), None)
        if folder is None:
            raise MediaError(f"{archive} holds no .avi")
        shutil.move(folder, videos / archive.stem)


def extract(archive: Path, folder: Path) -> None:
    """Unpack an archive with the first program that is there and can."""
    tools = [tool for tool in TOOLS if shutil.which(tool)]
    if not tools:
        raise MediaError(f"{archive} has to be unpacked, and none of {', '.join(TOOLS)} is installed")
    said = ""
    for tool in tools:
        command = [part.format(folder=folder.absolute(), archive=archive.absolute()) for part in TOOLS[tool]]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode == 0:
            return
        said = (done.stderr or done.stdout).strip().partition("\n")[0]
    raise MediaError(f"{' and '.join(tools)} cannot unpack {archive}: {said}")


def _warnings(listed: dict[str, dict[str, str]], counts: Counter[str], absent: list[str]) -> list[str]:
    found = []
    if len(listed) != CLASSES or any(counts[side] != count for side, count in EXPECTED.items()):
        sides = ", ".join(f"{counts[side]} {side} ({count})" for side, count in EXPECTED.items())
        found.append(f"not the official lists: {len(listed)} classes ({CLASSES}), {sides}")
    if absent:
        found.append(f"{len(absent)} listed videos are absent: {some(absent)} (--json lists all)")
    return found


if __name__ == "__main__":
    sys.exit(main())
