"""Real networks, written down in a few lines each, load and say what they are known to say."""

from pathlib import Path

import numpy as np
import pytest
import torch

import vidcam

FOLDER = Path(__file__).parents[2] / "experiments" / "real_networks"
pytestmark = pytest.mark.shared


@pytest.mark.parametrize("name", ["lrcn_ucf50", "lrcn_seven", "pilotnet", "violence", "atari"])
def test_each_is_described_in_at_most_40_lines(name: str) -> None:
    lines = (FOLDER / f"{name}.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 40


@pytest.mark.parametrize(("kind", "number"), [("BenchPress", 1), ("Diving", 3)])
def test_a_clip_is_recognized(data: Path, kind: str, number: int) -> None:
    weights = data / "networks" / "lrcn_ucf50"
    files = {"checkpoint": weights / "model.safetensors", "labels": weights / "labels.json"}
    model = vidcam.load_model(f"{FOLDER / 'lrcn_ucf50.py'}:net", options={"frame_rate": 4.0}, **files)
    found = vidcam.explain(model, data / "ucf101" / kind / f"v_{kind}_g01_c0{number}.avi")
    assert found.target_name == kind and not found.is_flat


def test_unpadded_convolutions_and_a_crop_of_its_own_need_no_word(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    for frame in sorted((data / "steering" / "frames").glob("*.jpg"))[:4]:
        (tmp_path / frame.name).write_bytes(frame.read_bytes())
    checkpoint = data / "networks" / "pilotnet" / "model.safetensors"
    model = vidcam.load_model(f"{FOLDER / 'pilotnet.py'}:net", checkpoint=checkpoint)
    found = vidcam.explain(model, tmp_path)
    assert found.heat.shape == (4, 5, 22) and not found.is_flat
    assert np.abs(np.subtract(found.region, (-0.5, 59.5, 319.5, 134.5))).max() < 1


def test_two_streams_are_fed_color_and_flow(data: Path) -> None:
    pytest.importorskip("cv2")
    checkpoint = data / "networks" / "violence" / "model.safetensors"
    model = vidcam.load_model(f"{FOLDER / 'violence.py'}:net", checkpoint=checkpoint)
    frames = np.random.default_rng(0).integers(0, 256, (3, 90, 120, 3), dtype=np.uint8)
    x = model.batch([[model.prepare(frame) for frame in frames]])
    assert {name: tuple(part.shape) for name, part in x.items()} == {
        "color": (1, 3, 3, 224, 224),
        "flow": (1, 2, 3, 224, 224),
    }
    for part in x.values():
        torch.testing.assert_close(part.std(), torch.tensor(1.0), atol=1e-3, rtol=0)
