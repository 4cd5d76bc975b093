"""Gradient checkpointing: what a network recomputes to save memory in training is run once, and as it is."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.utils import checkpoint

from vidcam.attribution.threads import ProcessState


class _Direct:
    """Stands for the autograd function of reentrant checkpointing."""

    @staticmethod
    def apply(run: Callable[..., Any], _preserve: bool, *given: Any) -> Any:
        """Run without anything to recompute."""
        return run(*given)


def _nothing_kept(*_: Any, **__: Any) -> Iterator[None]:
    """Stand for the generators of the other kind, which keep what is needed before a run and check after it."""
    yield


_OTHERS = [name for name in vars(checkpoint) if name.startswith("_checkpoint_without_reentrant_generator")]
_DIRECT: Mapping[str, Any] = {"CheckpointFunction": _Direct, **dict.fromkeys(_OTHERS, _nothing_kept)}


def _replace(parts: Mapping[str, Any]) -> None:
    vars(checkpoint).update(parts)


# recomputing would ask the hooks a second time
without_checkpoints = ProcessState(
    lambda: {name: vars(checkpoint)[name] for name in _DIRECT}, _replace, meanwhile=_DIRECT
)
