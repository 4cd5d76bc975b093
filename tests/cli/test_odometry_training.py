"""train-odometry from the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vidcam.cli import app
from vidcam.data.synthetic.driving import drive, write_drives
from vidcam.models.sfmlearner import pose_and_depth

pytest.importorskip("lightning")

FLAGS = ["--size", "32", "104", "--accelerator", "cpu", "--logger", "none", "--no-skip-static"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pose_and_depth, "DEPTH_PLANES", (8, 16, 16, 16, 16, 16, 16))
    monkeypatch.setattr(pose_and_depth, "DECODED", (8, 8, 16, 16, 16, 16, 16))
    write_drives(tmp_path / "road", {str(i): drive(i, frames=12, size=(32, 104)) for i in (1, 2)})
    return tmp_path / "road"


def test_train_odometry(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("epochs = 3\nbatch = 5\nexplainability = 0.1\n")
    output = tmp_path / "out"
    arguments = ["train-odometry", str(data), "--output", str(output), "--config", str(config), "--epochs", "1"]
    found = CliRunner().invoke(app, [*arguments, *FLAGS, "--validation", "2", "--json"], catch_exceptions=False)
    assert found.exit_code == 0
    told = json.loads(found.stdout)
    assert told["snippets"] == {"train": 10, "validation": 10} and told["history"][0]["steps"] == 2
    assert told["settings"]["size"] == [32, 104] and told["settings"]["explainability"] == 0.1
    assert told["outputs"] == [str(output / "pose.safetensors"), str(output / "disp.safetensors")]
    shown = CliRunner().invoke(app, [*arguments, *FLAGS, "--validation", "2", "--force"], catch_exceptions=False)
    assert shown.exit_code == 0 and "validation: drives 2" in shown.stdout and "(mean_motion) 0." in shown.stdout


def test_help_gives_examples() -> None:
    found = CliRunner().invoke(app, ["train-odometry", "--help"], catch_exceptions=False)
    assert found.exit_code == 0 and "dashcam.mp4" in found.stdout
