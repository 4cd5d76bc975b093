"""Rows: which sample and which frames each row of a layer's output holds, where a shape cannot tell.

Networks go through frames in many ways: folded into the batch, in a loop, in chunks, sample by sample, backwards. Which
way it is, is measured by marks. Every frame is marked in half of a few runs, in others than any other frame: a row that
holds one frame alone names it by them, and one that holds several is reached too often.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from vidcam.attribution.failures import of_device
from vidcam.attribution.geometry import Axis
from vidcam.attribution.layers import find_layer
from vidcam.attribution.marks import Ink, Marker, is_change, looking, named, words
from vidcam.errors import LayerError

FEW = 4
"""Of how many frames one stands out by chance."""
FADING = -0.85
"""Correlation of how much rows change with how far frames are, from which on it is no chance."""


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
    spans: list[tuple[int, int]]
    """The first and the last frame of each of a sample's rows."""

    def slots(self, layer: str, in_row: int) -> Axis:
        """Return where slots lie among a sample's frames if each row holds so many of them, at equal bins.

        Raises:
            LayerError: two rows hold the same frames, or frames between two rows are held by none.
        """
        first, last = self.spans[0]
        for (_, end), (after, _) in pairwise(self.spans):
            if after != end + 1 or self.axis.stride != last - first + 1:
                shown = " and ".join(f"frames {a} to {b}" for a, b in self.spans[:2])
                raise LayerError(
                    f"layer {layer!r} is used for parts of a clip that overlap, leave frames out or are not equally "
                    f"long: its first rows hold {shown}; choose another layer"
                )
        step = (last - first + 1) / in_row
        return Axis(step, first + (step - 1) / 2, last - first + 1)


def find_rows(net: nn.Module, x: Any, layer: str, layout: str) -> RowOrder:
    """Find which sample and which frames each row of a layer's output holds.

    Frames are made NaN; in a network that fails at that, hides it or spreads it over the clip, they are changed, and
    rows hold those frames by which they change some times more than by others.

    Args:
        net: any network; it is left as it was found. It runs without gradients, some log2(B T) + 3 times where rows
            hold single frames, else once more per frame.
        x: its input; of several tensors all that have time are looked at together.
        layer: the layer's name.
        layout: of the input, as "b t c h w".

    Raises:
        LayerError: a row mixes samples or holds no frame, or two rows hold the same frames: no order is right.
    """
    refused: LayerError | None = None
    with looking(net):
        for ink in get_args(Ink):
            try:
                return _Rows(net, x, layer, layout, ink).order()
            except LayerError as error:
                refused = refused or error
            except Exception as error:
                if of_device(error):
                    raise
                why = str(error).partition("\n")[0] or type(error).__name__
                refused = refused or LayerError(
                    f"which frames the rows of layer {layer!r} hold cannot be measured: the network fails where frames "
                    f"are NaN ({why}), and where they change instead, rows do not tell; say layout=, or choose another "
                    "layer"
                )
    assert refused is not None
    raise refused


def _frames(own: Held) -> str:
    return f"frame {own.first}" if own.first == own.last else f"frames {own.first} to {own.last}"


def _first_and_last(reached: Tensor, looked: Tensor) -> list[tuple[int, int] | None]:
    """(frames, rows) -> the first and the last of the frames that reach each row."""
    held = (looked[own] for own in reached.T)
    return [(int(own[0]), int(own[-1])) if len(own) else None for own in held]


def _fades(changes: Tensor, largest: Tensor) -> bool:
    """Whether rows change most by frames that are all different, and the less by others, the farther these are.

    Args:
        changes: (frames, rows).
        largest: (rows,) the frame by which each row changes most.
    """
    frames = len(changes)
    if len({*torch.bincount(largest, minlength=frames).tolist()}) > 1:
        return False
    distance = (torch.arange(frames)[:, None] - largest).abs().double()
    ranks = changes.argsort(dim=0).argsort(dim=0).double()
    pairs = zip(distance.T, ranks.T, strict=True)
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs]).mean()) < FADING


class _Rows:
    """A layer's rows, seen through inputs in which some frames are marked."""

    def __init__(self, net: nn.Module, x: Any, layer: str, layout: str, ink: Ink) -> None:
        self.marker, self.module = Marker(net, x, layout, ink=ink, layer=layer), find_layer(net, layer)
        self.layer, self.batch, self.frames = layer, self.marker.batch, self.marker.sizes["t"]

    def order(self) -> RowOrder:
        """Return the rows in order; a LayerError if there is none, or several are right."""
        held = self._held()
        if len({*Counter(own.sample for own in held).values()}) > 1:
            raise LayerError(f"layer {self.layer!r} has more rows of one sample than of another; choose another layer")
        places: dict[Held, int] = {}
        for row, own in enumerate(held):
            if (other := places.setdefault(own, row)) != row:
                raise LayerError(
                    f"layer {self.layer!r} sees the same frames more than once: rows {other} and {row} of its output "
                    f"both hold {_frames(own)} of sample {own.sample}, and either could be meant; choose another layer"
                )
        spans = [(own.first, own.last) for own in sorted(held) if own.sample == 0]
        return RowOrder(sorted(range(len(held)), key=held.__getitem__), _axis(spans, self.frames), spans)

    def _held(self) -> list[Held]:
        """Return what each row holds."""
        numbers = self._named(torch.arange(self.batch * self.frames).reshape(self.batch, self.frames))
        if None not in numbers:
            each = (divmod(number, self.frames) for number in numbers if number is not None)
            return [Held(sample, frame, frame) for sample, frame in each]
        samples, spans = self._named(torch.arange(self.batch)[:, None].expand(-1, self.frames)), self._spans()
        if None in samples or None in spans:
            raise self._unknown()
        return [Held(sample, *span) for sample, span in zip(samples, spans, strict=True) if sample is not None and span]

    def _spans(self) -> list[tuple[int, int] | None]:
        """Return the first and the last frame that each row holds."""
        each = torch.eye(self.frames, dtype=torch.bool)[:, None].expand(-1, self.batch, -1)
        looked = torch.arange(self.frames)
        if not self.marker.finite and is_change(self._changes(each[[0, -1]])).all():
            looked = looked[[0, -1]]  # all between them as well, whether or not it is held
        changes = self._changes(each[looked])
        spans = _first_and_last(is_change(changes), looked)
        if self.marker.finite and max(Counter(spans).values()) > self.batch:  # spread over more frames than are held
            spans = _first_and_last(self._most(changes), looked)
        return spans

    def _most(self, changes: Tensor) -> Tensor:
        """Tell which frame a row changes by most, if by much more than by all others, or the less the farther away."""
        clear = 2.5 if self.frames > FEW else 30.0  # of few frames one stands out by chance
        ranked = changes.sort(dim=0, descending=True)
        stands_out = self.frames > 1 and bool((ranked.values[0] > clear * ranked.values[1]).all())
        if not stands_out and not (self.frames > FEW and _fades(changes, ranked.indices[0])):
            raise self._unknown()
        return torch.arange(self.frames)[:, None] == ranked.indices[0]

    def _unknown(self) -> LayerError:
        return LayerError(
            f"layer {self.layer!r} is used several times, or with time in its batch, and the rows of its output mix "
            "samples or hold no frame: which frames they tell of cannot be known; choose another layer"
        )

    def _named(self, numbers: Tensor) -> list[int | None]:
        """Return for each row the one of the numbers (B, T) that its frames have, or None where they have several."""
        how_many = int(numbers.max()) + 1
        found = named(is_change(self._changes(words(how_many)[:, numbers])), how_many)
        return [None if number == -1 else number for number in found]

    def _changes(self, marks: Tensor) -> Tensor:
        """(runs, B, T) frames that are marked -> (runs, rows) how much a row changes by them."""
        return self.marker.changes(marks[..., None, None], self.module, None)


def _axis(spans: Sequence[Sequence[int]], frames: int) -> Axis:
    """Tell where rows lie that hold frames from one number to another; irregular ones see all, at equal bins."""
    steps = {tuple(end - start for start, end in zip(one, other, strict=True)) for one, other in pairwise(spans)}
    (first, last), bins = spans[0], frames / len(spans)
    if len(steps) == 1 and len(set(step := next(iter(steps)))) == 1 and step[0] > 0:
        return Axis(step[0], (first + last) / 2, last - first + 1)
    return Axis(bins, (bins - 1) / 2, inf)
