"""Endings: the softmax or sigmoid that a network ends in; what goes into it is a score, what comes out a probability.

The gradient of a probability dies as the network becomes sure, so that its map would be one of rounding. An ending is
known by its call, where the answer is its very result, or else by its numbers: of what the network computed on the way
to its answer, it is that of which the answer is the softmax or sigmoid, whoever wrote it out and whatever came after.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

KINDS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "softmax": (lambda z: z.softmax(-1), lambda answer: answer),
    "sigmoid": (torch.sigmoid, lambda answer: answer),
    "log_softmax": (lambda z: z.log_softmax(-1), torch.exp),
    "logsigmoid": (functional.logsigmoid, torch.exp),
}
"""Kinds of endings: what they make of scores (..., K), and how their result becomes probabilities."""
NAMES = {
    **{name: name for name in KINDS},
    **{f"special_{name}": name for name in ("softmax", "log_softmax")},
    "special_expit": "sigmoid",
    "expit": "sigmoid",
    "sigmoid_": "sigmoid",
    "log_sigmoid": "logsigmoid",
}
"""Functions by their names, and what they are."""
PRODUCTS = ("linear", "matmul", "__matmul__", "mm", "bmm", "addmm", "conv1d", "conv2d", "conv3d")
"""Functions whose results may be any numbers, and so are scores, wherever they happen to lie."""
MEAN = "mean of several "
"""Before the kind, where the answer is the mean of endings, as over several crops."""
FINE, ROUGH = 1e-7, 1e-4
"""How far probabilities may be off, as by being clamped; rough where it is known that an ending was called."""
SMALL = 2**16
"""Numbers of what may go into an ending, at most."""


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
    """A softmax or sigmoid, and what it was given, of the answer's shape."""

    kind: str
    given: Tensor


@dataclass(frozen=True)
class EndingCall:
    """A softmax or sigmoid as it was called."""

    kind: str
    given: Tensor
    place: tuple[int, int]
    """Where its result lies in memory, and how many numbers it has."""
    version: int


@dataclass(frozen=True)
class Trace:
    """What a forward computed last."""

    calls: Sequence[EndingCall] = ()
    """Its softmaxes and sigmoids."""
    made: Sequence[Tensor] = ()
    """All that was small, the earliest first."""
    products: frozenset[tuple[int, int]] = frozenset()
    """Where results of `PRODUCTS` lie."""
    without: frozenset[tuple[tuple[int, int], int]] = frozenset()
    """Answers that were looked at and have no ending: where they lie, and their versions."""

    def detached(self) -> "Trace":
        """Return the same without the graph that hangs on it."""
        calls = [EndingCall(each.kind, each.given.detach(), each.place, each.version) for each in self.calls]
        return Trace(calls, [tensor.detach() for tensor in self.made], self.products, self.without)

    def looks_like_probabilities(self, answer: Tensor) -> bool:
        """Whether an answer without an ending lies within 0..1, and is not the result of a last layer."""
        return _place(answer) not in self.products and bool(((answer >= 0) & (answer <= 1)).all())

    def ending_of(self, answer: Tensor) -> Ending | None:
        """Return the ending that an answer (B, K), (B, T, K) or (B,) came out of."""
        here = _place(answer), answer._version
        for each in self.calls:
            if (each.place, each.version) == here and answer.is_contiguous():
                return Ending(each.kind, each.given.reshape(answer.shape))
        if here in self.without or answer.ndim not in (1, 2, 3) or not answer.numel():
            return None
        if answer.ndim == 3:  # one for each time step
            found = self.ending_of(answer.flatten(0, 1))
            return None if found is None else Ending(found.kind, found.given.reshape(answer.shape))
        if not _may_be_probabilities(answer):
            return None
        return next(self._by_numbers(answer), None)

    def _by_numbers(self, answer: Tensor) -> Iterator[Ending]:
        """Yield what fits: first what was given to endings, the last of them first, then all else from the start.

        The earliest, because the result of `z - z.max()` or of a log_softmax fits as well, and its gradient dies.
        """
        before = ancestors(answer)
        given = [each.given for each in reversed(self.calls)]
        for tensor, slack in (*((one, ROUGH) for one in given), *((one, FINE) for one in self.made)):
            if before is None or (tensor.grad_fn or tensor) in before:
                yield from _fitting(tensor, answer, slack)


class Endings(TorchFunctionMode):
    """Notes what a forward computes last."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: deque[EndingCall] = deque(maxlen=8)
        self._made: deque[Tensor] = deque(maxlen=64)
        self._products: deque[tuple[int, int]] = deque(maxlen=64)
        self._without: set[tuple[tuple[int, int], int]] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """EndingCall the function, and note it if it is one of them."""
        named, name = kwargs or {}, getattr(func, "__name__", "")
        given = args[0] if args else named.get("input")
        if name in NAMES and name.endswith("_") and isinstance(given, Tensor):
            given = given.clone()  # what it overwrites
        returned = func(*args, **named)
        if (
            isinstance(returned, Tensor)
            and returned.is_floating_point()
            and returned.ndim
            and returned.numel() <= SMALL
        ):
            self._made.append(returned)
            if name in PRODUCTS:
                self._products.append(_place(returned))
            if name in NAMES and isinstance(given, Tensor) and given.numel() == returned.numel():
                self._calls.append(EndingCall(NAMES[name], given, _place(returned), returned._version))
        return returned

    def of(self, answer: Tensor) -> Ending | None:
        """Return the ending that an answer came out of, and remember it."""
        found = self.trace().ending_of(answer)
        if found is None:
            self._without.add((_place(answer), answer._version))
        else:
            self._calls.append(EndingCall(found.kind, found.given, _place(answer), answer._version))
        return found

    def trace(self) -> Trace:
        """Return what was noted."""
        return Trace(tuple(self._calls), tuple(self._made), frozenset(self._products), frozenset(self._without))


def as_probabilities(answer: Tensor, kind: str) -> Tensor:
    """Return what comes out of an ending of that kind as probabilities."""
    return KINDS[kind.removeprefix(MEAN)][1](answer)


def _may_be_probabilities(answer: Tensor) -> bool:
    """Whether numbers lie in 0..1, or could be logarithms of such."""
    lowest, highest = map(float, torch.stack(answer.detach().float().aminmax()).tolist())
    slack = 2 * torch.finfo(answer.dtype).eps
    return highest <= slack or (lowest >= -slack and highest <= 1 + slack)


def ancestors(answer: Tensor) -> set[Any] | None:
    """Return all that an answer was computed from, as far as autograd knows; None where nothing is recorded."""
    if answer.grad_fn is None:
        return None
    found, waiting = {answer.grad_fn}, [answer.grad_fn]
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in found:
                found.add(node)
                waiting.append(node)
    return found


def _fitting(tensor: Tensor, answer: Tensor, slack: float) -> Iterator[Ending]:
    """Yield the endings that make the answer of a tensor, or of the several rows that it holds for each of its own."""
    classes = answer.shape[1] if answer.ndim == 2 else 1
    several, rest = divmod(tensor.numel(), answer.numel())
    if rest or not several or (several > 1 and (tensor.ndim > 3 or tensor.shape[-1] != classes)):
        return
    wanted = answer.detach().float().reshape(-1, classes)
    forms = [tensor.reshape(several, -1, classes), tensor.reshape(-1, several, classes).transpose(0, 1)]
    tolerance = max(1e-5, 4 * max(torch.finfo(part.dtype).eps for part in (tensor, answer)))
    for kind, (function, _) in KINDS.items():
        if classes == 1 and "softmax" in kind:
            continue
        made = [function(form.detach().float()).mean(0) for form in forms[: 1 if several == 1 else 2]]
        form, nearest = min(zip(forms, made, strict=False), key=lambda pair: _distance(pair[1], wanted))
        if torch.allclose(nearest, wanted, rtol=tolerance, atol=max(slack, tolerance / 100)):
            yield Ending(kind if several == 1 else MEAN + kind, form.mean(0).reshape(answer.shape))


def _distance(one: Tensor, other: Tensor) -> float:
    """Measure how unlike numbers are, also where they are next to nothing."""
    least = torch.finfo(one.dtype).tiny
    return float((one.abs().clamp_min(least).log() - other.abs().clamp_min(least).log()).abs().sum())


def _place(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor.numel()
