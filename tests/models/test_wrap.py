"""What wrap() finds of networks, each written as people write them, and what it refuses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vidcam
from vidcam import Input, Model, Preprocessing, explain, wrap
from vidcam.errors import LayerError, ModelError, OptionError, VidcamError

SMALL = Preprocessing((24, 32), antialias=True)


class Conv(nn.Module):
    """A 3D network that takes clips of any length and size."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv3d(channels, 4, 3, (1, 2, 2), 1)
        self.stage = nn.Sequential(nn.Conv3d(4, 6, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage(self.stem(x)).mean((2, 3, 4)))


class Dense(Conv):
    """Its head takes 8 frames of 64 x 64 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6 * 4 * 16 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage(self.stem(x)).flatten(1))


class FrameByFrame(nn.Module):
    """A CNN on frames in the batch, and a recurrent network; (B, T, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.ReLU())
        self.rnn, self.head = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.cnn(x.flatten(0, 1)).mean((2, 3)).unflatten(0, x.shape[:2])
        return self.head(self.rnn(seen)[0].mean(1)).softmax(1)


class Picture(nn.Module):
    """A transformer of pictures with a class token; its configuration tells the size."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(image_size=32, num_channels=3, id2label={0: "cat", 1: "dog"})
        self.embed, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2))
        self.head = nn.Linear(8, 2)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        x = self.embed(pixel_values).flatten(2).mT
        if x.shape[1] != 16:
            raise ValueError(f"expected 16 patches; got {x.shape[1]}")
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return {"features": x[:, 0], "logits": self.head(x[:, 0])}


class Streams(nn.Module):
    """Color and flow, each through its own stage."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb, self.flow, self.head = Conv(3, 4), Conv(2, 4), nn.Linear(8, 3)

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        return self.head(torch.cat([self.rgb(rgb), self.flow(flow)], 1))


class Pathways(nn.Module):
    """Two pathways given as a list, the slow one of four times fewer frames, as a module that returns both."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.head = Both(), nn.Linear(12, 3)

    def forward(self, x: list[Tensor]) -> Tensor:
        slow, fast = self.both(x)
        if fast.shape[2] != 4 * slow.shape[2]:
            raise RuntimeError("pathways do not fit")
        return self.head(torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1))


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Conv3d(3, 6, 3, (1, 4, 4), 1), nn.Conv3d(3, 6, 3, (1, 4, 4), 1)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        return [self.slow(x[0]), self.fast(x[1])]


def flow(frames: Tensor) -> Tensor:
    """(T, 3, H, W) -> (T, 2, H, W) something that moves."""
    moved = torch.cat([torch.zeros_like(frames[:1]), frames[1:] - frames[:-1]])
    return moved[:, :2]


torch.manual_seed(0)
FOUND: list[tuple[nn.Module, dict[str, Any], dict[str, Any]]] = [
    (Conv(), {"frames": 8, "preprocessing": SMALL}, {"layer": "stage", "input_layout": "b c t h w"}),
    (Conv(), {"example": torch.rand(2, 3, 8, 24, 32)}, {"layer": "stage", "frames": 8, "preprocessing": SMALL}),
    (
        Conv(1),
        {"example": torch.rand(1, 1, 8, 24, 32)},
        {"preprocessing": Preprocessing((24, 32), channels="gray", antialias=True)},
    ),
    (Dense(), {}, {"layer": "stage", "frames": 8, "preprocessing": Preprocessing((64, 64), antialias=True)}),
    (FrameByFrame(), {"frames": 5, "preprocessing": SMALL}, {"layer": "cnn", "input_layout": "b t c h w"}),
    (Picture(), {}, {"layer": "blocks.0", "frames": 1, "input_layout": "b c h w", "labels": ("cat", "dog")}),
    (
        Streams(),
        {"inputs": {"rgb": Input(SMALL), "flow": Input(SMALL, make=flow)}, "frames": 8},
        {"layer": "rgb.stage", "sees": {"rgb.stage": "rgb", "flow.stage": "flow"}},
    ),
    (
        Pathways(),
        {"frames": 8, "preprocessing": SMALL},
        {"as_list": True, "inputs": {"slow": Input(SMALL, every=4), "fast": Input(SMALL)}, "layer": "both.slow"},
    ),
]


@pytest.mark.parametrize(("net", "told", "right"), FOUND, ids=lambda value: type(value).__name__)
def test_slots_are_found(net: nn.Module, told: dict[str, Any], right: dict[str, Any]) -> None:
    model = wrap(net, **told)
    assert {slot: getattr(model, slot) for slot in right} == right
    for slot in set(right) - set(told) - {"as_list"}:
        assert any(line.startswith(f"{slot}: ") for line in model.concluded), "it says how it knows"


@pytest.mark.parametrize(("net", "told", "right"), FOUND, ids=lambda value: type(value).__name__)
def test_by_hand_it_is_bit_equal(net: nn.Module, told: dict[str, Any], right: dict[str, Any], clip: Path) -> None:
    found = wrap(net, **told)
    slots = ("frames", "input_layout", "labels", "inputs", "sees", "as_list")
    pixels = {} if found.inputs else {"preprocessing": found.preprocessing}
    by_hand = Model(net, found.layer, **pixels, **{slot: getattr(found, slot) for slot in slots})
    ours, theirs = explain(found, clip, target=[0, 1]), explain(by_hand, clip, target=[0, 1])
    assert np.array_equal(ours.maps, theirs.maps) and ours.maps.any()
    assert np.array_equal(ours.probabilities, theirs.probabilities)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames in which a square moves."""
    from vidcam.media.writer import VideoWriter

    path = tmp_path_factory.mktemp("wrap") / "clip.mp4"
    with VideoWriter(path, width=64, height=48, rate=10) as writer:
        for at in range(12):
            pixels = np.full((48, 64, 3), 60, np.uint8)
            pixels[20:30, 4 * at : 4 * at + 10] = (250, 200, 10)
            writer.write(pixels)
    return path


@pytest.mark.parametrize(
    ("net", "told", "error", "said"),
    [
        (Conv(), {}, ModelError, r"as \(1, 3, 16, 224, 224\) and .*; say frames= and preprocessing="),
        (Conv(), {"frames": 8}, ModelError, r"does not tell which it was trained on; say preprocessing=vidcam"),
        (Conv(), {"preprocessing": SMALL}, ModelError, r"say frames=; or example="),
        (Conv(), {"preprocessing": Preprocessing(30)}, OptionError, r"give it crop=\(H, W\) or resize=\(H, W\)"),
        (
            FrameByFrame(),
            {"frames": 3, "preprocessing": SMALL},
            ModelError,
            "say input_layout='b c t h w' or 'b t c h w'",
        ),
        (Conv(), {"example": torch.rand(3, 4)}, OptionError, r"example must be a tensor .* given \(3, 4\)"),
        (Conv(), {"example": [1]}, OptionError, "example must be a tensor .* given list"),
        (Conv(), {"example": torch.rand(1, 5, 8, 24, 32)}, ModelError, "fails on each of 0 inputs"),
        (Conv(), {"frames": 8, "preprocessing": SMALL, "layr": "stage"}, TypeError, "layr"),
        (
            nn.Flatten(),
            {"frames": 8, "preprocessing": SMALL, "input_layout": "b c t h w"},
            LayerError,
            "no layer that reads as a grid of cells",
        ),
        (
            nn.Linear(3, 4),
            {},
            ModelError,
            r"fails on each of \d+ inputs that were tried, first on \(1, .* with RuntimeError",
        ),
    ],
)
def test_what_stays_open_is_refused(net: nn.Module, told: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as refused:
        wrap(net, **told)
    assert not isinstance(refused.value, VidcamError) or "\n" not in str(refused.value)


def test_it_tells_what_it_concluded() -> None:
    said: list[str] = []
    model = wrap(Picture(), say=said.append)
    assert said == list(model.concluded)
    assert "layer: blocks.0, 1x4x4 tokens, 1 other token, in order t h w, measured; the last that all" in said[-1]
    assert any("32x32, config.image_size; the whole frame in 0..1, assumed" in line for line in said)


def test_labels_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join("abcde"))
    assert wrap(Conv(), torch.rand(1, 3, 8, 24, 32), tmp_path / "names.txt").labels == tuple("abcde")


def test_the_network_is_left_as_it_was() -> None:
    net = Picture().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    wrap(net)
    assert net.training and all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_it_is_public() -> None:
    assert vidcam.wrap is wrap
