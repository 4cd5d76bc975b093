import json
import shutil

import pytest

from vidcam.__main__ import main
from vidcam.data.drives.drive import find_drives
from vidcam.data.drives.listing import read_drives

PROJECTIONS = "".join(f"P{camera}: 60 0 19 0 0 60 11 0 0 0 1 0\n" for camera in range(4))
BLACK = b"P6\n8 6\n255\n" + bytes(8 * 6 * 3)


@pytest.fixture
def root(tmp_path):
    """Sequences 01, 05 and 10 of three pictures each, with whole poses."""
    for name in ("01", "05", "10"):
        folder = tmp_path / "dataset/sequences" / name
        (folder / "image_2").mkdir(parents=True)
        for number in range(3):
            (folder / f"image_2/{number:06d}.ppm").write_bytes(BLACK)
        (folder / "calib.txt").write_text(PROJECTIONS)
        (folder / "times.txt").write_text("0 0.1 0.2")
        poses = tmp_path / "dataset/poses" / f"{name}.txt"
        poses.parent.mkdir(exist_ok=True)
        poses.write_text("".join(f"1 0 0 0 0 1 0 0 0 0 1 {2 * z}\n" for z in range(1101)))
    return tmp_path / "dataset"


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main(["manifest", "kitti_odometry", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


def test_sequences_are_split_as_published(root, run, tmp_path):
    path = tmp_path / "drives.csv"
    code, out, said = run(root, "--output", path, "--val", "05", "--json")
    facts = json.loads(out)["sequences"]
    assert code == 0 and [row.split for row in read_drives(path)] == ["train", "val", "test"]
    assert facts["10"] == {
        "split": "test", "camera": "image_2", "frames": 3, "width": 8, "height": 6, "poses": 3, "meters": 4.0
    }  # fmt: skip
    assert "warning: sequence 10 has 3 of 1201 pictures" in said
    assert "warning: absent sequences: 00, 02, 03, 04, 06, 07, 08, 09" in said
    assert [drive.name for drive in find_drives(path, split="test")] == ["10"]


def test_what_a_sequence_lacks_is_said(root, run, tmp_path):
    (root / "sequences/01/calib.txt").unlink()
    (root / "sequences/05/times.txt").unlink()
    (root / "sequences/05/image_2/000001.ppm").unlink()
    (root / "poses/10.txt").unlink()
    code, out, said = run(root, "--output", tmp_path / "drives.csv")
    assert code == 0 and out.splitlines()[1] == "10: test, image_2, 3 frames of 8x6, no poses"
    for about in ("01 is left out: there is no", "05 has no times", "05 has gaps: 2 pictures", "10 has no poses"):
        assert [line for line in said if line.startswith(f"warning: sequence {about}")]


def test_prepared_scenes(root, run, tmp_path):
    code, _, _ = run(root, "--prepare", tmp_path / "scenes", "--size", 4, 16, "--val", "01")
    assert code == 0
    for split, name in (("train", "05"), ("val", "01"), ("test", "10")):
        (drive,) = find_drives(tmp_path / "scenes", split=split)
        assert (drive.name, drive.width, drive.height, len(drive.trajectory)) == (name, 16, 4, 3)
        assert drive.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]] == pytest.approx([120, 40, 38, 22 / 3])


def test_errors_are_one_line(root, run, tmp_path):
    path = tmp_path / "drives.csv"
    for arguments in (
        (root,),
        (tmp_path, "--output", path),
        (root, "--output", tmp_path / "drives.txt"),
        (root, "--output", path, "--val", "09"),
    ):
        code, out, said = run(*arguments)
        assert code == 1 and not out and len(said) == 1 and said[0].startswith("error: ")
    shutil.rmtree(root / "sequences")
    (root / "sequences").mkdir()
    assert run(root, "--output", path)[2] == ["error: no sequence of 00 to 10 can be read; none is there"]
    assert not path.exists()


@pytest.mark.shared
def test_real_sequences(data, run, tmp_path):
    path = tmp_path / "drives.csv"
    code, out, _ = run(data / "kitti_odometry/dataset", "--output", path)
    assert code == 0 and out.splitlines() == [
        "04: train, image_2, 10 frames of 1226x370, 11.9 m",
        "06: train, image_0, 51 frames of 1226x370, 59.9 m",
    ]
    assert [drive.frames for drive in find_drives(path)] == [10, 51]
