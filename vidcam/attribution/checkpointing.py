"""Gradient checkpointing: what a network recomputes to save memory in training is run once, and as it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch.utils import checkpoint


class _Direct:
    """Stands for the autograd function of reentrant checkpointing."""

    @staticmethod
    def apply(run: Callable[..., Any], _preserve: bool, *given: Any) -> Any:
        """Run without anything to recompute."""
        return run(*given)


def _nothing_kept(*_: Any, **__: Any) -> Iterator[None]:
    """Stand for the generator of the other kind, which keeps what it needs before the run and checks after it."""
    yield


@contextmanager
def without_checkpoints() -> Iterator[None]:
    """Let `torch.utils.checkpoint` call what it is given: recomputing would ask the hooks a second time."""
    keeping = [name for name in vars(checkpoint) if name.startswith("_checkpoint_without_reentrant_generator")]
    direct: dict[str, Any] = {"CheckpointFunction": _Direct, **dict.fromkeys(keeping, _nothing_kept)}
    with patch.multiple(checkpoint, **direct):
        yield
