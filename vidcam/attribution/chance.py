"""Torch's random numbers, which are left as they were."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import torch

from vidcam.attribution.threads import ProcessState, alone


@contextmanager
def chance_kept(devices: Iterable[torch.device]) -> Iterator[None]:
    """Put the random numbers of the CPU and of CUDA devices back, also where threads overlap."""
    indices = sorted({device.index for device in devices if device.type == "cuda"})
    with ExitStack() as kept:
        for index in (None, *indices):
            kept.enter_context(_chance_of(index))
        yield


@cache
def _chance_of(index: int | None) -> ProcessState:
    """Return the random state of a CUDA device by its index, or the CPU's."""
    if index is None:
        return ProcessState(lambda: torch.get_rng_state(), lambda state: torch.set_rng_state(state))
    return ProcessState(lambda: torch.cuda.get_rng_state(index), lambda state: torch.cuda.set_rng_state(state, index))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a seed what is made on the default device, and leave all random numbers as they were.

    Threads do so one after the other. `torch.manual_seed` would seed every device, and leave those that are not forked
    so.
    """
    device = torch.get_default_device()
    on_gpu = [device] if device.type == "cuda" else []
    with alone(seeded), torch.random.fork_rng(devices=on_gpu):
        torch.default_generator.manual_seed(int(seed))
        for gpu in on_gpu:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(int(seed))
        yield
