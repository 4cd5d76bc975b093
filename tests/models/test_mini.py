"""The shipped network is small, has the grid it says, and knows motion from stills."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from vidcam.data.synthetic import MOTIONS, SyntheticClip, motion_clip
from vidcam.models.mini import FRAMES, LABELS, MEAN, RATE, SIZE, STD, WEIGHTS, MiniNet, demo_net

FIRST_SEED = 2 * 10**9  # neither trained nor evaluated on


@pytest.fixture(scope="module")
def net() -> MiniNet:
    return demo_net()


@pytest.fixture(scope="module")
def clips() -> list[SyntheticClip]:
    return [motion_clip(FIRST_SEED + i, label=i % len(LABELS)) for i in range(60)]


def say(net: MiniNet, clips: list[SyntheticClip], change: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """`(clips, classes)` probabilities, `change` done to each `(3, T, H, W)` input."""
    times = np.arange(FRAMES) / float(RATE)
    inputs = []
    for clip in clips:
        nearest = np.abs(clip.seconds - times[:, None]).argmin(axis=1)
        x = resize(torch.from_numpy(clip.pixels[nearest]).permute(0, 3, 1, 2), list(SIZE), antialias=True) / 255
        x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        inputs.append(change(x.transpose(0, 1)))
    with torch.inference_mode():
        return net(torch.stack(inputs)).softmax(dim=1)


def hits(probabilities: Tensor, labels: list[int]) -> float:
    return (probabilities.argmax(dim=1) == torch.tensor(labels)).float().mean().item()


def test_small_enough_to_ship(net):
    assert sum(p.numel() for p in net.parameters()) <= 500_000
    assert WEIGHTS.stat().st_size <= 2_000_000
    assert not net.training and all(p.dtype == torch.float32 for p in net.parameters())


def test_grids(net):
    x, grids = torch.zeros(1, 3, FRAMES, *SIZE), []
    for name in ("stem", "layer1", "layer2", "layer3", "layer4"):
        x = getattr(net, name)(x)
        grids.append(tuple(x.shape[2:]))
    assert grids == [(32, 24, 32), (32, 12, 16), (16, 6, 8), (8, 6, 8), (4, 6, 8)]


@pytest.mark.parametrize("size", [(16, 40, 50), (9, 112, 112), (1, 5, 5)])
def test_takes_other_sizes(net, size):
    assert net(torch.randn(2, 3, *size)).shape == (2, len(LABELS))


def test_knows_fresh_clips(net, clips):
    assert hits(say(net, clips), [clip.label for clip in clips]) >= 0.9


def test_time_reversed_is_the_opposite_motion(net, clips):
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up"}
    labels = [LABELS.index(opposite[MOTIONS[clip.label]]) for clip in clips[:30]]
    assert hits(say(net, clips[:30], lambda x: x.flip(1)), labels) >= 0.9


def test_stills_tell_nothing(net, clips):
    """Repeat a frame in which the object is there: far fewer hits, four standard deviations above chance at most."""
    stills = []
    for clip in clips[:30]:
        middle = np.flatnonzero(clip.active)[clip.active.sum() // 2]
        still = np.repeat(clip.pixels[middle : middle + 1], len(clip.pixels), axis=0)
        stills.append(SyntheticClip(still, clip.seconds, clip.rate, clip.label, clip.boxes, clip.active))
    assert hits(say(net, stills), [clip.label for clip in clips[:30]]) <= 0.6


def test_undecided_without_the_moving_object(net, clips):
    without = [motion_clip(FIRST_SEED + i, label=i % len(LABELS), moving=False) for i in range(20)]
    assert say(net, without).amax(dim=1).median() < 0.6 < say(net, clips[:20]).amax(dim=1).median()
