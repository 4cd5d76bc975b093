"""`vidcam odometry`: pose files and drives, results for people and programs, one line for every mistake."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vidcam.__main__ import main
from vidcam.data.drives.trajectory import Trajectory, chained, read_trajectory, write_kitti, write_rows
from vidcam.models.sfmlearner.pose_and_depth import DispNetS, PoseExpNet
from vidcam.odometry.errors import evaluate

Cli = Callable[..., tuple[int, str, str]]
SIZE = "size=[32, 104]"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command; return exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["odometry", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def winding(frames: int, ahead: float = 1.3, seed: int = 0) -> Trajectory:
    rng = np.random.default_rng(seed)
    steps = np.tile(np.eye(4), (frames - 1, 1, 1))
    angles = 0.05 * np.sin(np.arange(frames - 1) / 17)
    steps[:, 0, 0] = steps[:, 2, 2] = np.cos(angles)
    steps[:, 0, 2], steps[:, 2, 0] = np.sin(angles), -np.sin(angles)
    steps[:, :3, 3] = rng.normal(size=(frames - 1, 3)) * 0.05 + [0, 0, ahead]
    return chained(steps, np.arange(frames) * 0.1)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A predicted path in another unit, and the true one."""
    write_kitti(tmp_path / "predicted.txt", winding(120, ahead=0.13, seed=1))
    write_kitti(tmp_path / "true.txt", winding(120))
    return tmp_path / "predicted.txt", tmp_path / "true.txt"


@pytest.fixture
def pose_file(tmp_path: Path) -> Path:
    """A pose network of five frames, untrained."""
    path = tmp_path / "pose.pth.tar"
    torch.save({"epoch": 1, "state_dict": PoseExpNet(4).state_dict()}, path)
    return path


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Sequence 07 in KITTI's layout with 8 frames; its poses and those of 03 and 09."""
    folder = tmp_path / "dataset" / "sequences" / "07"
    (folder / "image_2").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(noise.integers(0, 256, (32, 104, 3), dtype=np.uint8)).save(folder / "image_2" / f"{i:06d}.png")
    (folder / "calib.txt").write_text("".join(f"P{i}: 50 0 52 0 0 50 16 0 0 0 1 0\n" for i in range(4)))
    (folder / "times.txt").write_text("".join(f"{i / 10}\n" for i in range(8)))
    (tmp_path / "dataset" / "poses").mkdir()
    for name, frames in (("07", 8), ("03", 30), ("09", 30)):
        write_kitti(tmp_path / "dataset" / "poses" / f"{name}.txt", winding(frames, seed=int(name)))
    return folder


def test_one_json_object(cli: Cli, files: tuple[Path, Path]) -> None:
    code, out, _ = cli(*files, "--json")
    assert code == 0
    facts = json.loads(out)
    known = evaluate(read_trajectory(files[0]), read_trajectory(files[1])).as_dict()
    keys = "ate_5_mean ate_5_std re_5_mean re_5_std t_rel_percent r_rel_deg_per_100m ate_m rpe_m rpe_deg alignment"
    assert {key: facts[key] for key in keys.split()} == {key: known[key] for key in keys.split()}
    assert facts["alignment"] == "7dof"
    assert list(facts["baselines"]) == ["constant_velocity", "straight_line"]
    assert any("mean motion is left out" in note for note in facts["notes"])


def test_a_table_for_people(cli: Cli, files: tuple[Path, Path]) -> None:
    code, out, err = cli(*files, "--alignment", "scale")
    assert code == 0
    facts = json.loads(cli(*files, "--alignment", "scale", "--json")[1])
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert f"{facts['ate_5_mean']:.4f} ± {facts['ate_5_std']:.4f}" in rows["predicted"]
    assert {"constant_velocity", "straight_line"} <= rows.keys()
    assert rows["ate_m:"] == f"ate_m: {facts['ate_m']:.4g}"
    assert "note: no training trajectories" in err


def test_training_poses_give_the_mean_motion(cli: Cli, files: tuple[Path, Path], tmp_path: Path) -> None:
    path = winding(50, seed=8)
    half = np.arctan2(path.poses[:, 0, 2], path.poses[:, 0, 0]) / 2  # TUM's quaternions of turns about y
    quaternions = np.stack([0 * half, np.sin(half), 0 * half, np.cos(half)], axis=1)
    write_rows(tmp_path / "other.txt", np.column_stack([path.seconds, path.positions, quaternions]))
    facts = json.loads(cli(*files, "--train-poses", tmp_path / "other.txt", "--json")[1])
    assert facts["baselines"]["mean_motion"]["snippets"] == 116
    assert "mean_motion is that of other" in facts["notes"]
    code, _, err = cli(*files, "--train-poses", files[1])
    assert (code, err.count("\n")) == (1, 1)
    assert "among the training ones" in err


def test_files(cli: Cli, files: tuple[Path, Path], tmp_path: Path) -> None:
    plot, table, folder = tmp_path / "a.png", tmp_path / "a.csv", tmp_path / "out"
    given = (*files, "--plot", plot, "--csv", table, "--output", folder)
    facts = json.loads(cli(*given, "--json")[1])
    names = ("poses.txt", "results.json", "results.csv", "trajectory.png")
    assert facts["outputs"] == [str(path) for path in (plot, table, *(folder / name for name in names))]
    assert all(Path(path).stat().st_size > 500 for path in facts["outputs"])
    assert json.loads((folder / "results.json").read_text())["ate_m"] == facts["ate_m"]
    with table.open(newline="") as file:
        assert len(list(csv.reader(file))) == 117
    code, _, err = cli(*given)
    assert (code, err.count("\n")) == (1, 1)
    assert "--force" in err
    assert cli(*given, "--force")[0] == 0


def test_pose_files_of_different_lengths(cli: Cli, files: tuple[Path, Path]) -> None:
    write_kitti(files[0], winding(100), force=True)
    assert cli(*files) == (
        1,
        "",
        "error: the predicted trajectory has 100 poses and the true one 120; both need one per frame\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predicted.txt"], "give POSES_PREDICTED and POSES_TRUE, or a SEQUENCE and --model"),
        (["predicted.txt", "none.txt"], "cannot read"),
        (["predicted.txt", "true.txt", "--alignment", "8dof"], "unknown alignment '8dof'"),
        (["predicted.txt", "true.txt", "--pose", "a.pth"], "give both, --model sfmlearner and its weights"),
        (["predicted.txt", "--model", "sfmlearner"], "give both, --model sfmlearner and its weights"),
        (["predicted.txt", "true.txt", "--plot", "a.xyz"], "unknown picture format 'xyz'"),
        (["bad.txt", "true.txt"], "bad.txt, line 2: a number is NaN or infinite"),
    ],
)
def test_mistakes(cli: Cli, files: tuple[Path, Path], arguments: list[str], said: str) -> None:
    folder = files[0].parent
    (folder / "bad.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 nan 0 1 0 0 0 0 1 0\n")
    before = sorted(folder.iterdir())
    code, out, err = cli(*(folder / word if "." in word else word for word in arguments))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err
    assert sorted(folder.iterdir()) == before


def test_a_sequence_knows_its_poses(cli: Cli, sequence: Path, pose_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("--model", "sfmlearner", "--pose", pose_file, "--option", SIZE, "--device", "cpu")
    code, said, _ = cli(sequence, *given, "--output", out, "--json")
    assert code == 0
    facts = json.loads(said)
    assert (facts["frames"], facts["snippets"]) == (8, 4)
    assert "mean_motion is that of 03" in facts["notes"]  # neither its own, nor that of a test sequence
    assert "snippets are the network's own" in facts["notes"]
    assert facts["t_rel_percent"] is None
    assert len(read_trajectory(out / "poses.txt")) == 8
    again = json.loads(cli(out / "poses.txt", sequence.parents[1] / "poses" / "07.txt", "--json")[1])
    assert again["ate_m"] == pytest.approx(facts["ate_m"], rel=1e-6)


def test_three_frames_and_no_truth(cli: Cli, sequence: Path, tmp_path: Path) -> None:
    pose = tmp_path / "pose3.pth"
    torch.save({"epoch": 1, "state_dict": PoseExpNet(2).state_dict()}, pose)
    given = ("--model", "sfmlearner", "--pose", pose, "--option", SIZE, "--device", "cpu", "--json")
    facts = json.loads(cli(sequence, *given)[1])
    assert any("chained path: the network sees 3 frames" in note for note in facts["notes"])
    (sequence.parents[1] / "poses" / "07.txt").unlink()
    code, said, _ = cli(sequence, *given, "--output", tmp_path / "out")
    assert code == 0
    assert json.loads(said)["notes"] == ["the true poses are not known: nothing is evaluated"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["poses.txt", "results.json", "trajectory.png"]
    code, _, err = cli(sequence, *given, "--csv", tmp_path / "a.csv")
    assert (code, err.count("\n")) == (1, 1)
    assert "07' are not known; give POSES_TRUE" in err
    facts = json.loads(cli(sequence, sequence.parents[1] / "poses" / "09.txt", *given)[1])  # the truth is given
    assert (facts["snippets"], facts["length_m"] > 5) == (4, True)


def test_a_drive_shorter_than_a_snippet(cli: Cli, sequence: Path, pose_file: Path) -> None:
    for picture in sorted((sequence / "image_2").iterdir())[4:]:
        picture.unlink()
    given = ("--model", "sfmlearner", "--pose", pose_file, "--option", SIZE, "--device", "cpu")
    code, _, err = cli(sequence, *given)
    assert (code, err.count("\n")) == (1, 1)
    assert "has 4 frames; a snippet of 'sfmlearner' needs 5" in err


def test_a_drive_without_intrinsics_and_its_depth(cli: Cli, sequence: Path, pose_file: Path, tmp_path: Path) -> None:
    """Neither changes the poses: a depth network is loaded beside the pose network, and the camera is as it is told."""
    (sequence / "calib.txt").unlink()
    torch.save({"epoch": 1, "state_dict": DispNetS().state_dict()}, tmp_path / "disp.pth.tar")
    given = (sequence, "--model", "sfmlearner", "--pose", pose_file, "--option", SIZE, "--device", "cpu", "--json")
    code, _, err = cli(*given)
    assert (code, err.count("\n")) == (1, 1) and "intrinsics" in err
    alone = json.loads(cli(*given, "--intrinsics", "50,50,52,16")[1])
    both = json.loads(cli(*given, "--intrinsics", "50,50,52,16", "--disp", tmp_path / "disp.pth.tar")[1])
    assert both == alone and alone["frames"] == 8


def test_help_has_examples(cli: Cli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    assert "vidcam odometry dataset/sequences/09 --model sfmlearner" in out


@pytest.mark.shared
def test_a_real_sequence(cli: Cli, data: Path, pose_file: Path) -> None:
    sequence = data / "kitti_odometry" / "dataset" / "sequences" / "04"
    code, out, _ = cli(sequence, "--model", "sfmlearner", "--pose", pose_file, "--device", "cpu", "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["frames"], facts["snippets"]) == (10, 6)
    assert 0.01 < facts["baselines"]["straight_line"]["ate_5_mean"] < 0.06
    assert "mean_motion is that of 00, 01, 02, 03, 05, 06, 07, 08" in facts["notes"]
