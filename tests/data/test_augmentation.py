import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from vidcam.data.augmentation import Augmentation
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import OptionError

GRAY_LEVEL = 1.01 / 255 / 0.2  # as normalized
PLAIN = Augmentation(scale=(1, 1), ratio=(1, 1), flip=0, brightness=0, contrast=0, saturation=0)
WANTED = Preprocessing(resize=(24, 32), crop=(20, 20), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def clip():
    return torch.from_numpy(np.random.default_rng(5).integers(0, 256, (4, 3, 48, 64), np.uint8))


def test_without_any_change_it_is_the_preprocessing(clip):
    same = Preprocessing(resize=(24, 32), mean=WANTED.mean, std=WANTED.std)
    expected = torch.stack([same(frame.permute(1, 2, 0).numpy()) for frame in clip])
    # Two ways to resize bytes differ by a gray level where a mean ends in a half.
    torch.testing.assert_close(PLAIN(clip, same, rng()), expected, atol=GRAY_LEVEL, rtol=0)


def test_a_plain_crop_is_a_part_of_the_resized_picture(clip):
    # Twice as many source pixels as resized ones, so a crop at even positions is cut out of the resized picture.
    whole = Preprocessing(resize=(24, 32), mean=WANTED.mean, std=WANTED.std)
    resized = torch.stack([whole(frame.permute(1, 2, 0).numpy()) for frame in clip])
    parts = resized.unfold(2, 20, 1).unfold(3, 20, 1)
    seeds = [seed for seed in range(40) if all(n % 2 == 0 for n in PLAIN._box(rng(seed), (24, 32), (20, 20), (48, 64)))]
    assert len(seeds) > 3
    for seed in seeds:
        found = PLAIN(clip, WANTED, rng(seed))
        assert found.shape == (4, 3, 20, 20)
        errors = (parts - found[:, :, None, None]).abs().amax(dim=(0, 1, 4, 5))
        assert errors.min() < GRAY_LEVEL and errors.flatten().sort().values[1] > 50 * GRAY_LEVEL


def test_all_frames_change_alike():
    """Frames that are the same stay the same, whatever is drawn, and are not what they were."""
    frame = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, 3, 48, 64), np.uint8))
    strong = Augmentation(scale=(0.3, 1), hue=0.3, gray=0.3, transform=v2.RandomErasing(p=1))
    results = [strong(frame.expand(5, -1, -1, -1), WANTED, rng(seed)) for seed in range(20)]
    for result in results:
        assert (result == result[:1]).all()
    assert len({result.sum().item() for result in results}) == 20


def test_same_seed_same_clip_and_the_global_states_stay(clip):
    strong = Augmentation(hue=0.3, gray=0.3, transform=v2.Compose([v2.RandomRotation(30), v2.RandomErasing(p=1)]))
    kept, kept_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second, other = (strong(clip, WANTED, rng(seed)) for seed in (3, 3, 4))
    assert (first == second).all() and not (first == other).all()
    assert (torch.get_rng_state() == kept).all() and (np.random.get_state()[1] == kept_numpy).all()


def test_flip_is_as_often_as_asked(clip):
    always = Augmentation(scale=(1, 1), ratio=(1, 1), flip=1, brightness=0, contrast=0, saturation=0)
    same = Preprocessing()
    torch.testing.assert_close(always(clip, same, rng()), clip.flip(-1) / 255)
    half = Augmentation(scale=(1, 1), ratio=(1, 1), flip=0.5, brightness=0, contrast=0, saturation=0)
    flipped = sum(bool((half(clip, same, rng(seed)) == clip.flip(-1) / 255).all()) for seed in range(200))
    assert 75 < flipped < 125  # 100 +- 3.5 standard deviations


def test_brightness_is_a_factor_for_the_clip(clip):
    dim = (clip // 2).clamp(min=40)  # far from the limits of 0 and 255
    bright = Augmentation(scale=(1, 1), ratio=(1, 1), flip=0, brightness=0.4, contrast=0, saturation=0)
    factor = bright(dim, Preprocessing(), rng()) * 255 / dim
    assert factor.max() - factor.min() < 1 / 40 + 1e-6  # truncated to whole gray levels
    assert 0.6 <= factor.mean() <= 1.4 and abs(factor.mean() - 1) > 0.01


def test_boxes_have_the_area_and_ratio_asked_for_and_come_everywhere():
    free = Augmentation(scale=(0.25, 0.5), ratio=(0.8, 1.25))
    boxes = np.array([free._box(rng(seed), (100, 100), (100, 100), (1000, 2000)) for seed in range(300)])
    top, left, height, width = boxes.T
    area, ratio = height * width / (1000 * 2000), width / height / 2
    assert area.min() >= 0.249 and area.max() <= 0.501 and area.max() - area.min() > 0.2
    assert ratio.min() >= 0.799 and ratio.max() <= 1.251 and ratio.max() - ratio.min() > 0.4
    assert (top + height <= 1000).all() and (left + width <= 2000).all()
    assert (top.min() < 20) and ((1000 - top - height).min() < 20)


@pytest.mark.parametrize(
    "wrong", [{"scale": (0, 1)}, {"scale": (1, 0.5)}, {"ratio": (-1, 1)}, {"flip": 1.5}, {"hue": 0.6}, {"gray": -1}]
)
def test_wrong_ranges(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Augmentation(**wrong)
