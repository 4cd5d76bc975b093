"""Opening what a model is asked about: by its own opener, and without one."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from vidcam.data.drives.drive import Drive
from vidcam.data.drives.trajectory import Trajectory
from vidcam.errors import OptionError
from vidcam.models.model import Model
from vidcam.models.source import Source


def opener(model: Model, source: Any, *, camera: str = "left", lens: float = 1.0) -> Source:
    return Source(model, Path(source), beside={"lens": np.full(3, lens)}, lacks={"loss": camera})


def model(**slots: Any) -> Model:
    return Model(nn.Sequential(nn.Conv3d(3, 2, 1)), "0", **slots)


def test_without_an_opener_a_source_is_a_video() -> None:
    own = model()
    source = own.open("clip.mp4", camera=None)
    assert source.model is own and source.path == Path("clip.mp4") and source.rate is None and not source.beside
    assert own.open(source) is source


def test_choices_go_to_the_opener() -> None:
    own = model(opener=opener)
    source = own.open("clip.mp4", camera="right", lens=None)
    assert source.lacks == {"loss": "right"} and source.beside["lens"].tolist() == [1, 1, 1]
    assert own.open("clip.mp4", lens=2.0).beside["lens"].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("slots", "choice", "said"),
    [
        ({}, "camera", "camera= is no choice of custom, which takes rate"),
        ({"opener": opener}, "camra", "camra= is no choice of custom, which takes camera, lens"),
    ],
)
def test_unknown_choices_are_refused(slots: dict[str, Any], choice: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        model(**slots).open("clip.mp4", **{choice: "left"})


def test_what_is_open_takes_no_choices() -> None:
    own = model(opener=opener)
    with pytest.raises(OptionError, match="camera= is no choice of"):
        own.open(own.open("clip.mp4"), camera="left")


@pytest.mark.parametrize("given", [3, None, {}])
def test_what_is_no_source(given: Any) -> None:
    with pytest.raises(OptionError, match=r"a source is a path, an array .*; given"):
        model().open(given)


def test_a_drive_brings_its_rate_and_its_true_poses(tmp_path: Path) -> None:
    poses = np.tile(np.eye(4), (2, 1, 1))
    drive = Drive("d", tmp_path, 4, 4, 2, trajectory=Trajectory(poses), rate=Fraction(10))
    source = model().open(drive)
    assert source.path == tmp_path and source.rate == 10 and source.beside["true_poses"] is poses
    film = Drive("d", tmp_path / "a.mp4", 4, 4, 2, rate=Fraction(10))
    assert model().open(film).rate is None and not model().open(film).beside
