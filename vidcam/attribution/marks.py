"""Marks: parts of a network's input are made to stand out, and what a module is given or gives shows where they went.

Marked with NaN, all that comes from them is NaN, whatever the weights are. Where a network spreads NaN over the whole
clip, or hides it, noise is marked with other noise: what comes from it changes most.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import combinations, count, islice
from math import comb
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import eagerly
from vidcam.attribution.chance import chance_kept
from vidcam.attribution.checkpointing import without_checkpoints
from vidcam.attribution.containers import first_tensor, map_tensors
from vidcam.attribution.layers import call, choose_output, on_output, outputs_of
from vidcam.attribution.state import kept
from vidcam.attribution.untouched import untouched

Watch = Callable[[nn.Module, Tensor], None]
"""Is shown a module and the tensor that it is given, or gives."""
ROUNDING = 1e-5
"""A change that is smaller, of the largest one, is none."""
Ink = Literal["nan", "turned", "lit"]
"""What marks put in place: NaN; or, in noise instead of the input, frames turned around, or in another light."""


class Stop(BaseException):
    """Ends a forward; not an Exception, so that no network catches it."""


@contextmanager
def looking(net: nn.Module) -> Iterator[None]:
    """Run a network to look at it: without gradients, eagerly, and leaving it as it was found."""
    with torch.inference_mode(False), untouched(net), torch.no_grad(), without_checkpoints, eagerly():
        yield


class Marker:
    """A network's input, parts of which are marked; to be used within `looking`."""

    def __init__(self, net: nn.Module, x: Any, layout: str, *, ink: Ink = "nan", layer: str | None = None) -> None:
        self.layer = layer
        self.net, self.x, self.axes, self.finite = net, x, layout.split(), ink != "nan"
        clips = [part for part in _tensors(x) if part.ndim == len(self.axes) and part.is_floating_point()]
        self.batch = len(clips[0])
        self._clips = [part for part in clips if len(part) == self.batch]
        shapes = [self._cells(part).shape for part in self._clips]
        self.sizes = {axis: max(shape[i] for shape in shapes) for i, axis in enumerate("thw", 1)}
        self._bases: dict[nn.Module, Tensor] = {}
        self._calls: dict[nn.Module, int] = {}
        marked = self._clips if self.finite else []
        self._inks = {id(part): _noise(self._cells(part), lit=ink == "lit") for part in marked}

    def outputs(
        self, marks: Tensor | None, module: nn.Module, calls: int | None = 1, *, before: bool = False
    ) -> Tensor:
        """Return what a module's calls give, or are given, one after the other.

        Args:
            marks: (B, T, H, W) which samples, frames, rows and columns are marked, or axes of 1; None marks nothing.
            module: whose calls are looked at.
            calls: after how many the forward may end; None looks at all, of which there are as many in every forward.
            before: whether to look at what they are given.
        """
        seen: list[Tensor] = []

        def look(_module: nn.Module, tensor: Tensor) -> None:
            seen.append(tensor.detach().clone())
            if len(seen) == (calls or self._calls.get(module)):
                raise Stop

        self.run(marks, {module: look}, before=before)
        self._calls[module] = len(seen)
        return torch.cat(seen)

    def changes(
        self, marks: Iterable[Tensor], module: nn.Module, calls: int | None = 1, *, kept: int = 1, before: bool = False
    ) -> Tensor:
        """(runs, ...) how much each row of what a module gives changes by each of several marks; NaN counts as one.

        Rows are its first `kept` axes; the rest is as in `outputs`.
        """
        if self.finite and module not in self._bases:
            self._bases[module] = self.outputs(None, module, calls, before=before)
        base = self._bases.get(module)
        seen = (self.outputs(own, module, calls, before=before) for own in marks)
        return torch.stack([_change(own, base, kept).cpu() for own in seen])

    def run(self, marks: Tensor | None, modules: Mapping[nn.Module, Watch], *, before: bool) -> None:
        """Run the network on its input with marks, and show what the modules give, or are given."""

        def show(module: nn.Module, value: Any) -> None:
            if (tensor := first_tensor(value) if before else self._given(value)) is not None:
                modules[module](module, tensor)

        with ExitStack() as hooks, suppress(Stop):
            hooks.enter_context(chance_kept({part.device for part in self._clips}))
            hooks.enter_context(kept(self.net))
            for module in modules:
                if before:
                    hook = module.register_forward_pre_hook(
                        lambda module, args, kwargs: show(module, [*args, *kwargs.values()]), with_kwargs=True
                    )
                else:
                    hook = on_output(module, lambda module, _args, output: show(module, output))
                hooks.enter_context(hook)
            call(self.net, map_tensors(self.x, lambda part: self._marked(part, marks)))

    def _given(self, output: Any) -> Tensor | None:
        """Return the tensor that a layer's name means of what it returns; without a layer the first."""
        if self.layer is None:
            return first_tensor(output)
        outputs = outputs_of(self.layer, output)
        return outputs[choose_output(self.layer, outputs, self.batch)]

    def _marked(self, part: Tensor, marks: Tensor | None) -> Tensor:
        marked = part.detach().clone()
        if not any(part is clip for clip in self._clips):
            return marked
        cells = self._cells(marked)
        base, other = self._inks.get(id(part), (cells, torch.nan))
        cells.copy_(base)
        if marks is not None:
            _, t, h, w, _ = cells.shape  # of several inputs one may be shorter
            chosen = marks[:, :t, :h, :w, None].to(part.device)
            cells.copy_(torch.where(chosen, other, cells))
        return marked

    def _cells(self, part: Tensor) -> Tensor:
        """View a clip as (B, T, H, W, C)."""
        cells = part.permute([self.axes.index(axis) for axis in "bthwc" if axis in self.axes])
        return cells if "t" in self.axes else cells.unsqueeze(1)


def _change(tensor: Tensor, base: Tensor | None, kept: int) -> Tensor:
    rows = tensor.reshape(*tensor.shape[:kept], -1)
    if base is None:
        return rows.isnan().any(-1).double()
    return (rows.double() - base.reshape(rows.shape).double()).nan_to_num().square().sum(-1).sqrt()


def is_change(changes: Tensor) -> Tensor:
    """Whether rows change at all, by more than rounding."""
    return changes > ROUNDING * changes.max()


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(value, lambda part: found.append(part) or part)  # type: ignore[func-returns-value]
    return found


def _noise(cells: Tensor, *, lit: bool) -> tuple[Tensor, Tensor]:
    """Return noise in the range of what the network was given, and what marks put in its place: frames turned around,
    which changes no mean and no variance, or if `lit`, frames brighter or darker, which no mean hides."""
    known = cells[cells.isfinite()]
    low, high = (float(known.min()), float(known.max())) if known.numel() else (0.0, 1.0)
    span, chance = (high - low) or 1.0, torch.Generator().manual_seed(1)
    noise = 0.2 + 0.6 * torch.rand(cells.shape, generator=chance)
    light = 0.4 * torch.randint(0, 2, (*cells.shape[:2], 1, 1, 1), generator=chance) - 0.2
    other = noise + light if lit else noise.flip(2, 3)
    return (low + span * noise).to(cells), (low + span * other).to(cells)


@cache
def words(how_many: int) -> Tensor:
    """Choose for each number half of a few runs, so that no choice holds another one: (runs, numbers)."""
    runs = next(n for n in count(1) if comb(n, (n + 1) // 2) >= how_many)
    chosen = torch.zeros(runs, how_many, dtype=torch.bool)
    for number, word in enumerate(islice(combinations(range(runs), (runs + 1) // 2), how_many)):
        chosen[list(word), number] = True
    return chosen


def named(reached: Tensor, how_many: int) -> list[int | None]:
    """(runs, rows) whether the runs of `words` reach a row -> the number that it holds; None where that are several.

    A row that no run reaches holds -1.
    """
    known = {tuple(word): number for number, word in enumerate(words(how_many).T.tolist())}
    known[(False,) * len(reached)] = -1
    return [known.get(tuple(own)) for own in reached.T.tolist()]
