"""Fixtures that every test may use: a fixed seed, the shared real videos, a CUDA device."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# tiny networks are up to twenty times slower in several threads on a busy machine; subprocesses inherit it
os.environ.setdefault("OMP_NUM_THREADS", "1")

DATA = Path(os.environ.get("VIDCAM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run: real videos that are absent, a GPU that is absent."""
    import torch

    for item in items:
        if item.get_closest_marker("shared") and not DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no shared data at {DATA}"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def seed() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real videos; use only in tests marked `shared`."""
    return DATA


@pytest.fixture
def require_backend(tmp_path: Path) -> Callable[[str], None]:
    """Skip where a reader's library is absent, or does not find the FFmpeg that it needs."""

    def require(backend: str) -> None:
        from vidcam.errors import MediaError
        from vidcam.media import VideoWriter, open_video

        with VideoWriter(tmp_path / "probe.mp4", width=64, height=48, rate=Fraction(5)) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8))
        try:
            open_video(tmp_path / "probe.mp4", backend=backend).close()
        except MediaError as error:
            if "not installed" in str(error) or "no FFmpeg libraries" in str(error):
                pytest.skip(str(error))
            raise

    return require


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Any, Any], None]:
    """Compare nested states, as checkpoints hold them, bit by bit."""
    import torch

    def same(one: Any, other: Any) -> None:
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for key in one:
                same(one[key], other[key])
        elif isinstance(one, list | tuple):
            assert len(one) == len(other)
            for a, b in zip(one, other, strict=True):
                same(a, b)
        elif isinstance(one, torch.Tensor):
            assert torch.equal(one, other)
        else:
            assert one == other

    return same
