"""Tokens: which frame, row and column each token of a transformer stands for, whatever their order, prefix included.

It is measured before tokens are mixed, at the input of the first block: slices of the input made NaN make the tokens
NaN that come from them. Class tokens, registers and other tokens that no slice reaches come from no place. Networks may
move tokens afterwards; so it is looked at the layer itself whether they still stand there, with tokens kept apart, and
where they do not, it is measured there.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vidcam.attribution.apart import tokens_apart
from vidcam.attribution.containers import clip_in, map_tensors
from vidcam.attribution.failures import of_device
from vidcam.attribution.layers import find_layer
from vidcam.attribution.marks import ROUNDING, Marker, Stop, is_change, looking, named, words
from vidcam.errors import LayerError

TOKENS = "b (t h w) c"
"""How tokens read once they are in order."""
Span = tuple[int, int]
"""The first and the last strip of an axis that a token comes from."""
ROUGHLY = 0.9
"""How surely tokens must stand where they stood for their order to be taken over although the layer mixes them."""
MUCH, MORE, FEW = 0.3, 1.5, 8
"""Where tokens are mixed: which share of the usual change is no leak, how many times more a token must change by one
strip than by any other, and of how few tokens that could be chance."""


@dataclass(frozen=True)
class TokenOrder:
    """The tokens of a layer."""

    order: list[int]
    """Tokens by time, row and column."""
    grid: tuple[int, int, int]
    """(t, h, w)."""
    count: int
    """All tokens, those that come from no place among them."""
    mixed: bool = False
    """Whether it is the order before the first block, as the layer mixes tokens so much that it shows it roughly."""

    @property
    def is_sorted(self) -> bool:
        """Whether they come by time, row and column already."""
        return self.order == sorted(self.order)

    def check(self, layer: str, told: Sequence[int] | None) -> None:
        """Raise a LayerError if a grid that was told is another one."""
        if told is not None and tuple(told) != self.grid:
            measured = "x".join(map(str, self.grid))
            raise LayerError(
                f"the {self.count} tokens of layer {layer!r} stand for {measured} frames, rows and columns, as was "
                f"measured; grid={tuple(told)} contradicts; leave it out, or give {self.grid}"
            )


def find_tokens(net: nn.Module, x: Any, layout: str, count: int, layer: str) -> TokenOrder | None:
    """Find what the tokens that a layer returns stand for; None if that cannot be measured.

    Args:
        net: any network; it is left as it was found. It runs some 20 times as far as its first block and four times as
            far as the layer; more often where patches overlap, or tokens are moved behind the first block.
        x: its input, of which the first sample is taken.
        layout: of the input, as "b t c h w".
        count: how many tokens there are.
        layer: the layer's name.

    Raises:
        LayerError: they have a known order before the first block, and at the layer another one that is not known.
    """
    given = clip_in(x)
    batch = None if given is None else len(given)
    first = map_tensors(x, lambda part: part.detach()[:1] if part.ndim and len(part) == batch else part)
    with looking(net):
        before = _tried(lambda: _before_blocks(net, first, layout, count))
        marker, module = Marker(net, first, layout, ink="turned", layer=layer), find_layer(net, layer)
        agreed = _tried(lambda: before.agreement(_TokenProbe(marker, module, count))) if before else None
        if before and agreed == 1:
            return before.order
        for mixed in (False, True):
            if found := _tried(partial(_places, _TokenProbe(marker, module, count, mixed=mixed))):
                if before is None or found.order.grid == before.order.grid:
                    return found.order
                if not mixed and _is_part(found.order.order, before.order.order):
                    return before.order  # marks do not show everywhere, as where all is zero
    if before is None:
        return None
    if agreed is not None and agreed > ROUGHLY:
        return replace(before.order, mixed=True)
    raise LayerError(
        f"the tokens of layer {layer!r} do not stand where they stood before the first block, and what they stand for "
        "cannot be measured; choose an earlier layer, or say it by layout=, as 'b (h w t) c', or by grid= as a "
        "function of the number of tokens, which then run over time, rows, columns"
    )


def _is_part(some: Sequence[int], order: Sequence[int]) -> bool:
    """Whether these are most of the tokens, in their order."""
    known = {*some}
    return 2 * len(known) > len(order) and [token for token in order if token in known] == [*some]


Found = TypeVar("Found")


def _tried(measure: Callable[[], Found]) -> Found | None:
    """Return what is measured; None from a network that fails at marks. A device's failures go on."""
    try:
        return measure()
    except Exception as error:
        if of_device(error):
            raise
        return None


@dataclass
class _TokenProbe:
    """The tokens that a module gives, or is given, seen through marks."""

    marker: Marker
    module: nn.Module
    count: int
    before: bool = False
    """Whether it is what the module is given that counts."""
    mixed: bool = False
    """Whether tokens change a little by what lies elsewhere."""
    apart: bool = True
    """Whether attention lets tokens know nothing of others."""

    def changes(self, marks: Tensor) -> Tensor:
        """(runs, T, H, W) what is marked -> (runs, tokens) how much tokens change by it."""
        with tokens_apart() if self.apart else nullcontext():
            return self.marker.changes(marks[:, None], self.module, kept=2, before=self.before)[:, 0, : self.count]

    def changes_along(self, axis: str, marks: Tensor) -> Tensor:
        """(runs, slices) what is marked along t, h or w -> (runs, tokens) how much tokens change; 0 for rounding."""
        changes = self.changes(marks.reshape([len(marks), *(marks.shape[1] if each == axis else 1 for each in "thw")]))
        return torch.where(is_change(changes), changes, 0)

    def reached(self, axis: str, marks: Tensor) -> Tensor:
        """(runs, slices) what is marked along t, h or w -> (runs, tokens) whether tokens come from it."""
        changes = self.changes_along(axis, marks)
        return changes > (MUCH if self.mixed else 0) * changes.max()

    @cached_property
    def of_a_place(self) -> int:
        """How many tokens come from anything."""
        return int(self.reached("t", torch.ones(1, 1, dtype=torch.bool)).sum())

    def along(self, axis: str, *, fine: bool = False) -> "_Along | None":
        """Find the strips of t, h or w that tokens come from, as wide as may be, or of a quarter of that."""
        size = self.marker.sizes[axis]
        if axis not in self.marker.axes:
            return _Along(1, [(0, 0)] * self.count)
        widest = self._widest(axis, size)
        if self.mixed:
            return self._most(axis, widest)
        for step, neighbors in ((widest, 1), (widest, 3), (widest // 2, 3)) if not fine else ():
            if step and (found := self._by_words(axis, step, neighbors)) and found.is_regular:
                return found
        return _Along.of(step := max(1, widest // 4), [own.nonzero()[:, 0].tolist() for own in self._each(axis, step)])

    def _widest(self, axis: str, size: int) -> int:
        """Tell how many slices a token takes up, from how many tokens come from one in the middle."""
        width, middle = 1, torch.arange(size) - size // 2
        while width < size:
            reached = self.reached(axis, ((middle >= 0) & (middle < width))[None])
            if reached.any():
                return max(1, round(size * int(reached.sum()) / self.of_a_place))
            width *= 2
        return size

    def _by_words(self, axis: str, step: int, neighbors: int) -> "_Along | None":
        """Read the strips of tokens from few runs; None if one comes from more than so many neighboring strips."""
        strips = torch.arange(self.marker.sizes[axis]) // step
        held: list[list[int]] = [[] for _ in range(self.count)]
        for start in range(min(neighbors, how_many := int(strips.max()) + 1)):
            own = torch.arange(start, how_many, neighbors)  # of which a token comes from one at most
            coded = torch.zeros(len(words(len(own))), how_many, dtype=torch.bool)
            coded[:, own] = words(len(own))
            numbers = named(self.reached(axis, coded[:, strips]), len(own))
            if None in numbers:
                return None
            for token, number in enumerate(numbers):
                held[token] += [int(own[number])] if number is not None and number >= 0 else []
        return _Along.of(step, held)

    def _most(self, axis: str, step: int) -> "_Along | None":
        """Find the strip by which each token changes most; None if it does not stand out."""
        changes = self._each(axis, step)
        largest, strip = changes.max(dim=1)
        others = changes.scatter(1, strip[:, None], 0).amax(dim=1)
        known = largest > MUCH * largest.median()
        if known.sum() < FEW or not (largest > MORE * others)[known].all():
            return None
        return _Along(step, [(at, at) if own else None for at, own in zip(strip.tolist(), known, strict=True)])

    def _each(self, axis: str, step: int) -> Tensor:
        """(tokens, strips) how much tokens change by each of the strips; nothing where that is rounding."""
        strips = torch.arange(self.marker.sizes[axis]) // step
        return self.changes_along(axis, strips == torch.arange(int(strips.max()) + 1)[:, None]).T


@dataclass(frozen=True)
class _Along:
    """Where tokens lie along one axis."""

    step: int
    """Slices of a strip."""
    spans: list[Span | None]
    """The strips of each token; None of one that comes from none."""

    @staticmethod
    def of(step: int, held: Sequence[Sequence[int]]) -> "_Along | None":
        """Make it of the strips that each token comes from; None if one skips a strip."""
        spans = [(min(own), max(own)) if own else None for own in held]
        skips = any(span and span[1] - span[0] + 1 != len(own) for span, own in zip(spans, held, strict=True))
        return None if skips else _Along(step, spans)

    @property
    def is_regular(self) -> bool:
        """Whether there are as many tokens at each place: else strips are too wide to tell places apart."""
        return len({*Counter(span for span in self.spans if span).values()}) < 2

    @property
    def places(self) -> list[int | None]:
        """The place of each token among all places, by the middle of what it comes from."""
        ranked = sorted({span for span in self.spans if span}, key=lambda span: (sum(span), span))
        rank = {span: place for place, span in enumerate(ranked)}
        return [rank.get(span) if span else None for span in self.spans]


@dataclass(frozen=True)
class _Places:
    """Where tokens lie in time, in rows and in columns."""

    order: TokenOrder
    along: tuple[_Along, ...]

    def agreement(self, probe: _TokenProbe) -> float:
        """Mark random cells: how surely do the tokens that come from them change more at the probe than all others?

        1 if they all do; 0.5 if it makes no difference.
        """
        boxes = [tuple(slice(a, b + 1) for a, b in spans if spans) for spans in self._spans()]
        volume = sum(prod(part.stop - part.start for part in box) for box in boxes if box) / len(self.order.order)
        sizes = [max(span[1] for span in own.spans if span) + 1 for own in self.along]
        cells = torch.rand(3, *sizes, generator=torch.Generator().manual_seed(0)) < 1 - 0.5 ** (1 / volume)
        expected = torch.tensor([[bool(box) and bool(run[box].any()) for box in boxes] for run in cells.numpy()])
        for position, (own, axis) in enumerate(zip(self.along, "thw", strict=True), 1):
            strips = torch.arange(probe.marker.sizes[axis]) // own.step
            cells = cells.index_select(position, strips.clamp(max=cells.shape[position] - 1))
        changes = probe.changes(cells)
        return min(_surely(*both) for both in zip(changes, expected, strict=True))

    def _spans(self) -> Iterator[tuple[Span, ...]]:
        for spans in zip(*(own.spans for own in self.along), strict=True):
            yield tuple(span for span in spans if span) if None not in spans else ()


def _surely(changes: Tensor, expected: Tensor) -> float:
    """Return how often a change that is expected is larger than one that is not; 1 if none but some expected are."""
    marked, others = changes[expected], changes[~expected]
    if not len(marked) or not len(others):
        return 1.0
    larger = float((marked[:, None] > others).float().mean())
    return 1.0 if larger > ROUGHLY and others.max() <= ROUNDING * changes.max() else larger


def _before_blocks(net: nn.Module, x: Any, layout: str, count: int) -> _Places | None:
    """Measure at the first module that is given tokens of which a part comes from the first rows."""
    marker, blocks = Marker(net, x, layout), list[nn.Module]()

    def look(module: nn.Module, tokens: Tensor) -> None:
        if tokens.ndim == 3 and tokens.shape[:2] == (1, count):
            if 0 < float(tokens.isnan().any(2).float().mean()) < 1:
                blocks.append(module)
                raise Stop

    rows = torch.arange(marker.sizes["h"])[:, None] < max(1, marker.sizes["h"] // 32)
    marker.run(rows[None, None], dict.fromkeys(net.modules(), look), before=True)
    return _places(_TokenProbe(marker, blocks[0], count, before=True, apart=False)) if blocks else None


def _places(probe: _TokenProbe) -> _Places | None:
    """Measure where tokens lie; None unless there is exactly one for each place of a grid."""
    for fine in (False,) if probe.mixed else (False, True):
        along = tuple(own for axis in "thw" if (own := probe.along(axis, fine=fine)))
        if len(along) == 3 and (order := _in_order([own.places for own in along], probe.count)):
            return _Places(order, along)
    return None


def _in_order(places: Sequence[Sequence[int | None]], count: int) -> TokenOrder | None:
    """Order tokens by their places along the three axes."""
    each = enumerate(zip(*places, strict=True))
    known = {token: (t, h, w) for token, (t, h, w) in each if t is not None and h is not None and w is not None}
    t, h, w = (max(own, default=-1) + 1 for own in zip(*known.values(), strict=True)) if known else (0, 0, 0)
    if not known or len({*known.values()}) != len(known) or len(known) != t * h * w:
        return None
    return TokenOrder(sorted(known, key=known.__getitem__), (t, h, w), count)
