"""State: what a model says of what its network keeps from one call to the next."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vidcam.attribution.state import Standing, copied
from vidcam.errors import OptionError, unknown

STATES = ("carried", "fresh")
"""Whether a state goes on from window to window, or begins anew with every window."""
Reset = str | Callable[[nn.Module], Any] | None
"""What lets a state begin: a method of the network by its name, or a function of the network."""


@dataclass
class Beginning:
    """How a network stood when a model was made of it."""

    net: nn.Module
    device: torch.device
    standing: Standing
    state: set[str] | None = None
    """What a call changes, once that is known."""


def made_of(net: nn.Module, device: torch.device, before: Beginning | None) -> Beginning:
    """Remember how the network, on a device, stands; what is remembered of the same network from before counts."""
    if before is not None and before.net is net:
        return before
    with torch.inference_mode(False):
        return Beginning(net, device, copied(net))


def check_state(net: nn.Module, state: str | None, reset: Reset) -> None:
    """Raise an OptionError if the slots do not fit each other, or the network."""
    if state not in (None, *STATES):
        raise OptionError(unknown("state", state, STATES))
    if reset is None:
        return
    if state is None:
        raise OptionError("reset= lets the state of a network begin anew: say state='carried' or state='fresh' too")
    if not callable(getattr(inner(net), reset, None) if isinstance(reset, str) else reset):
        wanted = f"a method of {type(inner(net)).__name__} by its name, or a function of the network"
        raise OptionError(f"reset must be {wanted}; given {reset!r}")


def inner(net: nn.Module) -> Any:
    """Return the network inside one that spreads it."""
    return net.module if isinstance(net, nn.DataParallel) else net
