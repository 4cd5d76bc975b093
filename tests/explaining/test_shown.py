"""Showing only some frames to networks whose answer is known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam.explaining.memory import Room
from vidcam.explaining.shown import Clip, Kept, leave_out, mean_kept, measure_kept
from vidcam.models.model import Model


class MeanBrightness(nn.Module):
    """Class 0 scores the mean over all frames, class 1 nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv3d(3, 1, 1, bias=False)
        nn.init.constant_(self.look.weight, 1 / 3)

    def forward(self, x: Tensor) -> Tensor:
        score = self.look(x).mean((1, 2, 3, 4))
        return torch.stack([score, torch.zeros_like(score)], 1)


def clip_of(*brightness: float, frames: tuple[int, ...] | None = None, start: int = 0) -> Clip:
    pixels = tuple(torch.full((3, 2, 2), float(value)) for value in brightness)
    return Clip(start, tuple(range(len(pixels))) if frames is None else frames, pixels, 0)


@pytest.fixture
def model() -> Model:
    return Model(MeanBrightness(), "look", frames=4)


@pytest.mark.parametrize(
    ("frames", "shown", "taken"),
    [
        ((0, 1, 2, 3), {2}, (2, 2, 2, 2)),
        ((0, 1, 2, 3, 4), {0, 2}, (0, 0, 2, 2, 2)),  # frame 1 is as near to 0 as to 2
        ((0, 1, 2, 3), {0, 1, 2}, (0, 1, 2, 2)),
        ((5, 5, 6, 8, 8), {6}, (2, 2, 2, 2, 2)),
        ((5, 5, 6, 8, 8), {5, 8}, (0, 1, 1, 3, 4)),
    ],
)
def test_hidden_frames_take_the_nearest_shown(frames, shown, taken) -> None:
    assert clip_of(*[0.0] * len(frames), frames=frames).take(shown) == taken


def test_leave_out_by_hand(model: Model) -> None:
    """0 0 8 0 has mean 2; without frame 2 it is 0; without 3, which becomes 8, it is 4; the rest changes nothing."""
    np.testing.assert_allclose(leave_out(clip_of(0, 0, 8, 0), Room(model, 3)), [0, 0, 2, -2], atol=1e-6)


def test_the_first_frame_becomes_the_second(model: Model) -> None:
    np.testing.assert_allclose(leave_out(clip_of(8, 4, 4, 4), Room(model, 8)), [1, -1, 0, 0], atol=1e-6)


def test_a_frame_that_comes_twice_is_left_out_as_a_whole(model: Model) -> None:
    """Frames 5, 6, 6, 9 with 0, 4, 4, 0: without 6 nothing is left, and without 9 there is one 4 more."""
    found = leave_out(clip_of(0, 4, 4, 0, frames=(5, 6, 6, 9)), Room(model, 2))
    np.testing.assert_allclose(found, [-1, 2, 2, -1], atol=1e-6)


def test_a_window_with_one_frame_loses_nothing(model: Model) -> None:
    np.testing.assert_array_equal(leave_out(clip_of(3, 3, 3, 3, frames=(7,) * 4), Room(model, 4)), np.zeros(4))


def test_versions_are_batched_and_scored_once(model: Model) -> None:
    """A window of 4 has itself and 4 versions."""
    clips: list[int] = []
    model.net.register_forward_pre_hook(lambda _net, given: clips.append(len(given[0])))
    leave_out(clip_of(0, 0, 8, 0), Room(model, 4))
    assert clips == [4, 1]


def test_the_score_kept_by_hand(model: Model) -> None:
    """`right` has frame 2 first, then 0: 8 everywhere, then 0 0 8 8; `wrong` has 3, then 1: 0 everywhere."""
    rankings = {"right": np.array([1.0, 0, 9, 0]), "wrong": np.array([0.0, 1, 0, 2])}
    kept = measure_kept(clip_of(0, 0, 8, 0), Room(model, 16), rankings, k=(1, 2), draws=50, seed=0)
    assert kept.whole == pytest.approx(2)
    np.testing.assert_allclose(kept.by["right"], [8, 4], atol=1e-6)
    np.testing.assert_allclose(kept.by["wrong"], [0, 0], atol=1e-6)
    assert set(kept.random[:, 0].round(4)) == {0, 8}
    assert kept.random_mean[0] == pytest.approx(2, abs=1.3), "one frame of four is the bright one"
    np.testing.assert_allclose(kept.random_interval[0], [0, 8], atol=1e-6)


def test_draws_repeat_with_their_seed_and_differ_between_windows(model: Model) -> None:
    def draw(seed: int, start: int) -> list[float]:
        clip = clip_of(0, 1, 2, 4, start=start)
        return measure_kept(clip, Room(model, 7), {}, k=(1, 2), draws=20, seed=seed).random.ravel().tolist()

    assert draw(0, 0) == draw(0, 0)
    assert draw(0, 0) != draw(1, 0)
    assert draw(0, 0) != draw(0, 4)


def test_showing_all_or_nothing_to_hide_keeps_the_whole(model: Model) -> None:
    clip = clip_of(1, 5, 5, 5, frames=(0, 1, 1, 1))
    kept = measure_kept(clip, Room(model, 4), {"any": np.array([1.0, 0])}, k=(2, 3), draws=2, seed=0)
    np.testing.assert_allclose([kept.by["any"], *kept.random], kept.whole)
    empty = measure_kept(clip, Room(model, 4), {"any": np.array([1.0, 0])}, k=(), draws=2, seed=0)
    assert empty.random_mean.shape == (0,) and empty.as_dict()["random_interval"] == []


def test_windows_are_averaged() -> None:
    parts = [Kept((1,), whole, {"a": np.array([whole])}, np.array([[whole], [3 * whole]])) for whole in (1.0, 3.0)]
    mean = mean_kept(parts)
    assert (mean.whole, mean.by["a"][0]) == (2, 2)
    np.testing.assert_array_equal(mean.random, [[2], [6]])
