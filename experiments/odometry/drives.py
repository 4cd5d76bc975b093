"""The drives of the experiment: a synthetic world, and 200 real frames cut into three parts."""

import shutil
from pathlib import Path

from vidcam.data.drives.drive import Drive, open_drive
from vidcam.data.drives.trajectory import Trajectory, write_kitti
from vidcam.data.synthetic import build_world, write_drives

SIZE = (128, 416)
FRAMES = 70
SEEDS = {
    "train": range(100, 110),
    "validation": range(200, 202),
    "test": range(300, 302),
}
VEHICLES = 3
REAL = {"train": slice(0, 150), "validation": slice(150, 170), "test": slice(170, 200)}


def synthetic(work: Path) -> dict[str, list[Path]]:
    """Write the drives that are not there yet, and return the folders of each part."""
    root = work / "world"
    names = {part: {f"{part}_{seed}": seed for seed in seeds} for part, seeds in SEEDS.items()}
    missing = {n: s for part in names.values() for n, s in part.items() if not (root / "sequences" / n).is_dir()}
    for name, seed in missing.items():
        world = build_world(seed, frames=FRAMES, size=SIZE, vehicles=VEHICLES, fold=1)
        write_drives(root, {name: world}, force=True)
    return {part: [root / "sequences" / name for name in found] for part, found in names.items()}


def real(work: Path, scene: Path) -> dict[str, list[Path]]:
    """Cut the prepared scene into parts by time, as scenes of links, and return the folders of each part."""
    root, drive = work / "parts", open_drive(scene)
    pictures = sorted(scene.glob("*.jpg"))
    for part, frames in REAL.items():
        folder = root / part
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for picture in pictures[frames]:
            (folder / picture.name).symlink_to(picture.resolve())
        shutil.copyfile(scene / "cam.txt", folder / "cam.txt")
        assert drive.trajectory is not None
        write_kitti(folder / "poses.txt", Trajectory(drive.trajectory.poses[frames]))
    return {part: [root / part] for part in REAL}


def true_path(drive: Drive) -> Trajectory:
    """Return a drive's true trajectory."""
    assert drive.trajectory is not None
    return drive.trajectory
