"""Endings: the softmax or sigmoid that a network ends in; what goes into it is a score, what comes out a probability.

The gradient of a probability dies as the network becomes sure, so that its map would be one of rounding.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

KINDS = {
    **{name: name for name in ("softmax", "log_softmax", "sigmoid")},
    "special_softmax": "softmax",
    "special_log_softmax": "log_softmax",
    "special_expit": "sigmoid",
    "expit": "sigmoid",
    "sigmoid_": "sigmoid",
}
"""Functions by their names, and what they are."""


@dataclass(frozen=True)
class BeforeEnding:
    """A score of what goes into the softmax or sigmoid that a network's answer comes out of, if it does."""

    answer: Callable[[Any], Tensor]
    """Finds the answer in what the network returns."""
    score: Callable[[Tensor], Tensor]
    """The answer, or what went into its ending -> (B,)."""
    see: Callable[[Any, str | None], None] | None = None
    """Is shown what the network returned and the kind of the answer's ending before the score is asked."""

    def __call__(self, output: Any) -> Tensor:
        """Return the score of an output without an ending."""
        return self.score(self.answer(output))


@dataclass(frozen=True)
class Ending:
    """A softmax or sigmoid as it was called."""

    kind: str
    place: tuple[int, int]
    """Where its result lies in memory, and how many numbers it has."""
    version: int
    given: Tensor | None
    """What went in; None where it was overwritten, or once the forward is over."""


class Endings(TorchFunctionMode):
    """Notes what the last softmaxes and sigmoids of a forward were given and what they returned."""

    def __init__(self) -> None:
        super().__init__()
        self._last: deque[Ending] = deque(maxlen=8)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and note it if it is one of them."""
        named = kwargs or {}
        returned, name = func(*args, **named), getattr(func, "__name__", "")
        given = args[0] if args else named.get("input")
        if name in KINDS and isinstance(given, Tensor) and isinstance(returned, Tensor) and returned.is_contiguous():
            before = None if name.endswith("_") else given
            self._last.append(Ending(KINDS[name], _place(returned), returned._version, before))
        return returned

    def of(self, answer: Tensor) -> Ending | None:
        """Return the ending that an answer came out of, as it is."""
        return ending_of(answer, tuple(self._last))

    def seen(self) -> tuple[Ending, ...]:
        """Return all of them without what went in, which a graph hangs on."""
        return tuple(Ending(each.kind, each.place, each.version, None) for each in self._last)


def ending_of(answer: Tensor, endings: Sequence[Ending]) -> Ending | None:
    """Return the ending that an answer, or a reshaped view of it, came out of unchanged."""
    if not answer.is_contiguous():
        return None
    here = _place(answer), answer._version
    return next((each for each in endings if (each.place, each.version) == here), None)


def _place(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor.numel()
