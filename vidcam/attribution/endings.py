"""Endings: the softmax or sigmoid that a network ends in; what goes into it is a score, what comes out a probability.

The gradient of a probability dies as the network becomes sure, so that its map would be one of rounding.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from vidcam.attribution.layers import map_tensors

KINDS = ("softmax", "log_softmax", "sigmoid")


@dataclass(frozen=True)
class BeforeEnding:
    """A score `output -> (B,)` that is one of what goes into a network's softmax or sigmoid, where it ends in one."""

    score: Callable[[Any], Tensor]
    see: Callable[[Any, str | None], None] | None = None
    """Is shown the output as it is and the kind of its ending before the score is asked."""

    def __call__(self, output: Any) -> Tensor:
        """Return the score of an output without an ending."""
        return self.score(output)


class Endings(TorchFunctionMode):
    """Notes what the last softmaxes and sigmoids of a forward were given and what they returned."""

    def __init__(self) -> None:
        super().__init__()
        self._last: deque[tuple[str, Tensor, Tensor]] = deque(maxlen=4)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and note it if it is one of them."""
        returned = func(*args, **(kwargs or {}))
        kind = getattr(func, "__name__", "")
        if kind in KINDS and args and isinstance(args[0], Tensor) and isinstance(returned, Tensor):
            self._last.append((kind, args[0], returned))
        return returned

    def before(self, output: Any) -> tuple[Any, str | None]:
        """Return an output with what went into its ending in place of what came out, and the kind of the ending."""
        found: list[str] = []

        def earlier(part: Tensor) -> Tensor:
            for kind, given, returned in self._last:
                if part.data_ptr() == returned.data_ptr() and part.numel() == returned.numel():
                    found.append(kind)
                    return given.reshape(part.shape)
            return part

        replaced = map_tensors(output, earlier) if self._last else output
        return (replaced, found[0]) if found else (output, None)
