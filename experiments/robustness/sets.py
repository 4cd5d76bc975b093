"""Data sets and drives: folders of small files, of which one list, table or name is damaged."""

import io
import random
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import material
import numpy as np
from material import Made, Maker
from PIL import Image

from vidcam.__main__ import main
from vidcam.data.drives.drive import find_drives

KITTI = "P0: 50 0 16 0 0 50 12 0 0 0 1 0\nP2: 50 0 16 -2 0 50 12 0 0 0 1 0\nTr: 1 0 0 0 0 1 0 0 0 0 1 0\n"
POSES = "".join(f"1 0 0 {i} 0 1 0 0 0 0 1 {i}.5\n" for i in range(4))
TUM = "".join(f"{i}.5 {i} 0 {2 * i} 0 0 0 1\n" for i in range(4))
TIMES = "0\n0.1\n0.2\n0.3\n"
DRIVES = {
    "dataset/sequences/00/calib.txt": KITTI,
    "dataset/sequences/00/times.txt": TIMES,
    "dataset/poses/00.txt": POSES,
    "scene/cam.txt": "50 0 16\n0 50 12\n0 0 1\n",
    "scene/poses.txt": POSES,
    "scene/times.txt": TIMES,
    "train.txt": "scene\n",
    "drives.csv": "path,camera,split\nscene,,train\ndataset/sequences/00,image_2,val\n",
}
PREDICTED = {"a.txt": POSES, "b.txt": TUM}
SETS = {
    "hmdb51/testTrainMulti_7030_splits/run_test_split1.txt": "a_run_f_cm_np1_ba_bad_0.avi 1\n"
    "b_run_f_cm_np1_ba_bad_0.avi 2\n",
    "hmdb51/testTrainMulti_7030_splits/walk_test_split1.txt": "c_walk_f_cm_np1_ba_bad_0.avi 1\n",
    "ucf101/ucfTrainTestlist/classInd.txt": "1 Run\n2 Walk\n",
    "ucf101/ucfTrainTestlist/trainlist01.txt": "Run/v_Run_g01_c01.avi 1\nWalk/v_Walk_g01_c01.avi 2\n",
    "ucf101/ucfTrainTestlist/testlist01.txt": "Run/v_Run_g02_c01.avi\n",
    "kinetics/train.csv": "label,youtube_id,time_start,time_end,split\nrun,abcdefghijk,0,10,train\n"
    "walk,bbcdefghijk,5,15,train\n",
    "kinetics/val.csv": "label,youtube_id,time_start,time_end,split\nrun,cbcdefghijk,0,10,val\n",
    "folder/run/one.avi": "",
    "folder/walk/two.avi": "",
}
VIDEOS = (
    *("hmdb51/videos/run/a_run_f_cm_np1_ba_bad_0.avi", "hmdb51/videos/run/b_run_f_cm_np1_ba_bad_0.avi"),
    *(
        "hmdb51/videos/walk/c_walk_f_cm_np1_ba_bad_0.avi",
        "ucf101/Run/v_Run_g01_c01.avi",
        "ucf101/Run/v_Run_g02_c01.avi",
    ),
    *("ucf101/Walk/v_Walk_g01_c01.avi", "kinetics/train/abcdefghijk_000000_000010.mp4"),
    *("kinetics/train/bbcdefghijk_000005_000015.mp4", "kinetics/val/cbcdefghijk_000000_000010.mp4"),
)


def drives(folder: Path) -> tuple[Maker, Any]:
    """KITTI's layout, prepared scenes, lists of drives, and pose files of both kinds; one of the files is changed."""
    root = folder / "root"
    for place in ("dataset/sequences/00/image_2", "scene"):
        (root / place).mkdir(parents=True, exist_ok=True)
        for number in range(4):
            name = f"{number:06}.png" if "image" in place else f"{number:07}.jpg"
            Image.fromarray(np.full((24, 32, 3), 40 * number, np.uint8)).save(root / place / name)

    def make(rng: random.Random, deep: bool) -> Made:
        name, sound = rng.choice(sorted((DRIVES | PREDICTED).items()))
        data = material.reworded(sound, rng) if deep else material.damaged(sound.encode(), rng)
        return f"={name.replace('/', '=')}", data

    def read(path: Path) -> str | None:
        name = path.name.partition("=")[2].replace("=", "/")
        for other, text in (DRIVES | PREDICTED).items():
            (root / other).parent.mkdir(parents=True, exist_ok=True)
            (root / other).write_text(text)
        (root / name).write_bytes(path.read_bytes())
        if name in PREDICTED:
            return quietly(["odometry", str(root / name), str(root / "dataset/poses/00.txt"), "--alignment", "scale"])
        found = find_drives(root / ("drives.csv" if name.endswith("csv") else "dataset" if "dataset" in name else ""))
        for drive in found:
            known = drive.intrinsics is None or np.isfinite(drive.intrinsics).all()
            times = drive.seconds is None or (np.isfinite(drive.seconds).all() and (np.diff(drive.seconds) > 0).all())
            if not known or not times or not (drive.rate is None or 0 < drive.rate < 1e6):
                return "what is known of a drive"
            if drive.trajectory is not None and not np.isfinite(drive.trajectory.distances).all():
                return "distances of a drive"
        return None

    return make, read


def recipes(folder: Path) -> tuple[Maker, Any]:
    """The downloads of data sets, of which a list or a name is changed."""

    def make(rng: random.Random, deep: bool) -> Made:
        name, sound = rng.choice(sorted(SETS.items()))
        data = material.reworded(sound, rng) if deep else material.damaged(sound.encode() or b"video", rng)
        return f"={name.replace('/', '=')}", data

    def read(path: Path) -> str | None:
        root, name = folder / "root", path.name.partition("=")[2].replace("=", "/")
        shutil.rmtree(root, ignore_errors=True)
        for other in (*SETS, *VIDEOS):
            (root / other).parent.mkdir(parents=True, exist_ok=True)
            (root / other).write_text(SETS.get(other, "video"))
        (root / name).write_bytes(path.read_bytes())
        recipe = name.partition("/")[0]
        more = ["--no-check"] if recipe == "kinetics" else []
        return quietly(["manifest", recipe, str(root / recipe), "--output", str(root / "m.csv"), "--force", *more])

    return make, read


def quietly(typed: list[str]) -> str | None:
    """Run a command; what goes wrong must be one line."""
    err = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        code = main(typed)
    wrong = [line for line in err.getvalue().splitlines() if line.startswith("error:")]
    return "several lines of errors" if code == 1 and len(wrong) != 1 else None
