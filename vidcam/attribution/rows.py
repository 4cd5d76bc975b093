"""Rows: which sample and which frames each row of a layer's output holds, where a shape cannot tell.

Networks go through frames in many ways: folded into the batch, in a loop, in chunks, sample by sample, backwards. Which
way it is, is measured: frames made NaN turn the rows that hold them into NaN, whatever the weights are. Every frame is
made NaN in half of a few runs, in others than any other frame: a row that holds one frame alone names it by them, and
one that holds several is NaN too often.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, count, islice, pairwise
from math import comb, inf
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import capture
from vidcam.attribution.containers import map_tensors
from vidcam.attribution.failures import NetworkError
from vidcam.attribution.geometry import Axis
from vidcam.errors import LayerError


class Held(NamedTuple):
    """What a row holds: frames of one sample, all between two of them."""

    sample: int
    first: int
    last: int


@dataclass(frozen=True)
class RowOrder:
    """The rows of a layer's output, of all its calls one after the other."""

    order: list[int]
    """The rows sample by sample, and within a sample by time."""
    axis: Axis
    """Where a sample's rows lie among its frames."""


def find_rows(net: nn.Module, x: Any, layer: str, layout: str) -> RowOrder:
    """Find which sample and which frames each row of a layer's output holds.

    Args:
        net: any network; it is left as it was found. It runs without gradients, some log2(B T) + 3 times where rows
            hold single frames, else once more per frame.
        x: its input; of several tensors all that have time are looked at together.
        layer: the layer's name.
        layout: of the input, as "b t c h w".

    Raises:
        LayerError: a row mixes samples or holds no frame, or two rows hold the same frames: no order is right.
    """
    marker = _Marker(net, x, layer, layout)
    try:
        with attributes_kept(net):
            held = marker.single_frames() or marker.several_frames()
    except NetworkError as error:
        why = str(error).partition(" fails: ")[2]
        raise LayerError(
            f"which frames the rows of layer {layer!r} hold cannot be measured, as the network fails where frames are "
            f"NaN ({why}); say layout=, or choose another layer"
        ) from error
    if len({*Counter(own.sample for own in held).values()}) > 1:
        raise LayerError(f"layer {layer!r} has more rows of one sample than of another; choose another layer")
    places: dict[Held, int] = {}
    for row, own in enumerate(held):
        if (other := places.setdefault(own, row)) != row:
            frames = f"frame {own.first}" if own.first == own.last else f"frames {own.first} to {own.last}"
            raise LayerError(
                f"layer {layer!r} sees the same frames more than once: rows {other} and {row} of its output both hold "
                f"{frames} of sample {own.sample}, and either could be meant; choose another layer"
            )
    spans = [own[1:] for own in sorted(held) if own.sample == 0]
    return RowOrder(sorted(range(len(held)), key=held.__getitem__), _axis(spans, marker.frames))


@contextmanager
def attributes_kept(net: nn.Module) -> Iterator[None]:
    """Put back what modules keep of a forward in plain attributes, which a probe would leave NaN."""
    before = [(module, dict(vars(module))) for module in net.modules()]
    copies = [(v, v.clone()) for _, kept in before for v in kept.values() if isinstance(v, Tensor)]
    try:
        yield
    finally:
        for module, kept in before:
            for name in vars(module).keys() - kept.keys():
                delattr(module, name)
            vars(module).update(kept)
        with torch.no_grad():
            for tensor, copy in copies:
                tensor.copy_(copy)


class _Marker:
    """A layer's rows, seen through inputs in which some frames are NaN."""

    def __init__(self, net: nn.Module, x: Any, layer: str, layout: str) -> None:
        self.net, self.x, self.layer, self.axes = net, x, layer, layout.split()
        parts: list[Tensor] = []
        map_tensors(x, lambda part: parts.append(part) or part)  # type: ignore[func-returns-value]
        timed = [part for part in parts if part.ndim == len(self.axes)]
        self.batch = len(timed[0])
        self.frames = max(part.shape[self.axes.index("t")] for part in timed) if "t" in self.axes else 1

    def reached(self, marks: Tensor) -> Tensor:
        """(B, T) frames that are made NaN -> (rows,) whether a row holds any of them."""
        marked = map_tensors(self.x, lambda part: self._marked(part, marks))
        rows = capture(self.net, marked, layers=[self.layer], gradients=False).activations[self.layer]
        return rows.flatten(1).isnan().any(dim=1).cpu()

    def _marked(self, part: Tensor, marks: Tensor) -> Tensor:
        axes = self.axes
        if part.ndim != len(axes) or len(part) != self.batch or not part.is_floating_point():
            return part
        marked = part.clone()
        frames = marked.movedim(axes.index("t"), 1) if "t" in axes else marked.unsqueeze(1)
        frames[marks[:, : frames.shape[1]].to(part.device)] = torch.nan
        return marked

    def single_frames(self) -> list[Held] | None:
        """Return what each row holds if that is a single frame, or else None."""
        numbers = self._named(torch.arange(self.batch * self.frames).reshape(self.batch, self.frames))
        if None in numbers:
            return None
        return [Held(*divmod(number, self.frames), number % self.frames) for number in numbers if number is not None]

    def several_frames(self) -> list[Held]:
        """Return what each row holds: its sample, the first and the last of its frames."""
        samples = self._named(torch.arange(self.batch)[:, None].expand(-1, self.frames))
        every = torch.eye(self.frames, dtype=torch.bool)[:, None].expand(-1, self.batch, -1)
        frames = torch.stack([self.reached(marks) for marks in every])
        if None in samples or not frames.any(dim=0).all():
            raise LayerError(
                f"layer {self.layer!r} is used several times, or with time in its batch, and the rows of its output "
                "mix samples or hold no frame: which frames they tell of cannot be known; choose another layer"
            )
        spans = [own.nonzero()[:, 0] for own in frames.T]
        return [
            Held(sample, int(own[0]), int(own[-1]))
            for sample, own in zip(samples, spans, strict=True)
            if sample is not None
        ]

    def _named(self, numbers: Tensor) -> list[int | None]:
        """Return for each row the one of the numbers (B, T) that its frames have, or None where they have several."""
        names = words(int(numbers.max()) + 1)
        runs = range(max(map(max, names)) + 1)
        coded = torch.tensor([[run in name for run in runs] for name in names])
        reached = torch.stack([self.reached(coded[:, run][numbers]) for run in runs])
        known = {name: number for number, name in enumerate(names)}
        return [known.get(tuple(own.nonzero()[:, 0].tolist())) for own in reached.T]


def words(how_many: int) -> list[tuple[int, ...]]:
    """Choose for each number half of a few runs, so that no choice holds another one."""
    runs = next(n for n in count(1) if comb(n, (n + 1) // 2) >= how_many)
    return list(islice(combinations(range(runs), (runs + 1) // 2), how_many))


def _axis(spans: Sequence[Sequence[int]], frames: int) -> Axis:
    """Tell where rows lie that hold frames from one number to another; irregular ones see all, at equal bins."""
    steps = {tuple(end - start for start, end in zip(one, other, strict=True)) for one, other in pairwise(spans)}
    (first, last), bins = spans[0], frames / len(spans)
    if len(steps) == 1 and len(set(step := next(iter(steps)))) == 1 and step[0] > 0:
        return Axis(step[0], (first + last) / 2, last - first + 1)
    return Axis(bins, (bins - 1) / 2, inf)
