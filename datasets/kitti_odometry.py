"""KITTI odometry (Geiger et al. 2012) to drives.csv, or to prepared scenes: 00 to 08 train, 09 and 10 test.

ROOT is the folder `dataset`, with sequences/NN/{image_2,calib.txt,times.txt} and poses/NN.txt. Every sequence is
checked, and what it lacks is said. A copy of a sequence's beginning will do: the pictures' names tell the rows of the
poses.

    python datasets/kitti_odometry.py ROOT --output drives.csv
    python datasets/kitti_odometry.py ROOT --prepare SCENES --size 128 416

Scenes are smaller pictures with their cam.txt and poses.txt: training reads them faster.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vidcam.data.drives.drive import Drive, open_drive
from vidcam.data.drives.listing import SPLITS, Listed, write_drives
from vidcam.data.drives.scene import write_scene
from vidcam.errors import MediaError, OptionError, VidcamError

FRAMES = {  # of the whole sequences
    "00": 4541, "01": 1101, "02": 4661, "03": 801, "04": 271, "05": 2761, "06": 1101, "07": 1101, "08": 4071,
    "09": 1591, "10": 1201,
}  # fmt: skip
TEST = ("09", "10")
WHOLE = {"image_0", "image_1", "image_2", "image_3"}


def main(arguments: list[str] | None = None) -> int:
    given = options().parse_args(arguments)
    try:
        check(given)
        drives, warnings = collect(given.root, given.camera)
        splits = {name: split(name, given.val) for name in drives}
        write(given, drives, splits)
    except (VidcamError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    tell(given, drives, splits)
    return 0


def options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("root", type=Path, metavar="ROOT", help="KITTI's folder `dataset`")
    made.add_argument("--output", type=Path, metavar="drives.csv", help="the list to write")
    made.add_argument("--prepare", type=Path, metavar="SCENES", help="a folder for prepared scenes and their lists")
    made.add_argument("--size", type=int, nargs=2, default=(128, 416), metavar=("H", "W"), help="of prepared pictures")
    made.add_argument("--camera", choices=sorted(WHOLE), help="by default image_2, else the first that is there")
    made.add_argument("--val", nargs="*", default=[], metavar="NN", help="sequences that validate, and do not train")
    made.add_argument("--force", action="store_true", help="replace what is there")
    made.add_argument("--json", action="store_true", help="print what was found as JSON")
    return made


def check(given: argparse.Namespace) -> None:
    """Refuse before any work what cannot be done."""
    if given.output is None and given.prepare is None:
        raise OptionError("say what to write: --output drives.csv, --prepare SCENES, or both")
    if given.output is not None and given.output.suffix.lower() != ".csv":
        raise OptionError(f"the list must end in .csv; given {str(given.output)!r}")
    if strange := sorted(set(given.val) - (set(FRAMES) - set(TEST))):
        raise OptionError(f"--val takes sequences of 00 to 08; given {strange[0]!r}")
    if not (given.root / "sequences").is_dir():
        raise MediaError(f"{str(given.root)!r} holds no folder sequences/; give KITTI's folder `dataset`")


def split(name: str, val: list[str]) -> str:
    """Return train, val or test."""
    return "test" if name in TEST else "val" if name in val else "train"


def collect(root: Path, camera: str | None) -> tuple[dict[str, Drive], list[str]]:
    """Open the sequences that have poses; name what is wrong with them and which are absent."""
    drives: dict[str, Drive] = {}
    warnings = []
    for name in FRAMES:
        place = root / "sequences" / name
        if place.is_dir():
            try:
                drives[name] = open_drive(place, camera=camera)
                warnings += [f"sequence {name} {what}" for what in lacks(drives[name])]
            except (MediaError, OptionError) as error:
                warnings.append(f"sequence {name} is left out: {error}")
    if not drives:
        raise MediaError(f"no sequence of 00 to 10 can be read; {warnings[0] if warnings else 'none is there'}")
    absent = [name for name in FRAMES if not (root / "sequences" / name).is_dir()]
    return drives, warnings + ([f"absent sequences: {', '.join(absent)}"] if absent else [])


def lacks(drive: Drive) -> list[str]:
    """Name what a sequence lacks."""
    found = []
    if drive.frames != FRAMES[drive.name]:
        found.append(f"has {drive.frames} of {FRAMES[drive.name]} pictures")
    if drive.numbers is not None and drive.numbers[-1] - drive.numbers[0] + 1 != drive.frames:
        found.append(f"has gaps: {drive.frames} pictures are numbered {drive.numbers[0]} to {drive.numbers[-1]}")
    found += ["has no poses"] if drive.trajectory is None else []
    return found + (["has no times.txt"] if drive.seconds is None else [])


def write(given: argparse.Namespace, drives: dict[str, Drive], splits: dict[str, str]) -> None:
    """Write the list, the scenes, or both."""
    if given.output is not None:
        rows = [Listed(drive.source.parent, drive.source.name, splits[name]) for name, drive in drives.items()]
        write_drives(rows, given.output, force=given.force)
    if given.prepare is not None:
        height, width = given.size
        for name, drive in drives.items():
            print(f"preparing {name}: {drive.frames} pictures", file=sys.stderr)
            write_scene(drive, given.prepare / name, size=(height, width), force=given.force)
        for side in SPLITS:
            names = [name for name in drives if splits[name] == side]
            (given.prepare / f"{side}.txt").unlink(missing_ok=True)
            if names:
                (given.prepare / f"{side}.txt").write_text("".join(f"{name}\n" for name in names))


def tell(given: argparse.Namespace, drives: dict[str, Drive], splits: dict[str, str]) -> None:
    """Print what was found, a line for every sequence."""
    facts: dict[str, dict[str, Any]] = {
        name: {
            "split": splits[name],
            "camera": drive.source.name,
            "frames": drive.frames,
            "width": drive.width,
            "height": drive.height,
            "poses": 0 if drive.trajectory is None else len(drive.trajectory),
            "meters": None if drive.trajectory is None else round(float(drive.trajectory.distances[-1]), 1),
        }
        for name, drive in drives.items()
    }
    if given.json:
        written = {"drives": given.output and str(given.output), "scenes": given.prepare and str(given.prepare)}
        print(json.dumps({**written, "sequences": facts}, indent=2))
        return
    for name, fact in facts.items():
        way = "no poses" if fact["meters"] is None else f"{fact['meters']} m"
        size = f"{fact['width']}x{fact['height']}"
        print(f"{name}: {fact['split']}, {fact['camera']}, {fact['frames']} frames of {size}, {way}")


if __name__ == "__main__":
    sys.exit(main())
