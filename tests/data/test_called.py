"""A function of the user's own as preprocessing: where its pixels lie is measured as the known ones say."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F

from vidcam.data.called import Called
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import OptionError

KNOWN = [
    Preprocessing((112, 112)),
    Preprocessing(128, (112, 112), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3), antialias=True),
    Preprocessing(None, (40, 44)),
    Preprocessing((50, 90), (48, 60), interpolation="bicubic"),
    Preprocessing((60, 60), channels="gray", divisor=1),
]


@pytest.mark.parametrize("size", [(240, 320), (720, 1280), (97, 171)])
@pytest.mark.parametrize("known", KNOWN)
def test_where_pixels_lie_is_measured(known: Preprocessing, size: tuple[int, int]) -> None:
    own = Called(function=lambda frames: torch.stack([known(frame) for frame in frames]))
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    torch.testing.assert_close(own(pixels), known(pixels), rtol=0, atol=0)
    ours, right = own.view(*size), known.view(*size)
    assert ours.size == right.size
    for axis in (0, 1):
        ends = [0, right.size[axis] - 1]
        off = np.abs(ours.to_source(ends, axis) - right.to_source(ends, axis)).max()
        assert off <= max(0.5, 0.003 * size[axis]), "a third of a hundredth of the frame"


def test_a_patch_is_found_where_it_is() -> None:
    """A flipping, cropping function with a stated region, and one that is measured, show a patch at its place."""
    size = (120, 200)

    def crop(frames: np.ndarray) -> torch.Tensor:
        clip = torch.from_numpy(frames).permute(0, 3, 1, 2)[:, :, 30:110, 50:170]
        return F.resize(clip, [40, 60], antialias=True).float() / 127.5 - 1

    pixels = np.zeros((*size, 3), np.uint8)
    pixels[80:84, 100:104] = 255
    own = Called(function=crop)
    light = own(pixels).sum(0) - own(pixels).sum(0).min()
    row, column = (
        float((light.sum(1 - axis) * torch.arange(light.shape[axis])).sum() / light.sum()) for axis in (0, 1)
    )
    found = own.view(*size).to_source(row, 0), own.view(*size).to_source(column, 1)
    assert abs(found[0] - 81.5) <= 0.6 and abs(found[1] - 101.5) <= 0.6


def test_a_stated_region_by_hand() -> None:
    function = lambda frames: np.zeros((len(frames), 3, 50, 50), np.float32)  # noqa: E731
    whole = Called(function=function, region="whole").view(100, 200)
    assert whole.scale == (2, 4) and whole.region == (-0.5, -0.5, 199.5, 99.5)
    center = Called(function=function, region="center").view(100, 200)
    assert center.scale == (2, 2) and center.region == (49.5, -0.5, 149.5, 99.5)


def test_stated_edges_by_hand() -> None:
    """A row of the network's is 2 source pixels high; its first one is the source's rows 35 and 36."""
    function = lambda frames: np.zeros((len(frames), 1, 80, 80), np.float32)  # noqa: E731
    view = Called(function=function, region=(0, 35, 160, 195)).view(210, 160)
    assert view.scale == (2, 2) and view.region == (-0.5, 34.5, 159.5, 194.5)
    assert view.to_source([0, 79], 0).tolist() == [35.5, 193.5] and view.to_source(0, 1) == 0.5
    with pytest.raises(OptionError, match="reaches beyond the source, which is 160 pixels wide and 120 high"):
        Called(function=function, region=(0, 35, 160, 195)).view(120, 160)


@pytest.mark.parametrize("region", ["left", (0, 35, 160), (0, 195, 160, 35), (-1, 0, 5, 5), (0, 0, float("nan"), 5)])
def test_a_region_that_is_none_is_refused(region) -> None:
    with pytest.raises(OptionError, match=r"unknown region .* possible: measured, whole, center, \(left, top"):
        Called(region=region)


def test_channels_that_tell_nothing_of_brightness_do_not_count() -> None:
    """PilotNet's rows 60 to 135 in YUV: two of three channels are color, which no gray frame has."""

    def road(frames: np.ndarray) -> np.ndarray:
        clip = torch.from_numpy(frames).permute(0, 3, 1, 2)[:, :, 60:135]
        red, green, blue = F.resize(clip, [66, 200]).double().unbind(1)
        y = (0.299 * red + 0.587 * green + 0.114 * blue).round()
        return (torch.stack([y, (blue - y) * 0.492 + 128, (red - y) * 0.877 + 128], 1) / 127.5 - 1).numpy()

    view = Called(function=road).view(160, 320)
    assert np.abs(np.subtract(view.region, (-0.5, 59.5, 319.5, 134.5))).max() < 1


@pytest.mark.parametrize(
    "function",
    [
        lambda frames: np.zeros((len(frames), 3, 20, 20), np.float32),  # no light, no place
        lambda frames: torch.from_numpy(frames).permute(0, 3, 1, 2).flip(3).float(),  # the other way around
        lambda frames: torch.from_numpy(frames).permute(0, 3, 1, 2).float().sub(128).abs(),  # bright and dark alike
        lambda frames: torch.from_numpy(frames).permute(0, 3, 1, 2).transpose(2, 3).float(),
    ],
)
def test_what_cannot_be_measured_is_refused(function) -> None:
    with pytest.raises(OptionError, match=r"cannot be measured.*say region='whole', 'center' or"):
        Called(function=function).view(60, 90)


@pytest.mark.parametrize("made", [None, 3, np.zeros((3, 5, 5)), torch.zeros(2, 3, 5, 5)])
def test_what_is_no_frame_is_refused(made) -> None:
    with pytest.raises(OptionError, match=r"preprocessing must return \(T, C, h, w\), here of one frame"):
        Called(function=lambda _: made)(np.zeros((8, 8, 3), np.uint8))
