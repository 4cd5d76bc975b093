"""A score planted on one token of networks as people have them is found where it was planted."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vidcam.media import VideoWriter

FOLDER = Path(__file__).parents[2] / "experiments" / "any_network"
QUICK = (
    *("VideoMAE", "TimeSformer", "ViViT", "V-JEPA 2", "Hiera", "DINOv2 with registers"),
    *("I3D", "TSM", "ConvLSTM", "CNN-GRU", "CNN-BiLSTM"),
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    pytest.importorskip("transformers")
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("any_network_run", FOLDER / "run.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # data classes look themselves up there
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen frames of noise that changes slowly."""
    path = tmp_path_factory.mktemp("any") / "source.mp4"
    chance = np.random.default_rng(0)
    with VideoWriter(path, width=96, height=72, rate=25) as writer:
        for _ in range(16):
            writer.write(np.kron(chance.integers(0, 256, (9, 12, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)))
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", QUICK)
def test_the_peak_is_where_it_was_planted(name: str, script: ModuleType, source: Path, tmp_path: Path) -> None:
    row = script.run(name, source, tmp_path)
    assert "refused" not in row, row
    assert row["right"] and row["in_pixels"] and row["lines"] == 1, row
    assert row["forwards"] < 60
