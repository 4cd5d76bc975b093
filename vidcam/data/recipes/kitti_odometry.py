"""KITTI odometry, drives with poses: 00 to 08 train, 09 and 10 test (Geiger 2012).

ROOT is the folder `dataset`, with sequences/NN/{image_2,calib.txt,times.txt} and poses/NN.txt. Every sequence is
checked, and what it lacks is said. A copy of a sequence's beginning will do: the pictures' names tell the rows of the
poses. Written is drives.csv, scenes, or both; scenes are smaller pictures with their cam.txt and poses.txt: training
reads them faster.

Examples:

    vidcam manifest kitti_odometry dataset --output drives.csv --val 08

    vidcam manifest kitti_odometry dataset --prepare scenes --size 128 416
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcam.data.collection import Say, existing, silent
from vidcam.data.drives.drive import Drive, open_drive
from vidcam.data.drives.listing import SPLITS, ListedDrive, write_drives
from vidcam.errors import MediaError, OptionError
from vidcam.media import replacing

FRAMES = {  # of the whole sequences
    "00": 4541, "01": 1101, "02": 4661, "03": 801, "04": 271, "05": 2761, "06": 1101, "07": 1101, "08": 4071,
    "09": 1591, "10": 1201,
}  # fmt: skip
TEST = ("09", "10")


@dataclass
class Sequences:
    """What a copy of KITTI holds."""

    drives: dict[str, Drive]
    """By the sequence's number."""
    splits: dict[str, str]
    warnings: list[str]

    def write(
        self,
        output: str | Path | None = None,
        *,
        prepare: str | Path | None = None,
        size: tuple[int, int] = (128, 416),
        force: bool = False,
        say: Say = silent,
    ) -> dict[str, Any]:
        """Write the list of drives, the scenes, or both; returns what was written, and the facts of every sequence.

        Args:
            output: the drives.csv to write.
            prepare: a folder for prepared scenes and their lists.
            size: height and width of prepared pictures.
            force: replace what is there.
            say: told which sequence is being prepared.
        """
        self.check(output, prepare)
        if output is not None:
            sources = {name: drive.source for name, drive in self.drives.items()}
            rows = [ListedDrive(source.parent, source.name, self.splits[name]) for name, source in sources.items()]
            write_drives(rows, Path(output), force=force)
        if prepare is not None:
            self._prepare(Path(prepare), size, force, say)
        return {
            "drives": output and str(output),
            "scenes": prepare and str(prepare),
            "sequences": {name: facts(drive, self.splits[name]) for name, drive in self.drives.items()},
        }

    @staticmethod
    def check(output: str | Path | None = None, prepare: str | Path | None = None, **_: Any) -> None:
        """Refuse what `write` refuses, before any picture was opened."""
        if output is None and prepare is None:
            raise OptionError("say what to write: output= (drives.csv), prepare= (a folder of scenes), or both")
        if output is not None and Path(output).suffix.lower() != ".csv":
            raise OptionError(f"the list must end in .csv; given {str(output)!r}")

    def _prepare(self, folder: Path, size: tuple[int, int], force: bool, say: Say) -> None:
        from vidcam.data.drives.scene import write_scene

        for name, drive in self.drives.items():
            say(f"preparing {name}: {drive.frames} pictures")
            write_scene(drive, folder / name, size=size, force=force)
        for side in SPLITS:
            names = [name for name in self.drives if self.splits[name] == side]
            (folder / f"{side}.txt").unlink(missing_ok=True)
            if names:
                with replacing(folder / f"{side}.txt", force=True) as part:
                    part.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")

    @staticmethod
    def lines(facts: dict[str, Any]) -> Iterator[str]:
        """Say what `write` returned for people: a line for every sequence."""
        for name, fact in facts["sequences"].items():
            way = "no poses" if fact["meters"] is None else f"{fact['meters']} m"
            size = f"{fact['width']}x{fact['height']}"
            yield f"{name}: {fact['split']}, {fact['camera']}, {fact['frames']} frames of {size}, {way}"


def collect(root: str | Path, *, camera: str | None = None, val: Sequence[str] = ()) -> Sequences:
    """Open the sequences that have poses; tell what is wrong with them and which are absent.

    Args:
        root: KITTI's folder `dataset`.
        camera: such as image_2; by default that, else the first that is there.
        val: a sequence that validates, and does not train, such as 08; may be repeated.

    Raises:
        MediaError: the folder holds no sequence that can be read.
        OptionError: a sequence cannot validate.
    """
    root = existing(root)
    if strange := sorted(set(val) - (set(FRAMES) - set(TEST))):
        raise OptionError(f"val= takes sequences of 00 to 08; given {strange[0]!r}")
    if not (root / "sequences").is_dir():
        raise MediaError(f"{str(root)!r} holds no folder sequences/; give KITTI's folder `dataset`")
    drives, warnings = opened(root, camera)
    sides = {name: "test" if name in TEST else "val" if name in val else "train" for name in drives}
    return Sequences(drives, sides, warnings)


def opened(root: Path, camera: str | None) -> tuple[dict[str, Drive], list[str]]:
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
    lacking = []
    if drive.frames != FRAMES[drive.name]:
        lacking.append(f"has {drive.frames} of {FRAMES[drive.name]} pictures")
    if drive.numbers is not None and drive.numbers[-1] - drive.numbers[0] + 1 != drive.frames:
        lacking.append(f"has gaps: {drive.frames} pictures are numbered {drive.numbers[0]} to {drive.numbers[-1]}")
    lacking += ["has no poses"] if drive.trajectory is None else []
    return lacking + (["has no times.txt"] if drive.seconds is None else [])


def facts(drive: Drive, split: str) -> dict[str, Any]:
    """Return what there is to know of a sequence."""
    return {
        "split": split,
        "camera": drive.source.name,
        "frames": drive.frames,
        "width": drive.width,
        "height": drive.height,
        "poses": 0 if drive.trajectory is None else len(drive.trajectory),
        "meters": None if drive.trajectory is None else round(float(drive.trajectory.distances[-1]), 1),
    }
