"""wrap(): any network as a Model, after it has run once or a few times: what it takes, says, and where to look."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import eagerly, untouched
from vidcam.attribution.failures import of_device
from vidcam.attribution.layers import call, infer_layout, read_grid
from vidcam.attribution.rows import attributes_kept
from vidcam.attribution.scores import logits
from vidcam.attribution.tokens import TokenOrder, find_tokens
from vidcam.attribution.trunk import Passed, walk
from vidcam.data.preprocessing import CHANNELS, Preprocessing, Size
from vidcam.errors import LayerError, ModelError, OptionError, VidcamError
from vidcam.models.hints import Hints, find_hints
from vidcam.models.inputs import INPUT_LAYOUTS, arranged
from vidcam.models.labels import read_labels
from vidcam.models.model import Model

FRAMES = (16, 8, 32, 4, 64, 1)
"""Frames that are tried where nobody says how many a network takes."""
SIZES = ((224, 224), (112, 112), (64, 64), (256, 256), (384, 384))
POOLINGS = (nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


@dataclass(frozen=True)
class Taken:
    """What a network took without an error."""

    layout: str
    frames: int
    size: Size
    x: Tensor


def wrap(
    net: nn.Module,
    example: Any = None,
    labels: Sequence[str] | str | Path | None = None,
    processor: Any = None,
    *,
    say: Callable[[str], None] | None = None,
    **slots: Any,
) -> Model:
    """Find out what a network takes, says and looks at, and return it as a `Model`.

        model = vidcam.wrap(AutoModelForVideoClassification.from_pretrained(folder), processor=processor)
        model = vidcam.wrap(timm.create_model("resnet50", pretrained=True))
        model = vidcam.wrap(net, example=torch.rand(1, 3, 16, 112, 112), labels="classes.txt")

    What is told is taken: by the arguments, by `example`, by the processor, by the network's own configuration. The
    rest is measured by running the network on noise, and what stays open is refused, with the argument that
    settles it. How each was found stands in the model's `concluded`.

    Args:
        net: any network; it is left as it was found.
        example: an input that it takes: a tensor (B, C, T, H, W), (B, T, C, H, W) or (B, C, H, W); its values do not
            matter, but for its size.
        labels: names of the classes, or a text or JSON file of them.
        processor: how frames are made into its input, see `vidcam.Preprocessing.from_processor`.
        say: is told what was concluded, line by line.
        slots: of `vidcam.Model`, which are not looked for: `layer`, `frames`, `preprocessing`, `output`, ...

    Raises:
        ModelError: it runs on nothing that was tried, or on several things of which any may be meant.
        LayerError: no layer of it reads as a grid that its answer depends on.
        OptionError: its answer is not known among what it returns, or a slot that does not exist.
    """
    finding = _Finding(net, find_hints(net, processor), dict(slots))
    if labels is not None:
        finding.conclude("labels", read_labels(labels) if isinstance(labels, str | Path) else tuple(labels), "given")
    model = finding.model(example)
    for line in model.concluded:
        if say is not None:
            say(line)
    return model


class _Finding:
    """What is found of a network, slot by slot, and how."""

    def __init__(self, net: nn.Module, hints: Hints, slots: dict[str, Any]) -> None:
        self.net, self.hints, self.slots = net, hints, slots
        self.lines: list[str] = []
        self.tokens: dict[int, TokenOrder | None] = {}

    def conclude(self, slot: str, value: Any, how: str, shown: str | None = None) -> None:
        """Take a value for a slot, and note how it was found; what was told stays."""
        if slot not in self.slots:
            self.slots[slot] = value
            self.lines.append(f"{slot} {shown or value}: {how}")

    def model(self, example: Any) -> Model:
        if self.hints.labels is not None:
            self.conclude("labels", self.hints.labels.value, self.hints.labels.where, f"{len(self.hints.labels.value)}")
        fed = self._feed(example)
        self._frames_of(fed)
        if "layer" not in self.slots:
            self._find_layer(fed.x)
        return Model(self.net, **self.slots, concluded=tuple(self.lines))

    # What it takes

    def _feed(self, example: Any) -> Taken:
        """Run the network on noise of the shapes that it may take, until it is known which it takes."""
        tried, ran, last = 0, [], None
        for layout, frames, size in self._candidates(example):
            x = self._noise(layout, frames, size)
            tried += 1
            if (failure := self._failure(x)) is not None:
                last = f"{tuple(x.shape)}: {failure}"
                continue
            ran.append(Taken(layout, frames, size, x))
            if len(ran) == 2:
                break
        if not ran:
            raise ModelError(
                f"the network runs on none of {tried} inputs that were tried, last on {last}; say example=, a tensor "
                "that it takes, or input_layout=, frames= and preprocessing="
            )
        if len(ran) == 2:
            self._refuse(*ran)
        return ran[0]

    def _refuse(self, one: Taken, other: Taken) -> None:
        """Say which of several inputs that fit cannot be told from another."""
        both = f"{tuple(one.x.shape)} and {tuple(other.x.shape)}"
        if one.layout != other.layout:
            settle = [f"input_layout={one.layout!r} or {other.layout!r}"]
        else:
            settle = ["frames="] if len(self._known_frames()) > 1 and one.layout != "b c h w" else []
            settle += (
                ["preprocessing=vidcam.Preprocessing((H, W)) or processor="] if len(self._known_sizes()) > 1 else []
            )
        raise ModelError(
            f"the network takes inputs of several shapes, as {both}, and does not tell which it was trained on; say "
            f"{' and '.join(settle)}; or example=, a tensor of that shape"
        )

    def _candidates(self, example: Any) -> Iterator[tuple[str, int, Size]]:
        """Yield the layouts, frames and sizes that the network may take, those that are known and else usual ones."""
        if example is not None:
            yield from self._of_example(example)
            return
        frames, sizes = self._known_frames(), self._known_sizes()
        layouts = [self.slots["input_layout"]] if "input_layout" in self.slots else INPUT_LAYOUTS
        for size in sizes:
            for layout in layouts:
                if layout == "b c h w":
                    yield layout, 1, size
                    continue
                for number in frames:
                    yield layout, number, size

    def _of_example(self, example: Any) -> Iterator[tuple[str, int, Size]]:
        if not isinstance(example, Tensor) or example.ndim not in (4, 5):
            given = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
            raise OptionError(
                f"example must be a tensor (B, C, T, H, W), (B, T, C, H, W) or (B, C, H, W); given {given}"
            )
        for layout in INPUT_LAYOUTS:
            sizes = dict(zip(layout.split(), example.shape, strict=False))
            if len(layout.split()) == example.ndim and sizes["c"] == self.channels:
                yield layout, sizes.get("t", 1), (sizes["h"], sizes["w"])

    @property
    def channels(self) -> int:
        """How many channels a frame has for the network."""
        hint = self.hints.preprocessing
        how = self.slots.get("preprocessing") or (None if hint is None else hint.value)
        return int(self.hints.channels.value) if how is None else len(CHANNELS[how.channels])

    def _known_frames(self) -> Sequence[int]:
        if "frames" in self.slots:
            return [self.slots["frames"]]
        return FRAMES if self.hints.frames is None else [self.hints.frames.value]

    def _known_sizes(self) -> Sequence[Size]:
        how = self.slots.get("preprocessing")
        if how is not None:
            size = how.crop or how.resize
            if not isinstance(size, tuple):
                raise OptionError("preprocessing for wrap needs crop=(H, W) or resize=(H, W)")
            return [size]
        return SIZES if self.hints.size is None else [self.hints.size.value]

    def _noise(self, layout: str, frames: int, size: Size) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        clips = torch.rand(1, self.channels, frames, *size, generator=generator)
        first = next((p for p in self.net.parameters() if p.is_floating_point()), clips)
        return arranged(clips, layout).to(first.device, first.dtype)

    def _failure(self, x: Tensor) -> str | None:
        """Run the network; return what it fails with, in a line."""
        try:
            with untouched(self.net), attributes_kept(self.net), torch.no_grad(), eagerly():
                call(self.net, x)
        except VidcamError:
            raise
        except Exception as error:
            if of_device(error):
                raise
            return f"{type(error).__name__}: {error}".splitlines()[0][:120]
        return None

    def _frames_of(self, fed: Taken) -> None:
        """Conclude what the network takes."""
        hints = self.hints
        self.conclude("input_layout", fed.layout, "it runs so")
        self.conclude("frames", fed.frames, hints.frames.where if hints.frames else "it runs so")
        if hints.preprocessing is not None:
            self.conclude("preprocessing", hints.preprocessing.value, hints.preprocessing.where)
        gray = "gray" if self.channels == 1 else "rgb"
        size = "x".join(map(str, fed.size))
        self.conclude(
            "preprocessing",
            Preprocessing(fed.size, channels=gray, antialias=True),
            f"size {hints.size.where if hints.size else 'as it runs'}; the whole frame in 0..1, assumed: processor= or "
            "preprocessing= says otherwise",
            size,
        )

    # Where to look

    def _answer(self, output: Any) -> Tensor:
        return logits(output, self.slots.get("output"), len(self.slots.get("labels", ())) or None)

    def _find_layer(self, x: Tensor) -> None:
        """Take the last layer that all of the answer passes through and that has a gradient at several cells."""
        with walk(self.net, x, self._answer) as seen:
            classes, branches = self._answer(seen.output).shape[-1], []
            for passed in reversed(seen.passed):
                if (reading := self._reading(passed, x, classes)) is None:
                    continue
                if not seen.is_trunk(passed):
                    branches.append(passed.name)
                elif reading.cells(seen.gradient(passed)) > 1:
                    self.conclude(
                        "layer",
                        passed.name,
                        "the last that all of the answer passes through",
                        f"{passed.name}: {reading}",
                    )
                    return
        tried = f"; parts of it pass through {', '.join(branches[:4])}" if branches else ""
        raise LayerError(f"no layer that reads as a grid of cells holds all of the answer{tried}; say layer=")

    def _reading(self, passed: Passed, x: Tensor, classes: int) -> Any:
        """Tell how a layer's output reads, if that is as a grid of several cells that is not the answer itself."""
        shape, module = passed.shape, self.net.get_submodule(passed.name)
        if shape is None or len(shape) < 3 or passed.tensors > 1 or isinstance(module, POOLINGS):
            return None
        if len(shape) == 3:
            return self._tokens(passed, x) if shape[1] > 1 and shape[2] != classes else None
        try:
            layout = infer_layout(shape, x, given_as=self.slots["input_layout"])
        except LayerError:
            return None
        reading = _GridReading(layout, tuple(read_grid(torch.empty(shape, device="meta"), layout, batch=1).shape))
        return reading if reading.is_grid and reading.shape[1] != classes else None

    def _tokens(self, passed: Passed, x: Tensor) -> Any:
        assert passed.shape is not None
        count = passed.shape[1]
        if passed.grid is not None:
            t, h, w = passed.grid
            return _TokenReading(TokenOrder(list(range(count - t * h * w, count)), (t, h, w), count))
        if count not in self.tokens:
            self.tokens[count] = find_tokens(self.net, x, self.slots["input_layout"], count)
        order = self.tokens[count]
        return None if order is None or order.grid[1] * order.grid[2] < 2 else _TokenReading(order)


@dataclass(frozen=True)
class _GridReading:
    """A layer's output that reads as a grid."""

    layout: str
    shape: tuple[int, ...]
    """(B, C, *S)."""

    @property
    def is_grid(self) -> bool:
        """Whether it has several cells down and across."""
        return self.shape[-1] * self.shape[-2] > 1

    def cells(self, gradient: Tensor) -> int:
        """Count the cells at which there is a gradient."""
        return int(read_grid(gradient, self.layout, batch=1).abs().sum((0, 1)).count_nonzero())

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.shape[2:]))} cells"


@dataclass(frozen=True)
class _TokenReading:
    """A layer's output that holds tokens."""

    order: TokenOrder

    def cells(self, gradient: Tensor) -> int:
        """Count the cells at which there is a gradient."""
        return int(gradient[:, self.order.order].abs().sum((0, 2)).count_nonzero())

    def __str__(self) -> str:
        prefix = self.order.count - len(self.order.order)
        others = f", {prefix} more token{'s' * (prefix > 1)} from no place" if prefix else ""
        sort = "in order t h w" if self.order.is_sorted else "in an order of its own"
        return f"{'x'.join(map(str, self.order.grid))} cells{others}, {sort}: measured"
