"""Fixtures that every test may use: a fixed seed, the shared real videos, a CUDA device."""

import os
from pathlib import Path

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
