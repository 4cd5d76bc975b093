"""Training of pose and depth networks end to end, on drives through a tiny synthetic world."""

import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.utils.data import default_collate

from vidcam.data.drives.drive import find_drives
from vidcam.errors import MediaError, ModelError, OptionError
from vidcam.models.build import load_model
from vidcam.models.checkpoint import read_checkpoint
from vidcam.odometry.prediction import Prediction, predict
from vidcam.odometry.training import report as odometry_report
from vidcam.odometry.training.module import Odometry, OdometrySaving
from vidcam.odometry.training.networks import starting_networks
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.odometry.training.splits import split_drives
from vidcam.odometry.training.train import train_odometry
from vidcam.training.run import LAST
from vidcam.training.settings import Machine

POSE_KEYS = {
    f"{part}.{kind}" for part in [*(f"conv{k}.0" for k in range(1, 8)), "pose_pred"] for kind in ("weight", "bias")
}


def settings(arguments: dict[str, Any]) -> OdometrySettings:
    """The settings that `train_odometry` makes of arguments."""
    chosen = {name: p.default for name, p in inspect.signature(train_odometry).parameters.items()} | arguments
    return OdometrySettings(**{name: chosen[name] for name in inspect.signature(OdometrySettings).parameters})


def test_from_drives_to_poses(driving: dict[str, Any]) -> None:
    report = train_odometry(**driving | {"epochs": 2})
    folder = driving["output"]
    assert {path.name for path in folder.iterdir()} == {
        "pose.safetensors", "disp.safetensors", "last.ckpt", "report.json", "curves.png",
    }  # fmt: skip
    assert load_file(folder / "pose.safetensors").keys() == POSE_KEYS
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(report.as_dict()))
    assert report.validation == "the last 10% of each drive's frames"
    assert [drive["name"] for drive in report.drives] == ["00", "01"]
    assert [(row["epoch"], row["steps"]) for row in report.history] == [
        (0, 10),
        (1, 20),
    ]  # 2 drives, 19 snippets of 21 frames each, 4 per step
    best = min(report.history, key=lambda row: row["validation_photometric"])
    assert report.best == {"epoch": best["epoch"], "validation_photometric": best["validation_photometric"]}
    for row in report.history:
        assert row["loss"] == pytest.approx(row["photometric"] + 0.1 * row["smoothness"], rel=1e-5)


def test_checkpoints_load_and_give_the_same_poses(driving: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The network as it left the training, against the one that `load_model` makes of the files."""
    left: list[torch.Tensor] = []
    sample = split_drives([driving["data"]], settings(driving)).train[0]["clip"][None]
    write = OdometrySaving.write

    def keep(self: OdometrySaving, module: Odometry) -> None:
        with torch.no_grad():
            left.append(module.net(sample).pose)
        write(self, module)

    monkeypatch.setattr(OdometrySaving, "write", keep)
    train_odometry(**driving)
    pose, disp = (driving["output"] / f"{name}.safetensors" for name in ("pose", "disp"))
    options = read_checkpoint(pose).description["options"]
    assert options == read_checkpoint(disp).description["options"]
    assert options["size"] == [32, 104] and options["rotation"] == "euler" and options["references"] == 2
    model = load_model("sfmlearner", pose=pose, disp=disp, options=options)
    with torch.no_grad():
        assert torch.equal(model.net(sample).pose, left[-1])
    assert model.preprocessing.resize == (32, 104)
    assert len(predict(model, find_drives(driving["data"])[0]).trajectory) == 24


def test_it_learns(driving: dict[str, Any]) -> None:
    """The same snippets, once before and once after a few dozen steps."""
    run = driving | {
        "data": driving["data"] / "sequences" / "00",
        "epochs": 10,
        "learning_rate": 3e-3,
        "augment": False,
        "validation": ["none"],
        "smoothness": 0.01,
    }
    report = train_odometry(**run)
    first, last = report.history[0], report.history[-1]
    assert last["photometric"] < 0.8 * first["photometric"]
    assert report.validation == "none" and report.best["loss"] == min(row["loss"] for row in report.history)


def test_gradients_reach_every_weight(driving: dict[str, Any]) -> None:
    chosen = settings(driving | {"explainability": 0.2})
    module = Odometry(starting_networks(chosen), chosen)
    train = split_drives([driving["data"]], chosen).train
    module.losses(default_collate([train[0], train[20]])).total.mean().backward()
    still = [name for name, p in module.net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


def test_explainability_weight(driving: dict[str, Any]) -> None:
    """Without weight there are no masks; little lets them explain everything away, much keeps them at one."""
    means = []
    for weight in (0.01, 1.0):
        run = driving | {"explainability": weight, "epochs": 3, "learning_rate": 2e-3, "force": True}
        run |= {"data": driving["data"] / "sequences" / "00"}
        report = train_odometry(**run)
        pose = driving["output"] / "pose.safetensors"
        options = read_checkpoint(pose).description["options"]
        assert options["explainability"] is True
        row = report.history[-1]
        assert row["loss"] == pytest.approx(
            row["photometric"] + 0.1 * row["smoothness"] + weight * row["explainability"], rel=1e-5
        )
        means.append(row["explainability"])
    assert means[1] < 0.5 * means[0]


def test_validation_leaves_masks_aside(driving: dict[str, Any]) -> None:
    """A network that explains everything away has no photometric loss, but is not the best for it."""
    chosen = settings(driving | {"explainability": 0.2})
    module = Odometry(starting_networks(chosen), chosen)
    for k in range(1, 5):
        torch.nn.init.constant_(module.net.pose.get_submodule(f"predict_mask{k}").bias, -50.0)
    batch = default_collate([split_drives([driving["data"]], chosen).train[0]])
    with torch.no_grad():
        assert module.losses(batch).photometric.item() < 1e-6 < module.losses(batch, masked=False).photometric.item()


def test_epoch_size_bounds_the_steps(driving: dict[str, Any]) -> None:
    report = train_odometry(**driving | {"epochs": 3, "epoch_size": 2})
    assert [row["steps"] for row in report.history] == [2, 4, 6]


def test_starting_from_checkpoints(driving: dict[str, Any]) -> None:
    """Masks that are wanted start anew; those that are not wanted are left out."""
    train_odometry(**driving)
    pose = driving["output"] / "pose.safetensors"
    trained = load_file(pose)
    with_masks = starting_networks(settings(driving | {"pose": str(pose), "explainability": 0.2})).pose.state_dict()
    assert all(torch.equal(with_masks[key], value) for key, value in trained.items())
    assert "predict_mask1.weight" in with_masks
    torch.save({"epoch": 3, "state_dict": with_masks}, pose.with_name("legacy.pth.tar"))
    legacy = str(pose.with_name("legacy.pth.tar"))
    assert starting_networks(settings(driving | {"pose": legacy})).pose.state_dict().keys() == POSE_KEYS
    with pytest.raises(ModelError, match=r"legacy.* takes 3 frames; given length 5"):
        train_odometry(**driving | {"pose": legacy, "length": 5, "output": driving["output"] / "other"})
    pose_given = r"legacy\.pth\.tar is of a pose network \(PoseExpNet\); disp takes a depth network \(DispNetS\)$"
    with pytest.raises(ModelError, match=pose_given):
        train_odometry(**driving | {"disp": legacy, "output": driving["output"] / "other"})
    with pytest.raises(ModelError, match=r"is of a depth network \(DispNetS\); pose takes a pose network"):
        train_odometry(**driving | {"pose": pose.with_name("disp.safetensors"), "output": driving["output"] / "other"})
    assert not (driving["output"] / "other").exists()


def states(path: Path) -> dict[str, Any]:
    found = torch.load(path / LAST, weights_only=True)
    return {name: found[name] for name in ("state_dict", "optimizer_states", "history")}


SCRIPT = """
import json, sys
import torch
torch.set_num_threads(1)
from vidcam.models.sfmlearner import pose_and_depth
from vidcam.odometry.training.train import train_odometry

if __name__ == "__main__":
    pose_and_depth.DEPTH_PLANES, pose_and_depth.DECODED = (8, *[16] * 6), (8, 8, *[16] * 5)
    train_odometry(**json.loads(sys.argv[1]))
"""


@pytest.mark.slow
def test_two_processes_train_as_one(driving: dict[str, Any], tmp_path: Path) -> None:
    """Batches of 2 in each of two processes (gloo) are batches of 4 in one."""
    (tmp_path / "run.py").write_text(SCRIPT)
    run = driving | {"epochs": 2, "epoch_size": 3, "validation": "01"}
    two = {"batch": 2, "devices": 2, "strategy": "ddp"}
    for name, change in (("one", {}), ("two", two)):
        given = json.dumps(run | change | {"output": tmp_path / name}, default=str)
        subprocess.run([sys.executable, "-W", "error", str(tmp_path / "run.py"), given], check=True)
    one, other = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two"))
    for a, b in zip(one["history"], other["history"], strict=True):
        assert a == pytest.approx(b, rel=1e-3)
    # Adam's first steps are of the rate's size whatever the gradient's: rounding decides those of weights without one
    ours, theirs = (load_file(tmp_path / name / "pose.safetensors") for name in ("one", "two"))
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=2e-4)


class Killed(Exception):
    pass


@pytest.mark.parametrize("kill_at", [5, 12])
def test_killed_in_an_epoch_and_resumed(
    driving: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kill_at: int, assert_same: Callable[[Any, Any], None]
) -> None:
    """Killed before anything of a step is saved; `last.ckpt` is of the middle of an epoch, or of the end of one."""
    run = driving | {"epochs": 2, "save_every": 4, "validation": "01"}
    whole = train_odometry(**run | {"output": run["output"] / "whole"})
    assert [row["steps"] for row in whole.history] == [6, 12]
    hook = OdometrySaving.on_train_batch_end

    def dying(self: OdometrySaving, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == kill_at:
            raise Killed
        hook(self, trainer, *rest)

    killed = run | {"output": run["output"] / "killed"}
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(OdometrySaving, "on_train_batch_end", dying)
        train_odometry(**killed)
    assert torch.load(killed["output"] / LAST, weights_only=True)["global_step"] == {5: 4, 12: 8}[kill_at]
    resumed = train_odometry(**killed | {"resume": True, "workers": 1})
    assert_same(states(run["output"] / "whole"), states(killed["output"]))
    assert resumed.history == whole.history and resumed.best == whole.best
    for name in ("pose.safetensors", "disp.safetensors"):
        assert_same(load_file(run["output"] / "whole" / name), load_file(killed["output"] / name))


def test_more_epochs_go_on_and_other_settings_do_not(driving: dict[str, Any]) -> None:
    run = driving | {"epoch_size": 1}
    train_odometry(**run)
    with pytest.raises(OptionError, match=r"exists: resume=True .* force=True"):
        train_odometry(**run)
    with pytest.raises(OptionError, match=r"cannot resume: smoothness was 0\.1, given 2\.0"):
        train_odometry(**run | {"resume": True, "smoothness": 2.0})
    with pytest.raises(OptionError, match=r"cannot resume: the data's drives are not those of the run"):
        train_odometry(**run | {"resume": True, "data": driving["data"] / "sequences" / "01"})
    assert len(train_odometry(**run | {"resume": True, "epochs": 2}).history) == 2


def test_a_loss_that_is_not_finite_is_said(driving: dict[str, Any]) -> None:
    with pytest.raises(
        ModelError, match=r"^the (validation )?loss is not finite in epoch \d.*lower the learning rate$"
    ):
        train_odometry(**driving | {"learning_rate": 1e18, "epochs": 3})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": Path("/nonexistent")}, MediaError, "nonexistent"),
        ({"length": 4}, OptionError, "odd"),
        ({"length": 25}, MediaError, "24 frames; a snippet needs 25"),
        ({"size": (32,)}, OptionError, "a height and a width"),
        ({"rotation": "eulre"}, OptionError, "euler"),
        ({"validation": "02"}, OptionError, "02.*00"),
        ({"validation": ["00", "01"]}, OptionError, "no drive is left to learn from"),
        ({"smoothness": -1.0}, OptionError, "smoothness must not be negative"),
        ({"learning_rate": 0.0}, OptionError, "learning_rate must be positive"),
        ({"epoch_size": 0}, OptionError, "epoch_size must be at least 1"),
        ({"seed": -1}, OptionError, "seed must be from 0 to 9223372036854775807; given -1"),
        ({"seed": 2**63}, OptionError, "seed must be from 0 to"),
        ({"size": (4, 4)}, ModelError, "at least 8x8 pixels; given 4x4"),
        ({"size": (16, 16)}, ModelError, "at least 17x17"),
        ({"devices": 9999}, OptionError, r"devices must be at most \d+ on this CPU; given 9999"),
        ({"logger": "wandb"}, OptionError, "unknown logger"),
        ({"devices": 0}, OptionError, "the Trainer refuses"),
    ],
)
def test_what_cannot_be_trained(
    driving: dict[str, Any], change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        train_odometry(**driving | change)
    assert "\n" not in str(caught.value)
    assert not driving["output"].exists()


def test_the_largest_seed(driving: dict[str, Any]) -> None:
    train_odometry(**driving | {"seed": 2**63 - 1, "epoch_size": 1})


def test_force_keeps_the_run_where_the_new_one_cannot_begin(driving: dict[str, Any], tmp_path: Path) -> None:
    """Sizes that differ amid a drive, networks that are too large for the frames, and weights that are none."""
    train_odometry(**driving | {"epoch_size": 1})
    before = {path.name: path.read_bytes() for path in driving["output"].iterdir()}
    mixed = tmp_path / "mixed"
    shutil.copytree(driving["data"] / "sequences" / "00", mixed)
    Image.new("RGB", (106, 32)).save(mixed / "image_2" / "000010.png")
    broken = load_file(driving["output"] / "pose.safetensors")
    for name, factor in (("nan", torch.nan), ("huge", 1e36)):
        save_file({key: value * factor for key, value in broken.items()}, tmp_path / f"{name}.safetensors")
    for change, error, message in (
        ({"data": mixed}, MediaError, r"differ in size: '000000\.png' is 104x32, '000010\.png' is 106x32"),
        ({"size": (16, 16)}, ModelError, "at least 17x17"),
        ({"pose": tmp_path / "nan.safetensors"}, ModelError, "holds weights that are no finite numbers"),
        ({"pose": tmp_path / "huge.safetensors"}, ModelError, "the loss is nan before any step"),
    ):
        with pytest.raises(error, match=message):
            train_odometry(**driving | {"force": True} | change)
        assert {path.name: path.read_bytes() for path in driving["output"].iterdir()} == before
        with pytest.raises(error, match=message):
            train_odometry(**driving | {"output": tmp_path / "new" / "run"} | change)
        assert not (tmp_path / "new").exists()


def test_a_run_that_fails_leaves_no_empty_folder(driving: dict[str, Any], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(driving["data"] / "sequences" / "00", damaged)
    picture = damaged / "image_2" / "000010.png"
    picture.write_bytes(picture.read_bytes()[:60])  # the header says nothing of it
    with pytest.raises(MediaError, match=r"000010\.png"):
        train_odometry(**driving | {"data": damaged, "output": tmp_path / "new" / "run"})
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"cannot make the folder '.*file': File exists"):
        train_odometry(**driving | {"output": tmp_path / "file"})


def test_every_setting_is_an_argument() -> None:
    arguments = set(inspect.signature(train_odometry).parameters)
    assert set(inspect.signature(OdometrySettings).parameters) <= arguments
    assert set(inspect.signature(Machine).parameters) - {"log_folder", "sync_batchnorm"} <= arguments


def test_measured_against_the_truth(driving: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that knew the truth but for its scale makes no error, also where only the last frames are measured."""

    def knowing(model: Any, drive: Any) -> Prediction:
        from vidcam.data.drives.trajectory import Trajectory
        from vidcam.odometry.baselines import snippets

        poses = drive.trajectory.poses.copy()
        poses[:, :3, 3] *= 7
        path = Trajectory(poses).rebased()
        cut = snippets(path, model.frames)
        return Prediction(cut, path)

    monkeypatch.setattr(odometry_report, "predict", knowing)
    rows = train_odometry(**driving | {"validation": "01", "epoch_size": 1}).odometry
    assert [(row["drive"], row["first_frame"], row["frames"]) for row in rows] == [("01", 0, 24)]
    row = rows[0]
    assert row["ate_3_mean"] < 1e-9 and row["ate_5_mean"] < 1e-9 and row["re_3_mean"] < 1e-6
    assert set(row["baselines"]) == {"constant_velocity", "straight_line", "mean_motion"}
    assert row["baselines"]["mean_motion"]["ate_5_mean"] > 1e-4
    tail = train_odometry(**driving | {"epoch_size": 1, "force": True}).odometry
    assert [(row["drive"], row["first_frame"], row["frames"]) for row in tail] == [("00", 21, 3), ("01", 21, 3)]
    assert all(row["ate_3_mean"] < 1e-9 and "ate_5_mean" not in row for row in tail)
