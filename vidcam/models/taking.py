"""Taking: what a network takes, found by running it on noise of the shapes that it may take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import eagerly
from vidcam.attribution.failures import of_device, said
from vidcam.attribution.layers import Listed, call
from vidcam.attribution.untouched import untouched
from vidcam.data.preprocessing import CHANNELS, Preprocessing, Size
from vidcam.errors import ModelError, OptionError, VidcamError
from vidcam.models.hints import Hints
from vidcam.models.inputs import INPUT_LAYOUTS, Input, arranged

FRAMES = (16, 8, 32, 4, 64, 1)
"""Frames that are tried where nobody says how many a network takes."""
SIZES = ((224, 224), (112, 112), (64, 64), (256, 256), (384, 384))
PATHWAYS = (4, 8, 2)
"""How many times fewer frames the slow one of two pathways takes."""
PREPARED = "preprocessing=vidcam.Preprocessing((H, W)) or processor="


@dataclass(frozen=True)
class Taken:
    """What a network took without an error."""

    layout: str
    frames: int
    size: Size
    x: Any
    """Noise that it took: a tensor, or several by name."""
    every: Mapping[str, int]
    """Of several inputs: which takes every so-manieth frame."""

    @property
    def shapes(self) -> str:
        """The shapes of what it took."""
        return shown(self.x)


def shown(x: Any) -> str:
    """Return the shapes of inputs for a message."""
    if isinstance(x, Mapping):
        return ", ".join(f"{name} {tuple(part.shape)}" for name, part in x.items())
    return str(tuple(x.shape))


def find_taken(net: nn.Module, hints: Hints, slots: Mapping[str, Any], example: Any = None) -> Taken:
    """Run a network on noise until it is known what it takes.

    Args:
        net: it is left as it was found.
        hints: what it says of itself.
        slots: of the model, that are told.
        example: an input that it takes, or several by name.

    Raises:
        ModelError: it takes nothing that was tried, or several things.
        OptionError: an example that is none.
    """
    trial = _Trial(net, hints, slots)
    tried, ran, why = 0, list[Taken](), "no layout fits"
    for taken in trial.of_example(example) if example is not None else trial.of_hints():
        tried += 1
        if (failure := _failure(net, taken.x)) is not None:
            why = f"on {taken.shapes} with {failure}" if tried == 1 else why
            continue
        ran.append(taken)
        if len(ran) == 2:
            raise ModelError(trial.ambiguous(*ran))
    if not ran:
        raise ModelError(
            f"the network fails on each of {tried} inputs that were tried, first {why}; say example=, what it takes, "
            f"or input_layout=, frames= and {PREPARED}"
        )
    return ran[0]


class _Trial:
    """The inputs that a network may take."""

    def __init__(self, net: nn.Module, hints: Hints, slots: Mapping[str, Any]) -> None:
        self.hints, self.slots = hints, slots
        parameters = (p for p in net.parameters() if p.is_floating_point())
        self.like = next(parameters, torch.zeros(()))

    @property
    def layouts(self) -> Sequence[str]:
        return [self.slots["input_layout"]] if "input_layout" in self.slots else INPUT_LAYOUTS

    @property
    def frames(self) -> Sequence[int]:
        if "frames" in self.slots:
            return [self.slots["frames"]]
        return FRAMES if self.hints.frames is None else [self.hints.frames.value]

    @property
    def sizes(self) -> Sequence[Size]:
        inputs: Mapping[str, Input] = self.slots.get("inputs") or {}
        how = next((given.preprocessing for given in inputs.values()), self.slots.get("preprocessing"))
        if how is None:
            return SIZES if self.hints.size is None else [self.hints.size.value]
        if not isinstance(how.size, tuple):
            raise OptionError("what preprocessing makes has no size of its own: give it crop=(H, W) or resize=(H, W)")
        return [how.size]

    @property
    def channels(self) -> int:
        """How many channels a frame has for the network."""
        hint = self.hints.preprocessing
        how = self.slots.get("preprocessing") or (None if hint is None else hint.value)
        return int(self.hints.channels.value) if how is None else len(CHANNELS[how.channels])

    def of_hints(self) -> Iterator[Taken]:
        """Yield inputs of the layouts, frames and sizes that are known, or else of usual ones."""
        inputs: Mapping[str, Input] = self.slots.get("inputs") or {}
        kind: type[dict[str, Any]] = Listed if self.slots.get("as_list") else dict
        for layout, frames, size in self._shapes():
            if inputs:
                yield self._several(layout, frames, size, inputs, kind)
            else:
                yield self._one(layout, frames, size)
        if not inputs:
            yield from self._pathways()

    def _shapes(self) -> Iterator[tuple[str, int, Size]]:
        for size in self.sizes:
            for layout in self.layouts:
                for number in [1] if layout == "b c h w" else self.frames:
                    yield layout, number, size

    def _pathways(self) -> Iterator[Taken]:
        """Yield a slow and a fast pathway as a list, for networks that take nothing else."""
        for every in PATHWAYS:
            for layout, frames, size in self._shapes():
                if layout == "b c t h w" and frames % every == 0 and frames > every:
                    yield self._several(layout, frames, size, {"slow": Input(every=every), "fast": Input()}, Listed)

    def _one(self, layout: str, frames: int, size: Size) -> Taken:
        clip = self._noise((1, self.channels, frames, *size))
        return Taken(layout, frames, size, arranged(clip, layout), {})

    def _several(
        self, layout: str, frames: int, size: Size, inputs: Mapping[str, Input], kind: type[dict[str, Any]] = dict
    ) -> Taken:
        clip = [torch.rand(self.channels, *size, generator=torch.Generator().manual_seed(i)) for i in range(frames)]
        parts = {name: given.clip(clip).transpose(0, 1)[None] for name, given in inputs.items()}
        x = kind({name: arranged(part, layout).to(self.like) for name, part in parts.items()})
        return Taken(layout, frames, size, x, {name: given.every for name, given in inputs.items()})

    def of_example(self, example: Any) -> Iterator[Taken]:
        """Yield noise of an example's shape, in each layout that it may have."""
        parts = example if isinstance(example, Mapping) else {"": example}
        for part in parts.values():
            if not isinstance(part, Tensor) or part.ndim not in (4, 5):
                given = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
                raise OptionError(
                    "example must be a tensor (B, C, T, H, W), (B, T, C, H, W) or (B, C, H, W), or several by name; "
                    f"given {given}"
                )
        for layout in self.layouts:
            sizes = [dict(zip(layout.split(), part.shape, strict=False)) for part in parts.values()]
            if all(len(own) == part.ndim for own, part in zip(sizes, parts.values(), strict=True)) and all(
                self._may_be(own["c"], single=len(parts) == 1) for own in sizes
            ):
                yield self._like_example(layout, example, sizes)

    def _may_be(self, channels: int, *, single: bool) -> bool:
        return channels == self.channels if single else channels in (1, 2, 3)

    def _like_example(self, layout: str, example: Any, sizes: Sequence[Mapping[str, int]]) -> Taken:
        frames = [own.get("t", 1) for own in sizes]
        size = (sizes[0]["h"], sizes[0]["w"])
        if isinstance(example, Tensor):
            return Taken(layout, frames[0], size, self._noise((1, *example.shape[1:])), {})
        whole = lcm(*frames) if max(frames) % min(frames) == 0 else max(frames)
        kind = type(example) if isinstance(example, Listed) else dict
        x = kind({name: self._noise((1, *part.shape[1:])) for name, part in example.items()})
        return Taken(layout, whole, size, x, {n: whole // own for n, own in zip(example, frames, strict=True)})

    def _noise(self, shape: Sequence[int]) -> Tensor:
        """Return noise in 0..1 of the network's device and precision."""
        return torch.rand(*shape, generator=torch.Generator().manual_seed(0)).to(self.like)

    def ambiguous(self, one: Taken, other: Taken) -> str:
        """Say what settles which of two inputs is meant."""
        if one.layout != other.layout:
            settle = [f"input_layout={one.layout!r} or {other.layout!r}"]
        else:
            settle = ["frames="] if len(self.frames) > 1 and one.layout != "b c h w" else []
            settle += [PREPARED] if len(self.sizes) > 1 else []
        return (
            f"the network takes inputs of several shapes, as {one.shapes} and {other.shapes}, and does not tell which "
            f"it was trained on; say {' and '.join(settle)}; or example=, a tensor of that shape"
        )


def _failure(net: nn.Module, x: Any) -> str | None:
    """Run the network; return what it fails with, in a line."""
    try:
        with untouched(net), torch.no_grad(), eagerly():
            call(net, x)
    except VidcamError:
        raise
    except Exception as error:
        if of_device(error):
            raise
        return said(error)[:120]
    return None


def whole_frames(size: Size, channels: int) -> Preprocessing:
    """Return what is assumed of a network of which only the size is known: the whole frame, in 0..1."""
    return Preprocessing(size, channels="gray" if channels == 1 else "rgb", antialias=True)
