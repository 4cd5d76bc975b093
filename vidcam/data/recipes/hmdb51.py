"""HMDB51, 51 actions in films, by the official splits (Kuehne and others 2011).

ROOT holds testTrainMulti_7030_splits/ and videos/CLASS/*.avi, or CLASS/*.avi, or CLASS/CLASS/*.avi as when every
archive is unpacked into a folder of its own; any other video format will do. In the place of the videos it may hold
the download hmdb51_org.rar or the archives inside it, CLASS.rar: they are unpacked by unar, unrar, bsdtar or 7z.

Example:

    vidcam manifest hmdb51 HMDB51 --output manifest.csv --split 1

Every split: 51 classes, 6766 videos, of them 3570 train (70 per class), 1530 test (30 per class), 1666 unused.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidcam.data.collection import Assigned, Collection, Say, find_videos, matched, official, read_lines, silent, some
from vidcam.data.manifest import Row
from vidcam.errors import MediaError
from vidcam.media.files import scratch

LISTS = "testTrainMulti_7030_splits"
CODES = {"1": "train", "2": "test", "0": "unused"}
EXPECTED = {"train": 3570, "test": 1530, "unused": 1666}
CLASSES = 51
TOOLS = {  # how each is told to unpack an archive into a folder
    "unar": ["unar", "-quiet", "-no-directory", "-force-overwrite", "-output-directory", "{folder}", "{archive}"],
    "unrar": ["unrar", "x", "-idq", "-o+", "{archive}", "{folder}/"],
    "bsdtar": ["bsdtar", "-x", "-f", "{archive}", "-C", "{folder}"],
    "7z": ["7z", "x", "-y", "-bd", "-o{folder}", "{archive}"],
}


def collect(root: str | Path, *, split: int = 1, require_all: bool = False, say: Say = silent) -> Collection:
    """Read a split's lists and find the videos that they name.

    Args:
        root: the folder of the data set.
        split: the official split: 1, 2 or 3.
        require_all: videos that are absent are an error.
        say: told which archive is being unpacked.

    Raises:
        MediaError: the folder, its lists or videos are not there, a list is malformed, or an archive does not unpack.
        OptionError: there is no such split.
    """
    root = official(root, split)
    lines = list(read_lists(_lists(root), split))
    videos = _videos(root)
    unpack(root, videos, say)
    present, listed, absent, _, warnings = matched(videos, find_videos(videos), lines)
    rows = [
        Row(present[name], line.label, line.split, group=f"{line.label}/{source(line.name, line.label)}")
        for name, line in listed.items()
        if name in present
    ]
    if absent and require_all:
        raise MediaError(f"{len(absent)} of the listed videos are absent from {videos}: {some(absent)}")
    labels = list(dict.fromkeys(line.label for line in lines))
    counts = Counter(line.split for line in listed.values())
    facts: dict[str, Any] = {side: counts[side] for side in EXPECTED}
    facts |= {"split": split, "present": len(rows), "classes": labels, "absent": absent}
    return Collection(rows, labels, facts, [*_unofficial(len(labels), counts), *warnings])


def _lists(root: Path) -> Path:
    """Find the folder of the lists, which an archive's own folder may hold."""
    return next((folder for folder in sorted(root.glob(f"*/{LISTS}")) if folder.is_dir()), root / LISTS)


def _videos(root: Path) -> Path:
    """Find the folder of the videos: videos/, or ROOT where they lie in other folders."""
    videos = root / "videos"
    return root if not videos.is_dir() and find_videos(root) else videos


def read_lists(folder: Path, split: int) -> Iterator[Assigned]:
    """Read a split's lists by the order of the classes' folders: train, test and unused videos."""
    ending = f"_test_split{split}.txt"
    files = {file.name.removesuffix(ending): file for file in folder.glob(f"[!.]*{ending}")}
    if not files:
        raise MediaError(f"there are no lists *{ending} in {folder}")
    # By class: sorted by file name, climb_stairs would come before climb.
    for label in sorted(files):
        yield from _read_list(files[label], label)


def _read_list(file: Path, label: str) -> Iterator[Assigned]:
    for number, line in enumerate(read_lines(file), start=1):
        parts = line.rsplit(maxsplit=1)  # a name may hold spaces
        if parts and (len(parts) == 1 or parts[1] not in CODES):
            raise MediaError(f"{file}, line {number}: a name and 0, 1 or 2 are expected; given {line[:80]!r}")
        if parts:
            yield Assigned(label, parts[0].strip(), CODES[parts[1]])


def source(name: str, label: str) -> str:
    """Return the film that a clip was cut from: what stands before the class in its name."""
    match = re.fullmatch(rf"(.+)_{re.escape(label)}_[a-z]_.*", name)
    return match[1] if match else name


def unpack(root: Path, videos: Path, say: Say = silent) -> None:
    """Unpack the download to CLASS folders in `videos`, all of them or none; what is there already stays."""
    outer, unpacking = root / "hmdb51_org.rar", root / ".unpacking"
    archives = sorted({*root.glob("*.rar"), *root.glob("[!.]*/*.rar")} - {outer, root / "test_train_splits.rar"})
    killed = unpacking.exists()  # perhaps when some of the folders had been moved
    if outer.exists() and not archives and (killed or not any(videos.glob("[!.]*/"))):
        with scratch(unpacking) as temporary:
            extract(outer, temporary)
            whole = temporary / "videos"
            _unpack_classes(sorted(temporary.rglob("*.rar")), whole, say)
            videos.mkdir(exist_ok=True)
            for folder in sorted(whole.iterdir()):
                if not (videos / folder.name).exists():
                    os.replace(folder, videos / folder.name)
    _unpack_classes(archives, videos, say)
    if not videos.is_dir():
        raise MediaError(f"{root} holds neither videos nor hmdb51_org.rar")


def _unpack_classes(archives: list[Path], videos: Path, say: Say) -> None:
    """Unpack CLASS.rar, which hold CLASS/*.avi each; a folder appears when it is whole."""
    for archive in archives:
        if (videos / archive.stem).exists() or archive.with_suffix("").exists():
            continue
        say(f"unpacking {archive.name}")
        videos.mkdir(exist_ok=True)
        with scratch(videos / f".unpacking-{archive.stem}") as temporary:
            extract(archive, temporary)
            folder = next((file.parent for file in sorted(temporary.rglob("*.avi"))), None)
            if folder is None:
                raise MediaError(f"{archive} holds no .avi")
            os.replace(folder, videos / archive.stem)


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


def _unofficial(classes: int, counts: Counter[str]) -> list[str]:
    if classes == CLASSES and all(counts[side] == count for side, count in EXPECTED.items()):
        return []
    sides = ", ".join(f"{counts[side]} {side} ({count})" for side, count in EXPECTED.items())
    return [f"not the official lists: {classes} classes ({CLASSES}), {sides}"]
