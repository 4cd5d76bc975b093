"""Random numbers are left as they were, those of GPUs among them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from vidcam.attribution.chance import chance_kept, seeded


def test_what_is_drawn_hangs_on_the_seed_alone() -> None:
    before = torch.get_rng_state()
    with seeded(7):
        first = torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    with seeded(7):
        assert torch.equal(torch.rand(5), first)
    assert torch.equal(first, torch.rand(5, generator=torch.Generator().manual_seed(7)))


def test_threads_that_draw_from_seeds_do_so_one_after_the_other() -> None:
    def draw(seed: int) -> list[float]:
        with seeded(seed):
            return [float(torch.rand(1)) for _ in range(300)]

    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(draw, [0, 1, 2, 3] * 4)]
    assert found == [draw(seed) for seed in (0, 1, 2, 3)] * 4


def test_other_devices_are_not_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.manual_seed` seeds CUDA, also one that is not used yet, for good."""
    for module in (torch.cuda, torch.mps, torch.xpu):
        for name in ("manual_seed", "manual_seed_all"):
            monkeypatch.setattr(module, name, lambda *_: pytest.fail("seeded"), raising=False)
    with seeded(0):
        torch.rand(1)


def test_a_gpu_that_is_the_default_is_seeded_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    states: dict[Any, int] = {1: 5}
    monkeypatch.setattr("torch.get_default_device", lambda: torch.device("cuda", 1))
    monkeypatch.setattr("torch.cuda.device", lambda device: monkeypatch.context())
    monkeypatch.setattr("torch.cuda.manual_seed", lambda seed: states.update({1: seed}))
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: states[torch.device(device).index])
    monkeypatch.setattr("torch.cuda.set_rng_state", lambda state, device: states.update({device.index: state}))
    with seeded(9):
        assert states == {1: 9}
    assert states == {1: 5}


def test_the_devices_of_a_network_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {0: 10, 1: 11}
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda index: states[index])
    monkeypatch.setattr("torch.cuda.set_rng_state", lambda state, index: states.update({index: state}))
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), chance_kept([torch.device("cuda", 1), torch.device("cpu")]):
        states.update({0: 0, 1: 0})
        torch.rand(1)
        raise ZeroDivisionError
    assert states == {0: 0, 1: 11} and torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
def test_a_real_gpu_keeps_its_random_numbers() -> None:
    torch.cuda.manual_seed(3)
    before = torch.cuda.get_rng_state()
    with seeded(9):
        torch.rand(1)
    assert torch.equal(torch.cuda.get_rng_state(), before)
