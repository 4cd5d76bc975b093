"""Measure where the slots of any network's layer look in the input, by running it.

What a slot *can* depend on is found with NaN: a sample made NaN turns every slot that it reaches into NaN, whatever
the weights are, because neither a zero weight, nor a rectifier, nor a maximum makes a NaN a number again (only a
comparison does). Bisection over "NaN up to here" and "NaN from here on" then gives a slot's interval, without any
gradient. What a slot *does* look at, with the actual weights on an actual input, is the energy of its gradient.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidcam.attribution.failures import of_device
from vidcam.attribution.geometry import Axis
from vidcam.attribution.layers import (
    FOLDED,
    choose_output,
    find_layer,
    grid_axes,
    not_used,
    on_output,
    outputs_of,
    read_grid,
    token_grid,
)
from vidcam.attribution.state import kept
from vidcam.attribution.threads import without_cudnn, without_nnpack
from vidcam.attribution.tokens import TokenOrder
from vidcam.attribution.untouched import untouched
from vidcam.errors import LayerError, ModelError, OptionError
from vidcam.types import Floats

LONGEST = 2048  # samples; the receptive field of a ResNet-152 has 1451
ENOUGH = 9  # clear slots whose intervals, if still irregular, never become regular
UNFIT = (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError, ModelError)  # "I need another size"

Sizes = tuple[int, ...]
Reach = Callable[[int], NDArray[np.bool_]]  # sample -> a truth per slot, which is monotonous in the sample


def measure_axes(
    net: nn.Module,
    shape: Sequence[int],
    layer: str,
    *,
    layout: str = "b c t h w",
    grid: Sequence[int] | None = None,
    tokens: TokenOrder | None = None,
    axes: str = "thw",
) -> tuple[Axis, ...]:
    """Measure stride, center and extent of a layer along each axis t, h, w that its layout has.

    One axis of the input is doubled, the others kept small, until slots in the middle see neither end; their intervals
    are exact for any weights. Where that never happens (attention, global pooling, recurrence), where a longer input
    does not fit the network, or where slots are not evenly spaced, every slot is taken to see all: infinite extent
    and the middles of equal bins of the usual input.

    Args:
        net: any network; it is left as it was found.
        shape: (C, T, H, W) of the usual input, (C, H, W) of images or (C, T) of sequences.
        layer: name as in `net.named_modules()`.
        layout: einops pattern of the layer's output, see `layers.read_grid`.
        grid: sizes of t, h, w at the usual input, for tokens whose layer does not return them.
        tokens: what its tokens stand for; None takes them by time, row and column.
        axes: those to measure; "t" leaves out height and width.

    Raises:
        LayerError: the layer does not exist, or its output does not have that layout.
        OptionError: the layer has an axis that the input has not.
        ModelError: the device failed, as where its memory is full: that says nothing of sizes.
    """
    sizes = tuple(shape[1:])
    pairs = _axes(len(sizes), layout, axes)
    run = partial(_read_layer, net, layer, layout=layout, grid=grid, tokens=tokens)
    like = next(net.parameters(), torch.zeros(()))
    try:
        with _running_exactly(net):
            return tuple(_Probe(run, like, shape[0], *pair).measure(sizes) for pair in pairs)
    except RuntimeError as error:
        if not of_device(error):
            raise
        say, *_ = str(error).splitlines() or [type(error).__name__]
        help_ = "free some memory, take another device, or give the geometry by Model(axes=...)"
        raise ModelError(f"the geometry of layer {layer!r} cannot be measured: {say}; {help_}") from error


def effective_centers(
    net: nn.Module,
    x: Tensor,
    layer: str,
    *,
    layout: str = "b c t h w",
    grid: Sequence[int] | None = None,
    tokens: TokenOrder | None = None,
    axes: str = "thw",
) -> tuple[Floats, ...]:
    """Find the input index that each slot looks at on average, per axis t, h, w that the layer's layout has.

    A slot's center is the centroid over l of sum((d slot / d x[l])^2), where the slot's cells are summed with random
    signs, so that no two of them cancel on average (Hutchinson 1990). One backward per slot.

    Args:
        net: any network; it is left as it was found.
        x: (1, C, T, H, W), (1, C, H, W) or (1, C, T).
        layer: like `layout`, `grid`, `tokens` and `axes` as in `measure_axes`.

    Returns:
        Per axis one index per slot; NaN where a slot does not depend on the input.
    """
    if x.ndim < 3 or len(x) != 1:
        raise OptionError(f"effective centers need an input of batch size 1, not of shape {tuple(x.shape)}")
    pairs = _axes(x.ndim - 2, layout, axes)
    with _running_exactly(net), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        cells = _read_layer(net, layer, leaf, layout=layout, grid=grid, tokens=tokens)
        signs = torch.randint(0, 2, cells.shape, generator=torch.Generator().manual_seed(0)).mul(2).sub(1)
        signed = cells * signs.to(cells)
        return tuple(_centroids(signed.movedim(there + 2, 0), leaf, here + 2) for here, there in pairs)


@contextmanager
def _running_exactly(net: nn.Module) -> Iterator[None]:
    """Leave the network as it is, and keep to kernels in which a NaN stays in its own receptive field.

    Winograd's and Fourier's convolutions, which cuDNN and NNPACK may choose, work on tiles, so that a NaN spreads to
    its neighbors. cuDNN's recurrent kernels have no backward in eval mode.
    """
    tiling = without_cudnn if any(parameter.is_cuda for parameter in net.parameters()) else without_nnpack
    with torch.inference_mode(False), untouched(net), tiling, torch.no_grad():
        yield


class _Reached(BaseException):
    """Ends the forward at the layer; not an Exception, so that no network catches it."""


def _read_layer(
    net: nn.Module, layer: str, x: Tensor, *, layout: str, grid: Sequence[int] | None, tokens: TokenOrder | None
) -> Tensor:
    """Run the network as far as the layer and read its output as (1, C, *S)."""
    calls: list[Tensor] = []
    grids: list[Sequence[int]] = [] if grid is None else [grid]

    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        outputs = outputs_of(layer, output)
        tensor = outputs[choose_output(layer, outputs, batch=1)]
        calls.append(tensor)
        grids.extend(token_grid(layer, output).values())
        # A layer that sees one frame, or one part of the clip, at a time is called again for the next.
        if not layout.startswith(FOLDED) or len(tensor) > 1:
            raise _Reached

    with kept(net), on_output(find_layer(net, layer), hook), suppress(_Reached):
        net(x)
    if not calls:
        raise LayerError(not_used(net, layer))
    cells = torch.cat(calls)
    if tokens is not None:
        if cells.shape[1] != tokens.count:
            raise ValueError("another size has other tokens")
        cells = cells[:, tokens.order]
    return read_grid(cells, layout, batch=1, grid=grids[-1] if grids else None)


def _axes(ndim: int, layout: str, wanted: str) -> list[tuple[int, int]]:
    """List where each wanted axis of the layer stands: among the input's `ndim` axes, and among the layer's."""
    here, there = {1: "t", 2: "hw", 3: "thw"}.get(ndim, ""), grid_axes(layout).split()
    if not there or not set(there) <= set(here):
        raise OptionError(
            f"a layer of layout {layout!r} does not fit an input with the axes {' '.join(here) or 'none'}"
        )
    return [(here.index(axis), i) for i, axis in enumerate(there) if axis in wanted]


@dataclass(frozen=True)
class _Probe:
    """One axis of one layer of one network, seen through inputs in which some samples are NaN."""

    run: Callable[[Tensor], Tensor]  # input -> (1, C, *S)
    like: Tensor  # device and dtype of the input
    channels: int
    input_axis: int
    layer_axis: int

    def reached(self, sizes: Sizes, samples: slice) -> NDArray[np.bool_]:
        """Tell which slots depend on any of the samples (slots,)."""
        return self._cells(sizes, samples).any(dim=1).cpu().numpy()

    def _cells(self, sizes: Sizes, samples: slice) -> Tensor:
        """Tell which cells of each slot depend on any of the samples (slots, cells)."""
        noise = torch.randn(1, self.channels, *sizes, generator=torch.Generator().manual_seed(0))
        noise.movedim(self.input_axis + 2, 0)[samples] = torch.nan
        cells = self.run(noise.to(self.like)).movedim(self.layer_axis + 2, 0)
        return cells.isnan().any(dim=2).flatten(1)

    def measure(self, sizes: Sizes) -> Axis:
        """Lengthen the axis until three slots in the middle are clear of both ends; else let every slot see all."""
        sizes = self._smallest(sizes)
        usual, (start, stop, slots) = sizes[self.input_axis], self._clear(sizes)
        length, bins = usual, usual / slots
        while True:
            axis = self._regular(sizes, start, stop, slots) if stop - start >= 3 else None
            if axis is not None:
                return axis
            length = _longer(length, start, stop, slots)
            if length > LONGEST or stop - start >= ENOUGH:
                break
            sizes = _with(sizes, self.input_axis, length)
            try:
                start, stop, slots = self._clear(sizes)
            except UNFIT as error:
                if of_device(error):
                    raise
                break
        return Axis(bins, (bins - 1) / 2, math.inf)

    def _smallest(self, sizes: Sizes) -> Sizes:
        """Make the other axes as small as the layer takes: first together, then one by one."""
        others = [i for i in range(len(sizes)) if i != self.input_axis]
        size = 1
        while size < max((sizes[i] for i in others), default=0):
            small = _with(tuple(min(n, size) for n in sizes), self.input_axis, sizes[self.input_axis])
            if self._fits(small):
                sizes = small
                break
            size *= 2
        for axis in others:
            while sizes[axis] > 1 and self._fits(half := _with(sizes, axis, sizes[axis] // 2)):
                sizes = half
        return sizes

    def _fits(self, sizes: Sizes) -> bool:
        """Tell whether the layer takes the input and reads it: cells must not look past it, at padding alone."""
        try:
            cells = self._cells(sizes, slice(None))
        except UNFIT as error:
            if of_device(error):
                raise
            return False
        return 2 * int(cells.sum()) > cells.numel()

    def _clear(self, sizes: Sizes) -> tuple[int, int, int]:
        """Return the first slot behind those that see the left margin, the first that sees the right, and all slots.

        Margins are wider than one sample, because a dilated kernel may step over the outermost one.
        """
        margin = _margin(sizes[self.input_axis])
        left = self.reached(sizes, slice(0, margin))
        if left.all():
            return len(left), 0, len(left)
        right = self.reached(sizes, slice(-margin, None))
        start, stop = np.flatnonzero(left), np.flatnonzero(right)
        return int(start[-1]) + 1 if len(start) else 0, int(stop[0]) if len(stop) else len(left), len(left)

    def _regular(self, sizes: Sizes, start: int, stop: int, slots: int) -> Axis | None:
        """Measure three neighboring slots in the middle; None unless they are evenly spaced and equally wide."""
        length, middle = sizes[self.input_axis], (start + stop) // 2
        step, margin = round(length / slots), _margin(length)  # as hints; they save forwards and may be wrong
        low, high = margin + (middle - start) * step, length - margin - (stop - 1 - middle) * step
        seen = cache(lambda sample: self.reached(sizes, slice(0, sample + 1)))
        past = cache(lambda sample: ~self.reached(sizes, slice(sample, None)))
        first = _edges(seen, middle, length, step=step, hint=(low, low + step))
        end = _edges(past, middle, length, step=step, hint=(high - step, high))
        stride, extent = first[1] - first[0], end[1] - first[1]
        if stride < 1 or extent < 1 or {*np.diff(first), *np.diff(end)} != {stride}:
            return None
        return Axis(stride, (first[1] + end[1] - 1) / 2 - stride * middle, extent)


def _margin(length: int) -> int:
    return min(math.ceil(length / 8), 16)


def _longer(length: int, start: int, stop: int, slots: int) -> int:
    """Choose the next length: just enough if it can be told how many clear slots are missing, else twice as long."""
    missing = 3 - (stop - start)
    if missing < 1 or start == slots or stop == 0:
        return 2 * length
    return min(2 * length, length + math.ceil(missing * length / slots))


def _edges(reach: Reach, slot: int, length: int, *, step: int, hint: tuple[int, int]) -> list[int]:
    """Find the first sample from which on `reach` holds, for a slot and its two neighbors."""
    edge = _edge(reach, slot, length, hint)
    return [_edge(reach, slot + i, length, (edge + i * step,) * 2) if i else edge for i in (-1, 0, 1)]


def _edge(reach: Reach, slot: int, length: int, hint: tuple[int, int]) -> int:
    """Find the first sample from which on `reach` holds for a slot; within the hint if that proves to hold it."""
    low, high = max(hint[0], 0), min(hint[1], length)
    if low > high or (low > 0 and reach(low - 1)[slot]) or (high < length and not reach(high)[slot]):
        low, high = 0, length
    return bisect_left(range(length), True, low, high, key=lambda sample: bool(reach(sample)[slot]))


def _with(sizes: Sizes, axis: int, length: int) -> Sizes:
    return (*sizes[:axis], length, *sizes[axis + 1 :])


def _centroids(slots: Tensor, leaf: Tensor, axis: int) -> Floats:
    """Find the centroid of each slot's gradient energy along one axis of the input (slots,)."""
    position = np.arange(leaf.shape[axis], dtype=float)
    centers = []
    for slot in slots:
        (gradient,) = torch.autograd.grad(slot.sum(), leaf, retain_graph=True)
        energy = gradient.double().square().movedim(axis, 0).flatten(1).sum(1).cpu().numpy()
        centers.append(energy @ position / energy.sum() if energy.sum() > 0 else math.nan)
    return np.array(centers)
