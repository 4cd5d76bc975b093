"""Poses from a network that knows the truth: every inversion, order and end of the path shows."""

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vidcam.data.drives.drive import Drive
from vidcam.data.drives.trajectory import Trajectory, chained
from vidcam.errors import MediaError, ModelError, OptionError
from vidcam.models.extra import Extra
from vidcam.models.model import Model
from vidcam.models.sfmlearner.geometry import pose_matrix
from vidcam.models.sfmlearner.opening import camera_poses, chosen_steps
from vidcam.odometry.baselines import snippets
from vidcam.odometry.prediction import predict
from vidcam.types import Floats

FRAMES = 12


class Output(NamedTuple):
    pose: Tensor


class Oracle(nn.Module):
    """Reads a frame's number from its color and answers with the true target-to-reference poses.

    Poses of target i are scaled by `scales[i]`: a chained path tells which snippet each step came from.
    """

    def __init__(self, truth: Trajectory, scales: Floats | None = None) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.drop = nn.Dropout(0.9)  # in training mode it would spoil the colors
        self.truth, self.scales = truth, np.ones(len(truth)) if scales is None else scales

    def forward(self, clip: Tensor) -> Output:
        assert not torch.is_grad_enabled()
        seen = (self.drop(clip).mean(dim=(1, 3, 4)) * 255 / 20).round().int()  # (B, T)
        return Output(torch.stack([self._vectors(row.tolist()) for row in seen]))

    def _vectors(self, frames: list[int]) -> Tensor:
        target = frames[len(frames) // 2]
        return torch.tensor([self._vector(target, other) for other in frames if other != target], dtype=torch.float64)

    def _vector(self, target: int, other: int) -> list[float]:
        moved = np.linalg.inv(self.truth.poses[other]) @ self.truth.poses[target]  # camera of target -> of reference
        r = moved[:3, :3]  # Rx Ry Rz
        angles = [math.atan2(-r[1, 2], r[2, 2]), math.asin(r[0, 2]), math.atan2(-r[0, 1], r[0, 0])]
        return [*(moved[:3, 3] * self.scales[target]).tolist(), *angles]


@pytest.fixture
def truth() -> Trajectory:
    """A path that turns about all axes and never repeats a step."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(FRAMES - 1, 6)) * [0.1, 0.1, 0.3, 0.05, 0.1, 0.05] + [0, 0, 1, 0, 0, 0]
    steps = np.tile(np.eye(4), (FRAMES - 1, 1, 1))
    steps[:, :3] = pose_matrix(torch.from_numpy(vectors)).numpy()
    return chained(steps)


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    """Frame i has the color 20 i."""
    for i in range(FRAMES):
        Image.new("RGB", (16, 8), (20 * i,) * 3).save(tmp_path / f"{i:03d}.png")
    return Drive(name="drive", source=tmp_path, width=16, height=8, frames=FRAMES)


def oracle(truth: Trajectory, frames: int, scales: Floats | None = None) -> Model:
    extras = {"poses": Extra(lambda output: torch.from_numpy(camera_poses(output.pose.numpy())))}
    return Model(Oracle(truth, scales), layer="layer", frames=frames, extras=extras)


def test_pose_vectors_become_camera_poses() -> None:
    # The target, between the two references, moves 1 ahead from the first: its points lie 1 farther there.
    vectors = np.array([[[0, 0, 1, 0, 0, 0], [0, 0, -2, 0, 0, 0]]], dtype=float)
    np.testing.assert_allclose(camera_poses(vectors)[0, :, :3, 3], [(0, 0, 0), (0, 0, 1), (0, 0, 3)])


@pytest.mark.parametrize("frames", [2, 3, 4, 5])
def test_a_network_that_knows_the_truth(truth: Trajectory, drive: Drive, frames: int) -> None:
    found = predict(oracle(truth, frames), drive)
    np.testing.assert_allclose(found.snippets, snippets(truth, frames), atol=1e-9)
    np.testing.assert_allclose(found.trajectory.poses, truth.poses, atol=1e-9)
    assert len(found.trajectory) == FRAMES
    assert found.trajectory.seconds is not None
    assert (np.diff(found.trajectory.seconds) > 0).all()


def test_each_step_comes_from_the_snippet_with_the_frame_as_target(truth: Trajectory, drive: Drive) -> None:
    scales = np.arange(FRAMES) + 1.0
    found = predict(oracle(truth, 5, scales), drive).trajectory.steps
    lengths = np.linalg.norm(found[:, :3, 3], axis=1) / np.linalg.norm(truth.steps[:, :3, 3], axis=1)
    # targets are frames 2 to 9: before and after them the first and last snippets speak
    np.testing.assert_allclose(lengths, np.clip(np.arange(FRAMES - 1), 2, 9) + 1, rtol=1e-9)
    assert chosen_steps(snippets(truth, 5)).shape == (FRAMES - 1, 4, 4)


def test_batches_do_not_matter(truth: Trajectory, drive: Drive) -> None:
    one, many = oracle(truth, 3), oracle(truth, 3)
    alone_in, several_in = list[int](), list[int]()
    for model, sizes in ((one, alone_in), (many, several_in)):
        model.net.register_forward_pre_hook(lambda _net, given, sizes=sizes: sizes.append(len(given[0])))
    alone, together = predict(one, drive, batch=1), predict(many, drive, batch=4)
    np.testing.assert_array_equal(alone.snippets, together.snippets)
    assert alone_in == [1] * 10
    assert several_in == [4, 4, 2]


def test_the_network_is_left_as_it_was(truth: Trajectory, drive: Drive) -> None:
    model = oracle(truth, 3)
    model.net.train()
    seen: list[int] = []
    predict(model, drive, progress=lambda done, total: seen.append(done))
    assert model.net.training
    assert model.net.drop.training
    assert seen[-1] == FRAMES


def test_the_drive_s_own_times(truth: Trajectory, drive: Drive) -> None:
    seconds = np.arange(FRAMES) * 0.1 + 3
    timed = Drive(name="d", source=drive.source, width=16, height=8, frames=FRAMES, seconds=seconds)
    np.testing.assert_array_equal(predict(oracle(truth, 3), timed).trajectory.seconds, seconds)


def test_fewer_frames_than_a_snippet(truth: Trajectory, drive: Drive) -> None:
    with pytest.raises(MediaError, match="has 12 frames; a snippet of 'custom' needs 13"):
        predict(oracle(truth, 13), drive)
    lying = Drive(name="d", source=drive.source, width=16, height=8, frames=99)
    with pytest.raises(MediaError, match="has 12 frames; a snippet of 'custom' needs 13"):
        predict(oracle(truth, 13), lying)


def test_networks_without_poses(truth: Trajectory, drive: Drive) -> None:
    with pytest.raises(ModelError, match=r"predicts no camera poses \(B, 3, 4, 4\); it tells Tensor"):
        predict(Model(nn.Sequential(nn.Identity()), layer="0", frames=3), drive)
    broken = oracle(truth, 3, np.full(FRAMES, np.nan))
    with pytest.raises(ModelError, match="not finite near frame 0"):
        predict(broken, drive)
    assert not broken.net.layer._forward_hooks


def test_a_state_is_refused_where_snippets_overlap(truth: Trajectory, drive: Drive) -> None:
    class Remembers(Oracle):
        last = 0.0

        def forward(self, clip: Tensor) -> Output:
            before, self.last = self.last, float(clip[0].mean())
            return Output(super().forward(clip).pose + before)

    model = oracle(truth, 3)
    with pytest.raises(OptionError, match="odometry runs snippets that overlap"):
        predict(replace(model, state="carried"), drive)
    with pytest.raises(ModelError, match="snippets: sampling='windows'"):
        predict(replace(model, sampling="spread"), drive)
    net = Remembers(truth)
    with pytest.raises(ModelError, match="by what it keeps in 'last'"):
        predict(replace(model, net=net), drive)
    fresh = predict(replace(model, net=net, state="fresh", reset=lambda _net: None), drive)
    np.testing.assert_array_equal(fresh.snippets, predict(model, drive).snippets)
    assert net.last == 0


class Hungry(Oracle):
    """Has memory for two snippets at a time."""

    def forward(self, clip: Tensor) -> Output:
        if len(clip) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return super().forward(clip)


def test_a_batch_for_which_there_is_no_memory_is_halved_unless_the_user_chose_it(
    truth: Trajectory, drive: Drive
) -> None:
    hungry, plenty = oracle(truth, 3), oracle(truth, 3)
    hungry.net.__class__ = Hungry
    batches = list[int]()
    hungry.net.drop.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    np.testing.assert_array_equal(predict(hungry, drive).snippets, predict(plenty, drive).snippets)
    assert batches == [2] * 5
    with pytest.raises(ModelError, match=r"no memory for .* on 8 snippets of 3 frames; a smaller batch="):
        predict(hungry, drive, batch=8)
