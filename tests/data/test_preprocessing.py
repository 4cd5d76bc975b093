"""Preprocessing against torchvision's own presets, and coordinates against pictures that hold their coordinates."""

import numpy as np
import pytest
import torch
import torchvision

from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import OptionError

BUILT_IN = torchvision.models.list_models(torchvision.models.video)
SIZES = [(240, 320), (97, 171), (171, 97), (33, 300), (128, 171), (1, 1), (607, 340)]


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("size", SIZES)
def test_equals_torchvisions_own_preset(name: str, size: tuple[int, int]) -> None:
    height, width = size
    if max(size) / min(size) > 10 and "swin" in name:
        pytest.skip("torchvision makes a picture of thousands of pixels of it")
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    expected = preset(torch.from_numpy(pixels).permute(2, 0, 1)[None])[:, 0]  # (C, H, W)
    ours = Preprocessing.from_processor(preset)
    torch.testing.assert_close(ours(pixels), expected, atol=1e-6, rtol=0)
    assert ours.view(height, width).size == tuple(expected.shape[1:])


GAIN = 4  # gray levels per source pixel: a whole gray level is a quarter of a pixel


def ramps(height: int, width: int) -> np.ndarray:
    """Red grows by a constant from left to right, green from top to bottom."""
    y, x = np.mgrid[:height, :width]
    return (GAIN * np.stack([x, y, 0 * x], axis=2)).astype(np.uint8)


@pytest.mark.parametrize("size", [(48, 60), (31, 53), (53, 31), (60, 60), (22, 50)])
@pytest.mark.parametrize(
    ("resize", "crop"),
    [
        (None, None),
        (None, (20, 25)),
        ((64, 86), None),
        ((64, 86), (56, 56)),
        ((35, 23), (20, 17)),
        (45, (41, 40)),
        (27, None),
        ((50, 47), (64, 96)),  # a crop larger than the picture: a border all around
        ((50, 147), (65, 96)),  # and larger in one direction only
        ((51, 50), (56, 57)),  # odd borders
        (None, (133, 134)),
    ],
)
@pytest.mark.parametrize("antialias", [False, True])
def test_the_view_tells_what_a_pixel_shows(size, resize, crop, antialias) -> None:
    height, width = size
    preprocessing = Preprocessing(resize=resize, crop=crop, antialias=antialias)
    frame = preprocessing(ramps(height, width)).numpy() * 255 / GAIN
    view = preprocessing.view(height, width)
    assert frame.shape[1:] == view.size
    inside = preprocessing(np.full((height, width, 3), 255, np.uint8)).numpy()[0] > 0.999  # not the border
    for axis, channel in ((0, 1), (1, 0)):
        positions = view.to_source(np.arange(view.size[axis]), axis)
        shown, seen = (frame[channel], inside) if axis == 1 else (frame[channel].T, inside.T)
        reach = max(1.0, view.scale[axis])  # nearer to the edge the filter leans inwards
        clear = (positions > reach) & (positions < size[axis] - 1 - reach) & seen.any(axis=0)
        assert clear.any()
        error = np.where(seen, shown - positions, 0)[:, clear]
        assert np.abs(error).max() <= 0.5 / GAIN + 0.06 * reach  # torchvision rounds to whole gray levels
        assert abs(error.sum() / seen[:, clear].sum()) < 0.15


@pytest.mark.parametrize("size", [(120, 160), (97, 171), (171, 97)])
@pytest.mark.parametrize(("resize", "crop"), [((128, 171), (112, 112)), (90, (81, 80)), (None, (40, 51)), (64, None)])
def test_the_region_is_what_changes_the_output(size, resize, crop) -> None:
    """Paint the outside of the region: nothing changes. Paint just inside its edges: something does."""
    preprocessing = Preprocessing(resize=resize, crop=crop)
    view = preprocessing.view(*size)
    left, top, right, bottom = view.region
    black = np.zeros((*size, 3), np.uint8)
    reach = [max(1.0, scale) for scale in view.scale]
    outside = np.full_like(black, 255)
    rows, columns = np.arange(size[0]), np.arange(size[1])
    keep_rows = (rows > top - reach[0]) & (rows < bottom + reach[0])
    keep_columns = (columns > left - reach[1]) & (columns < right + reach[1])
    outside[np.ix_(keep_rows, keep_columns)] = 0
    assert not preprocessing(outside).any()
    for edge, axis in ((top, 0), (bottom, 0), (left, 1), (right, 1)):
        painted = black.copy()
        middle = (top + bottom) / 2 if axis == 0 else (left + right) / 2
        line = int(np.clip(round(edge + np.sign(middle - edge) * (reach[axis] + 0.5)), 0, size[axis] - 1))
        painted[(line, slice(None)) if axis == 0 else (slice(None), line)] = 255
        assert preprocessing(painted).any()


def test_the_region_of_a_border_is_the_whole_source() -> None:
    view = Preprocessing(crop=(100, 100)).view(60, 70)
    assert view.region == (-0.5, -0.5, 69.5, 59.5)
    assert view.covers_source
    assert not Preprocessing(crop=(100, 60)).view(60, 70).covers_source


def test_numbers_by_hand() -> None:
    """128x171 of 240x320, then 112x112: rows 8 to 119 of 128, columns 29.5, to even 30, and on of 171."""
    view = Preprocessing(resize=(128, 171), crop=(112, 112)).view(240, 320)
    assert view.first == (8, 30)  # torchvision rounds 29.5 to 30
    assert view.to_source(0, 0) == pytest.approx(240 / 128 * 8.5 - 0.5)
    assert view.to_source(0, 1) == pytest.approx(320 / 171 * 30.5 - 0.5)
    assert view.region[0] == pytest.approx(320 / 171 * 30 - 0.5)


def test_normalizing_by_hand() -> None:
    pixels = np.full((2, 2, 3), 51, np.uint8)
    frame = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 1, 2))(pixels)
    torch.testing.assert_close(frame[:, 0, 0], torch.tensor([0.2, 0.0, -0.05]), atol=1e-6, rtol=0)


def test_the_source_s_array_is_left_alone() -> None:
    pixels = ramps(20, 30)
    pixels.flags.writeable = False
    flipped = pixels[::-1, ::-1]
    before = pixels.copy()
    Preprocessing(resize=10)(np.array(flipped))
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    "options",
    [
        {"resize": 0},
        {"resize": (3, 0)},
        {"crop": (-1, 4)},
        {"mean": (0.0,), "std": (1.0, 1.0)},
        {"std": (1.0, 0.0, 1.0)},
        {"mean": (), "std": ()},
        {"mean": (0.0,) * 4, "std": (1.0,) * 4},
        {"resize": (16,)},
        {"crop": (4, 4, 4)},
        {"crop": 4},
    ],
)
def test_nonsense_is_refused(options) -> None:
    with pytest.raises(OptionError):
        Preprocessing(**options)
