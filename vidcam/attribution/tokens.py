"""Tokens: which frame, row and column each token of a transformer stands for, whatever their order, prefix included.

It is measured before tokens are mixed, at the input of the first block: slices of the input made NaN make the tokens
NaN that come from them. Class tokens, registers and other tokens that no slice reaches come from no place.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import eagerly, untouched
from vidcam.attribution.containers import clip_in, first_tensor, map_tensors
from vidcam.attribution.layers import call
from vidcam.attribution.rows import attributes_kept, words
from vidcam.errors import LayerError

TOKENS = "b (t h w) c"
"""How tokens read once they are in order."""
Places = list[int | None]
"""Along one axis of the grid, where each token lies; None for one that comes from no place."""


@dataclass(frozen=True)
class TokenOrder:
    """The tokens of a network."""

    order: list[int]
    """Tokens by time, row and column."""
    grid: tuple[int, int, int]
    """(t, h, w)."""
    count: int
    """All tokens, those that come from no place among them."""

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


def find_tokens(net: nn.Module, x: Any, layout: str, count: int) -> TokenOrder | None:
    """Find what the tokens of a network stand for; None if no module is given so many that are not mixed yet.

    Args:
        net: any network; it is left as it was found. It runs once, and then as far as its first block some 20 times, or
            once for every frame, row and column where patches overlap.
        x: its input, of which the first sample is taken.
        layout: of the input, as "b t c h w".
        count: how many tokens there are.
    """
    given = clip_in(x)
    batch = None if given is None else len(given)
    first = map_tensors(x, lambda part: part.detach()[:1] if part.ndim and len(part) == batch else part)
    probe = _TokenProbe(net, first, layout, count)
    try:
        with untouched(net), torch.no_grad(), attributes_kept(net), eagerly():
            if not probe.find_block():
                return None
            places = [probe.places(axis) for axis in "thw"]
    except Exception:  # a network that fails where its input is NaN cannot be measured
        return None
    known = [token for token in range(count) if None not in (own[token] for own in places)]
    at = {token: tuple(int(own[token] or 0) for own in places) for token in known}
    grid = tuple(max((place[axis] for place in at.values()), default=-1) + 1 for axis in range(3))
    if not known or len(set(at.values())) != len(known) or len(known) != prod(grid):
        return None
    return TokenOrder(sorted(known, key=at.__getitem__), (grid[0], grid[1], grid[2]), count)


class _Stop(BaseException):
    """Ends the forward at the block; not an Exception, so that no network catches it."""


class _TokenProbe:
    """The input of a network's first block, seen through inputs in which slices are NaN."""

    def __init__(self, net: nn.Module, x: Any, layout: str, count: int) -> None:
        given = clip_in(x)
        assert given is not None
        self.net, self.x, self.axes, self.count = net, x, layout.split(), count
        self.sizes = dict(zip(self.axes, given.shape, strict=True))
        self.block: nn.Module | None = None

    def find_block(self) -> bool:
        """Find the first module that is given tokens of which a part comes from the first rows."""

        def look(module: nn.Module, tokens: Tensor) -> None:
            share = float(tokens.isnan().flatten(2).any(2).float().mean())
            if self.block is None and 0 < share < 1:
                self.block = module

        self._run("h", slice(0, max(1, self.sizes["h"] // 32)), self.net.modules(), look)
        return self.block is not None

    def places(self, axis: str) -> Places:
        """Tell where each token lies along t, h or w."""
        if axis not in self.axes:
            return [0] * self.count
        for step in self._steps(axis):
            if (found := self._by_words(axis, step)) is not None:
                return found
        return self._one_by_one(axis)

    def _steps(self, axis: str) -> Iterator[int]:
        """Yield the sizes that patches may have: the strides of the network's convolutions."""
        for module in self.net.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                stride = dict(zip("thw"[3 - len(module.stride) :], module.stride, strict=True))
                if stride.get(axis, 1) > 1 or axis == "t":
                    yield stride.get(axis, 1)

    def _by_words(self, axis: str, step: int) -> Places | None:
        """Read the places of patches of one size, several of them in a run; None if tokens come from more than one."""
        patches = torch.arange(self.sizes[axis]) // step
        names = words(int(patches.max()) + 1)
        coded = torch.tensor([[run in name for run in range(max(map(max, names)) + 1)] for name in names])
        reached = torch.stack([self._reached(axis, coded[:, run][patches]) for run in range(coded.shape[1])])
        told = [tuple(own.nonzero()[:, 0].tolist()) for own in reached.T]
        known: Mapping[tuple[int, ...], int | None] = {**{name: place for place, name in enumerate(names)}, (): None}
        return [known[name] for name in told] if all(name in known for name in told) else None

    def _one_by_one(self, axis: str) -> Places:
        """Order tokens by the first slice that reaches them."""
        size = self.sizes[axis]
        reached = torch.stack([self._reached(axis, torch.arange(size) == index) for index in range(size)])
        firsts = [int(own.nonzero()[0, 0]) if own.any() else None for own in reached.T]
        rank = {first: place for place, first in enumerate(sorted({own for own in firsts if own is not None}))}
        return [None if first is None else rank[first] for first in firsts]

    def _reached(self, axis: str, marks: Tensor) -> Tensor:
        """(n,) slices that are made NaN -> (tokens,) whether a token comes from any of them."""
        seen: list[Tensor] = []

        def look(_module: nn.Module, tokens: Tensor) -> None:
            seen.append(tokens.isnan().any(2)[0].cpu())
            raise _Stop

        assert self.block is not None
        self._run(axis, marks, [self.block], look)
        return seen[0]

    def _run(self, axis: str, marks: slice | Tensor, modules: Any, look: Any) -> None:
        """Run the network on an input with some slices NaN, and show `look` the tokens that modules are given."""

        def marked(part: Tensor) -> Tensor:
            if part.ndim != len(self.axes) or not part.is_floating_point():
                return part
            part = part.clone()
            part.movedim(self.axes.index(axis), 0)[marks.to(part.device) if isinstance(marks, Tensor) else marks] = (
                torch.nan
            )
            return part

        def hook(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
            tokens = first_tensor([*args, *kwargs.values()])
            if tokens is not None and tokens.ndim == 3 and tokens.shape[:2] == (1, self.count):
                look(module, tokens)

        with ExitStack() as hooks, suppress(_Stop):
            for module in modules:
                hooks.enter_context(module.register_forward_pre_hook(hook, with_kwargs=True))
            call(self.net, map_tensors(self.x, marked))
