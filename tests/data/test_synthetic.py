"""The truth that comes with a procedural clip is true, and nothing but motion tells the class."""

from fractions import Fraction

import numpy as np
import pytest

from vidcam.data.synthetic import MOTIONS, SyntheticClip, motion_clip

SMALL = {"frames": 16, "rate": Fraction(15, 2), "width": 32, "height": 24}


def middles(clip: SyntheticClip) -> np.ndarray:
    """`(active frames, 2)` middles of the boxes in pixels."""
    boxes = clip.boxes[clip.active]
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def changed(clip: SyntheticClip, seed: int) -> np.ndarray:
    """`(F, H, W)` whether a pixel differs from the same clip without the moving object."""
    return (clip.pixels != motion_clip(seed, moving=False).pixels).any(axis=-1)


def test_seed_fixes_everything():
    one, again, other = motion_clip(7, **SMALL), motion_clip(7, **SMALL), motion_clip(8, **SMALL)
    assert np.array_equal(one.pixels, again.pixels) and np.array_equal(one.boxes, again.boxes, equal_nan=True)
    assert one.label == again.label
    assert not np.array_equal(one.pixels, other.pixels)
    assert {motion_clip(seed, **SMALL).label for seed in range(20)} == set(range(len(MOTIONS)))


def test_sizes_and_times():
    clip = motion_clip(0, frames=20, width=50, height=30, rate=Fraction(30000, 1001))
    assert clip.pixels.shape == (20, 30, 50, 3) and clip.pixels.dtype == np.uint8
    assert clip.boxes.shape == (20, 4) and clip.active.shape == (20,) and clip.rate == Fraction(30000, 1001)
    assert clip.seconds[-1] == pytest.approx(19 * 1001 / 30000)


@pytest.mark.parametrize("seed", range(5))
def test_boxes_hold_the_object_and_are_tight(seed):
    clip = motion_clip(seed)
    change = changed(clip, seed)
    slack = []
    for here, (left, top, right, bottom) in zip(change[clip.active], clip.boxes[clip.active], strict=True):
        rows, columns = np.flatnonzero(here.any(axis=1)), np.flatnonzero(here.any(axis=0))
        slack.append([columns[0] - left, rows[0] - top, right - columns[-1] - 1, bottom - rows[-1] - 1])
    assert np.min(slack) >= 0
    assert np.median(slack) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_active_frames_are_those_with_the_object(seed):
    clip = motion_clip(seed)
    assert np.array_equal(clip.active, changed(clip, seed).any(axis=(1, 2)))
    assert np.array_equal(clip.active, ~np.isnan(clip.boxes).any(axis=1))
    first, last = np.flatnonzero(clip.active)[[0, -1]]
    assert clip.active[first : last + 1].all()
    assert 0.25 * 64 - 1 <= clip.active.sum() <= 0.5 * 64 + 1


@pytest.mark.parametrize(("label", "axis", "sign"), [(0, 0, -1), (1, 0, 1), (2, 1, -1), (3, 1, 1)])
def test_object_moves_as_its_class_says(label, axis, sign):
    for seed in range(5):
        clip = motion_clip(seed, label=label)
        steps = np.diff(middles(clip), axis=0)
        heights_per_second = np.median(sign * steps[:, axis]) * 30 / 120
        assert 0.5 - 0.25 <= heights_per_second <= 0.9 + 0.25  # boxes are whole pixels: a step is off by up to one
        assert np.median(np.abs(steps[:, 1 - axis])) == 0


def test_class_changes_only_the_moving_object():
    clips = [motion_clip(3, label=label) for label in range(len(MOTIONS))]
    for clip in clips:
        assert np.array_equal(clip.active, clips[0].active)
        assert np.array_equal(clip.pixels[~clip.active], clips[0].pixels[~clip.active])
        assert np.array_equal(motion_clip(3, label=clip.label, moving=False).pixels[0], clips[0].pixels[0])


def test_scene_does_not_depend_on_size_or_rate():
    for seed in range(5):
        large = motion_clip(seed, frames=64, width=128, height=96)
        small = motion_clip(seed, frames=32, width=64, height=48, rate=Fraction(15))
        assert np.array_equal(large.active[::2], small.active)
        assert np.nanmax(np.abs(large.boxes[::2] / 2 - small.boxes)) <= 1
        halved = large.pixels[::2].reshape(32, 48, 2, 64, 2, 3).mean(axis=(2, 4))
        assert np.abs(halved - small.pixels).mean() < 4  # the noise of 3 gray levels alone makes 2.7


def test_no_single_frame_tells_the_class():
    clips = [motion_clip(seed, **SMALL) for seed in range(1500)]
    labels = np.array([clip.label for clip in clips])
    for frame in (0, 5, 8, 15):
        grays = np.stack([clip.pixels[frame].mean(axis=-1).ravel() for clip in clips])
        assert hit_rate(grays, labels) == pytest.approx(0.25, abs=0.08)  # four standard deviations of 500 guesses
    for moment in (0, -1):
        places = np.stack([quadratic(middles(clip)[moment]) for clip in clips])
        assert hit_rate(places, labels) == pytest.approx(0.25, abs=0.08)
    steps = np.stack([np.median(np.diff(middles(clip), axis=0), axis=0) for clip in clips])
    assert hit_rate(steps, labels) > 0.9  # the same classifier finds the class once it is given motion


def quadratic(place: np.ndarray) -> np.ndarray:
    x, y = place
    return np.array([x, y, x * x, x * y, y * y])


def hit_rate(features: np.ndarray, labels: np.ndarray, *, train: int = 1000) -> float:
    """Fit a ridge classifier to the first clips and test it on the others."""
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    x = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
    gram = x[:train].T @ x[:train] + 10 * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x[:train].T @ np.eye(len(MOTIONS))[labels[:train]])
    return float(((x[train:] @ weights).argmax(axis=1) == labels[train:]).mean())
