"""What is read of processors does what they do: Hugging Face's, timm's and torchvision's on the same pictures."""

from typing import Any

import numpy as np
import pytest
import torch
from torchvision import transforms as v1
from torchvision.transforms import v2

from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import OptionError

SIZES = [(48, 60), (97, 171), (171, 97), (240, 320)]


def picture(height: int, width: int) -> np.ndarray:
    """A picture that changes slowly, as libraries round differently between rows and columns."""
    y, x = np.mgrid[:height, :width] / 7
    return (127 + 100 * np.stack([np.sin(x + y / 3), np.cos(y), np.sin(x / 2 - y)], 2)).round().astype(np.uint8)


PROCESSORS = {
    "VideoMAEImageProcessor": {},
    "VivitImageProcessor": {},
    "VJEPA2VideoProcessor": {},
    "CLIPImageProcessor": {},
    "BitImageProcessor": {"resample": 2, "crop_size": {"height": 90, "width": 70}},
    "ViTImageProcessor": {"size": {"height": 80, "width": 96}},
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_equals_hugging_faces(name: str, size: tuple[int, int]) -> None:
    if name == "VivitImageProcessor" and 97 in size:
        pytest.skip("where a crop cannot be in the middle, it lies a pixel to the left of torchvision's")
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, name)(**PROCESSORS[name])
    pixels = picture(*size)
    if "Video" in name and "Image" not in name:
        given = processor(torch.from_numpy(pixels)[None].permute(0, 3, 1, 2), return_tensors="pt")
    elif name.startswith(("VideoMAE", "Vivit")):
        given = processor([list(pixels[None])], return_tensors="pt")
    else:
        given = processor(pixels, return_tensors="pt")
    expected = next(iter(given.values())).flatten(0, -4)[0]
    ours = Preprocessing.from_processor(processor)(pixels)
    assert ours.shape == expected.shape
    step = (
        1
        / 255
        / min(Preprocessing.from_processor(processor).std)
        * (255 / Preprocessing.from_processor(processor).divisor)
    )
    assert (ours - expected).abs().max() <= 2.01 * step, "more than two gray levels"
    assert (ours - expected).abs().mean() <= 0.3 * step


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_equals_timms(name: str, size: tuple[int, int]) -> None:
    timm = pytest.importorskip("timm")
    from PIL import Image

    net = timm.create_model(name, pretrained=False)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=net))
    pixels = picture(*size)
    expected, ours = transform(Image.fromarray(pixels)), Preprocessing.from_processor(net.pretrained_cfg)
    assert ours(pixels).shape == expected.shape
    assert ((ours(pixels) - expected).abs() * min(ours.std) * 255).max() <= 2.01
    assert ((ours(pixels) - expected).abs() * min(ours.std) * 255).mean() <= 0.3


CHAINS: list[Any] = [
    v1.Compose([v1.ToPILImage(), v1.Resize((64, 80)), v1.ToTensor(), v1.Normalize([0.4] * 3, [0.2] * 3)]),
    v1.Compose([v1.ToPILImage(), v1.Resize(70), v1.CenterCrop(64), v1.ToTensor()]),
    v2.Compose(
        [v2.ToImage(), v2.Resize(70, antialias=True), v2.CenterCrop((40, 64)), v2.ToDtype(torch.float32, scale=True)]
    ),
    v2.Compose([v2.ToImage(), v2.Grayscale(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])]),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chain", CHAINS)
def test_equals_a_chain_of_torchvisions(chain: Any, size: tuple[int, int]) -> None:
    pixels = picture(*size)
    expected, ours = torch.as_tensor(chain(pixels)), Preprocessing.from_processor(chain)(pixels)
    assert ours.shape == expected.shape
    scale = 255 * min(Preprocessing.from_processor(chain).std)
    assert ((ours - expected).abs() * scale).max() <= 2.01


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        (
            v1.Compose([v1.ToTensor(), v1.RandomErasing()]),
            "the transform RandomErasing cannot be read; possible: Resize",
        ),
        (v1.Compose([v1.CenterCrop(5), v1.Resize(9), v1.ToTensor()]), "transforms in the order crop, resize, divisor"),
        (object(), "cannot read what object does to a frame"),
        ({"input_size": (3, 40, 60), "crop_pct": 0.9}, "timm's crop mode 'center' of 40x60 cannot be read"),
        (v1.Resize(5), "cannot read what Resize does to a frame"),
    ],
)
def test_what_cannot_be_read_is_refused(chain: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Preprocessing.from_processor(chain)


def test_a_preprocessing_is_its_own() -> None:
    own = Preprocessing((5, 6))
    assert Preprocessing.from_processor(own) is own


def test_channels_and_scale_by_hand() -> None:
    pixels = np.array([[[255, 128, 0]]], np.uint8)
    assert Preprocessing(channels="bgr", divisor=1)(pixels).flatten().tolist() == [0, 128, 255]
    assert Preprocessing(channels="gray", divisor=1)(pixels).item() == pytest.approx(0.299 * 255 + 0.587 * 128)
    means = Preprocessing(channels="bgr", mean=(1, 2, 3), std=(1, 1, 2), divisor=1)  # in the network's order
    assert means(pixels).flatten().tolist() == [-1, 126, 126]


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        ({"channels": "hsv"}, "unknown channels 'hsv'"),
        ({"interpolation": "lanczos"}, "unknown interpolation 'lanczos'"),
        ({"divisor": 0.0}, "the divisor must be positive; given 0.0"),
        ({"channels": "gray", "mean": (0.1, 0.2, 0.3)}, "mean and std need 1 values each"),
    ],
)
def test_choices_that_do_not_exist(slots: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Preprocessing(**slots)
