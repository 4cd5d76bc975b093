"""Videos explained and ranked on a GPU, posed by a CPU: no device is mixed, and a window costs few waits."""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posing import Convolving, posing
from torch import Tensor, nn

from vidcam.attribution.scores import components
from vidcam.data.preprocessing import Preprocessing
from vidcam.data.synthetic.driving import drive, write_drives
from vidcam.explaining.explain import explain
from vidcam.explaining.ranking import rank
from vidcam.models.build import load_model
from vidcam.models.cnn_rnn import CnnRnn
from vidcam.models.extra import Extra
from vidcam.models.inputs import Input
from vidcam.models.inspection import list_layers
from vidcam.models.model import Model
from vidcam.models.sfmlearner import pose_and_depth

FRAMES = 8
SIZE = (18, 24)
STREET = (32, 104)
Make = Callable[[int], Path]


class Transforming(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv3d(3, 8, (2, 6, 6), (2, 6, 6))
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        return self.head(self.block(torch.cat([self.first.expand(len(x), -1, -1), tokens], 1)).mean(1)).softmax(1)


class TwoStreams(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.color, self.change = (nn.Conv3d(3, 8, (1, 5, 5), (1, 4, 4)) for _ in range(2))
        self.head = nn.Linear(16, 2)

    def forward(self, color: Tensor, change: Tensor) -> dict[str, Tensor]:
        color, change = self.color(color), self.change(change)
        score = self.head(torch.cat([color.mean((2, 3, 4)), change.mean((2, 3, 4))], 1))
        return {"logits": score, "motion": change.mean((1, 3, 4))}


def difference(frames: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(frames[:1]), frames[1:] - frames[:-1]])


def convolving(**changes: Any) -> Model:
    preprocessing = Preprocessing(SIZE)
    return Model(Convolving(), "last", layout="b c t h w", frames=FRAMES, preprocessing=preprocessing, **changes)


def recurrent(*, attention: bool = False) -> Model:
    net, told = CnnRnn(3, backbone="squeezenet1_1", attention=attention, hidden=4), attrgetter("attention")
    net.backbone = nn.Sequential(nn.Conv2d(3, 512, 7, 8), nn.ReLU())  # quicker
    preprocessing = Preprocessing((32, 40))
    return Model(net, "backbone", frames=FRAMES, preprocessing=preprocessing, attention=told if attention else None)


def transforming() -> Model:
    return Model(Transforming(), "block", frames=FRAMES, preprocessing=Preprocessing(SIZE))


def two_streams() -> Model:
    size = Preprocessing(SIZE)
    return Model(
        TwoStreams(),
        "change",
        layout="b c t h w",
        frames=FRAMES,
        inputs={"color": Input(size), "change": Input(size, make=difference)},
        sees={"change": "change"},
        extras={"motion": Extra(lambda output: output["motion"], per_frame=True)},
    )


def regressor() -> Model:
    return convolving(scores=components("up", "right", "on"))


def driver() -> Model:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*untrained")
        return load_model("sfmlearner", weights="none", options={"size": STREET, "explainability": True})


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Write noise as a folder of pictures."""
    root = tmp_path_factory.mktemp("noise")

    @cache
    def write(count: int) -> Path:
        folder = root / str(count)
        folder.mkdir()
        for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (count, 36, 48, 3), np.uint8)):
            (folder / f"{index:02}.ppm").write_bytes(b"P6 48 36 255\n" + pixels.tobytes())
        return folder

    return write


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Make:
    root = tmp_path_factory.mktemp("street")
    return cache(lambda count: write_drives(root / str(count), {"00": drive(1, frames=count, size=STREET)})[0])


def on_both(make: Callable[[], Model], *runs: Callable[[Model], Any]) -> list[int]:
    """Run on a CPU and on a GPU, which must find the same; tell for each run how often the host waited for the GPU."""
    torch.manual_seed(0)
    here = make()
    expected = [arrays(run(here)) for run in runs]
    torch.manual_seed(0)
    waits = []
    with posing() as device:
        there = make().to("cuda:0")
        for run, right in zip(runs, expected, strict=True):
            device.clear()
            found = arrays(run(there))
            waits.append(device.total())
            assert found.keys() == right.keys()
            for name, values in found.items():
                np.testing.assert_allclose(values, right[name], rtol=2e-4, atol=1e-5 * np.abs(right[name]).max())
    return waits


def arrays(found: Any) -> Mapping[str, Any]:
    """Return the numbers of an explanation or of a ranking."""
    if hasattr(found, "scores"):
        return found.scores
    return {name: getattr(found, name) for name in ("maps", "probabilities", "outputs", "gradients")} | found.extras


CASES: dict[str, tuple[Callable[[], Model], dict[str, Any], int]] = {
    "convolutions": (convolving, {}, 12),
    "where and when": (convolving, {"when": "first"}, 16),
    "noise": (convolving, {"method": "smooth_grad_cam_pp", "classes": 2}, 60),
    "no gradient": (convolving, {"method": "fem"}, 12),
    "frames": (recurrent, {}, 12),
    "attention": (lambda: recurrent(attention=True), {}, 13),
    "tokens": (transforming, {}, 12),
    "two inputs": (two_streams, {}, 20),
    "centers of what is seen": (convolving, {"placement": ("effective", "effective")}, 12),
    "scores": (regressor, {}, 25),
    "a loss": (regressor, {"truth": lambda n: np.linspace(0, 1, 3 * n, dtype=np.float32).reshape(n, 3)}, 36),
    "signed": (regressor, {"signed": True, "target": "up"}, 26),
}


@pytest.mark.parametrize("case", CASES)
def test_a_video_is_explained(case: str, video: Make) -> None:
    """The first run measures the network; from then on a window costs a few waits."""
    make, options, most = CASES[case]

    def run(count: int) -> Callable[[Model], Any]:
        given = {name: value(count) if callable(value) else value for name, value in options.items()}
        return lambda model: explain(model, video(count), batch=1, **given)

    _, few, many = on_both(make, run(2 * FRAMES), run(2 * FRAMES), run(4 * FRAMES))
    windows = (4 * FRAMES - 2 * FRAMES) // (FRAMES // 2)
    assert 0 < (many - few) / windows <= most, (few, many)


def test_odometry_is_explained(street: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine scores in a window."""
    monkeypatch.setattr(pose_and_depth, "DEPTH_PLANES", (8, 16, 16, 16, 16, 16, 16))
    monkeypatch.setattr(pose_and_depth, "DECODED", (8, 8, 16, 16, 16, 16, 16))

    def run(count: int) -> Callable[[Model], Any]:
        return lambda model: explain(model, street(count), batch=1)

    few, many = on_both(driver, run(4), run(6))
    assert 0 < (many - few) / 2 <= 60, (few, many)


def test_frames_are_ranked(video: Make) -> None:
    def run(count: int) -> Callable[[Model], Any]:
        return lambda model: rank(model, video(count), draws=2, shown=(1, 2), batch=4)

    _, few, many = on_both(lambda: recurrent(attention=True), run(FRAMES), run(FRAMES), run(2 * FRAMES))
    assert 0 < (many - few) / 2 <= 50, (few, many)


def test_layers_are_listed() -> None:
    model = convolving()
    listed = list_layers(model)
    with posing():
        assert list_layers(convolving().to("cuda:0")) == listed
