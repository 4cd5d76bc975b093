"""Apart: while a network is looked at, each token attends to itself alone, so that tokens are moved but not mixed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vidcam.attribution.threads import ProcessState

_by_parts = ProcessState(
    torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, meanwhile=False
)
"""A whole block in one kernel cannot be looked into."""


@contextmanager
def tokens_apart() -> Iterator[None]:
    """Keep tokens apart in every attention, whichever kernel computes it; what else mixes them goes on to do so."""
    with _by_parts, _Apart():  # type: ignore[no-untyped-call]
        yield


class _Apart(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        returned, name = func(*args, **(kwargs or {})), str(func)
        if "scaled_dot_product" in name and "attention" in name:
            whole = isinstance(returned, Tensor)
            own = _own(returned if whole else returned[0], *args[:3])
            return own if whole else (own, *returned[1:])
        if "softmax" in name and "log" not in name and isinstance(returned, Tensor) and returned.ndim > 2:
            return _to_itself(returned) if args[1] in (-1, returned.ndim - 1) else returned
        return returned


def _own(returned: Tensor, query: Tensor, _key: Tensor, value: Tensor) -> Tensor:
    """Return what a token tells others, or where these are fewer or more, what it asks them."""
    own = next((part for part in (value, query) if part.shape == returned.shape), torch.zeros_like(returned))
    return own.clone()


def _to_itself(weights: Tensor) -> Tensor:
    """(..., n, n) all weight to the token itself; where others are fewer or more, none to anyone."""
    here, there = weights.shape[-2:]
    if here != there:
        return torch.zeros_like(weights)
    return torch.eye(here, dtype=weights.dtype, device=weights.device).expand_as(weights).clone()
