"""Apart: attention lets tokens know nothing of others while a network is looked at: they move, but do not mix."""

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
            own = _asked(returned if whole else returned[0], args[0])
            return own if whole else (own, *returned[1:])
        weights = "softmax" in name and "log" not in name and isinstance(returned, Tensor) and returned.ndim > 2
        return torch.zeros_like(returned) if weights and args[1] in (-1, returned.ndim - 1) else returned


def _asked(returned: Tensor, query: Tensor) -> Tensor:
    """Return what each token asked the others, which is its own, in place of what it got to know; else nothing."""
    return query.clone() if query.shape == returned.shape else torch.zeros_like(returned)
