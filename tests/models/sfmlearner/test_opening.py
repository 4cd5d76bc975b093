"""SfMLearner's slots: a drive, its camera, and what the network tells beside its scores."""

import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidcam.data.drives.drive import open_drive
from vidcam.data.drives.trajectory import chained
from vidcam.data.synthetic import drive, write_drives
from vidcam.errors import OptionError
from vidcam.models.build import load_model
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning
from vidcam.models.sfmlearner.network import Motion, SfMLearner
from vidcam.models.sfmlearner.opening import camera_poses, chosen_steps

SIZE = (64, 96)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive with intrinsics and true poses."""
    return write_drives(tmp_path_factory.mktemp("drives"), {"00": drive(0, frames=6, size=SIZE)})[0]


@pytest.fixture(scope="module")
def motion() -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        return load_model("sfmlearner", weights=None, options={"size": SIZE})


def test_the_model_given_to_open_is_unchanged(motion: Model, street: Path) -> None:
    before = {field.name: getattr(motion, field.name) for field in fields(motion)}
    digest = motion.digest
    source = motion.open(street)
    assert all(getattr(motion, name) is value for name, value in before.items())
    assert motion.net.intrinsics is None and motion.digest == digest
    assert source.model.net is not motion.net and source.model.net.pose is motion.net.pose
    wanted = open_drive(street).intrinsics_at(*SIZE)
    np.testing.assert_allclose(source.model.net.intrinsics.numpy(), wanted, rtol=1e-6)
    assert source.model.scores == motion.scores and not source.lacks
    assert source.beside["true_poses"].shape == (6, 4, 4) and source.rate == open_drive(street).rate
    with source.video() as video:
        assert (video.info.width, video.info.height) == (96, 64)


def test_intrinsics_may_be_chosen(motion: Model, street: Path) -> None:
    net = motion.open(street, intrinsics="60,60,48,32").model.net
    assert net.intrinsics.tolist() == [[60, 0, 48], [0, 60, 32], [0, 0, 1]]
    opened = open_drive(street, intrinsics="60,60,48,32")
    assert torch.equal(motion.open(opened).model.net.intrinsics, net.intrinsics)
    with pytest.raises(OptionError, match="the drive is open already"):
        motion.open(opened, intrinsics="60,60,48,32")
    with pytest.raises(OptionError, match="intrinsic= is no choice of sfmlearner"):
        motion.open(street, intrinsic="60,60,48,32")


def test_without_intrinsics_or_depth_network_there_is_no_loss(motion: Model, street: Path, tmp_path: Path) -> None:
    for picture in (street / "image_2").iterdir():
        (tmp_path / picture.name).write_bytes(picture.read_bytes())
    source = motion.open(tmp_path)
    assert "loss" not in source.model.scores and "loss" in motion.scores and len(source.model.scores) == 8
    assert source.lacks == {"loss": "the camera's intrinsics"} and source.model.net is motion.net
    alone = Model(SfMLearner(motion.net.pose), "pose.conv5", scores=motion.scores, opener=motion.opener)
    assert alone.open(street).lacks == {"loss": "disp="} and "loss" not in alone.open(street).model.scores


@pytest.mark.parametrize("rotation", ["euler", "quat"])
def test_poses_join_to_the_camera_s_way(rotation: str) -> None:
    """Window by window, or all at once: bit for bit the same."""
    with pytest.warns(UntrainedWarning):
        model = load_model("sfmlearner", weights=None, options={"size": SIZE, "rotation": rotation, "references": 4})
    vectors = torch.randn(40, 4, 6, generator=torch.Generator().manual_seed(0)) * 0.3
    extra = model.extras["poses"]
    assert extra.join is not None and not extra.per_frame
    told = [extra.read(Motion(vectors[i : i + n], None, None, None)) for n in (1, 3, 8) for i in range(0, 40, n)]
    whole = camera_poses(vectors.double().numpy(), rotation=rotation)
    given = torch.cat([part for part in told if part is not None]).numpy()
    assert given.dtype == np.float64 and np.array_equal(given, np.concatenate([whole] * 3))
    way = extra.join(whole)
    assert way.shape == (40 + 5 - 1, 4, 4) and np.array_equal(way, chained(chosen_steps(whole)).poses)


def test_depth_is_one_over_disparity_and_small(motion: Model) -> None:
    def told(disparity: Any) -> Any:
        return motion.extras["depth"].read(Motion(torch.zeros(1, 2, 6), disparity, None, None))

    assert told(None) is None and told(torch.zeros(1, 1, 4, 6)) is None
    disparity = torch.full((2, 1, 64, 208), 0.5)
    disparity[1, :, :, 104:] = 0.25
    depth = told(disparity)
    assert depth.shape == (2, 32, 104) and (depth[0] == 2).all() and depth[1, 0, [51, 52]].tolist() == [2, 4]
    assert told(torch.full((1, 1, 4, 6), 0.5)).shape == (1, 4, 6)
    assert motion.extras["depth"].join is None


def test_notes_say_what_a_score_means(motion: Model) -> None:
    (note,) = motion.notes
    assert (
        note
        == "tx to rz take points from a frame's camera to that of the next frame: driving forward, tz is below zero"
    )
