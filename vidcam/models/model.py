"""Model: a network, how to feed it, which layer to explain, and how that layer's output reads."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.attribution.capture import INPUT, Score
from vidcam.attribution.geometry import Axis
from vidcam.attribution.layers import find_layer, grid_axes, infer_layout
from vidcam.attribution.methods import Grid
from vidcam.attribution.receptive_field import measure_axes
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import LayerError, OptionError, TargetError, unknown

INPUT_LAYOUTS = ("b c t h w", "b t c h w", "b c h w")


@dataclass
class Model:
    """A network and all that vidcam must know to explain it.

    Only `net` and `layer` are needed: a network that takes (B, 3, T, H, W) in 0..1 and a layer whose output's layout
    can be told from its shape.
    """

    net: nn.Module
    layer: str
    """The layer to explain by default, a name as in `net.named_modules()`."""
    layout: str | None = None
    """Einops pattern of the layers' outputs, as "b c t h w", "b t h w c" or "b (t h w) c"; None tells it by shape."""
    frames: int = 16
    """T, frames of one forward pass."""
    frame_rate: float | None = None
    """Frames per second that the network was trained on; None takes every frame of the source."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    labels: Sequence[str] = ()
    """Names of the classes."""
    when: str | None = None
    """An earlier layer with finer time that tells when (design: where and when come from two layers)."""
    input_layout: str = "b c t h w"
    """What the network takes; also possible are "b t c h w", and "b c h w" for networks of single pictures."""
    grid: Grid | None = None
    """(t, h, w) of a layer that returns tokens, or a function of their number."""
    axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    """Known geometry per layer; what is not known is measured when it is needed."""
    attention: Callable[[Any], Tensor] | None = None
    """The network's output -> (B, T), its attention over the frames, if it has any."""
    name: str = "custom"
    weights: str = "custom"
    """Where the weights came from."""
    _measured: dict[tuple[str, str], tuple[Axis, ...]] = field(default_factory=dict, repr=False)
    options: dict[str, Any] = field(default_factory=dict)
    """What the network was built with, so that a checkpoint can rebuild it."""
    scores: Mapping[str, Score] = field(default_factory=dict)
    """What a regressor can be explained by: names of scores, such as "speed", and `output -> (B,)`; empty: classes."""
    units: Mapping[str, str] = field(default_factory=dict)
    """The scores' units, where they have some."""

    def __post_init__(self) -> None:
        if self.input_layout not in INPUT_LAYOUTS:
            raise OptionError(f"unknown input layout {self.input_layout!r}; possible: {', '.join(INPUT_LAYOUTS)}")
        if self.frames < 1 or (self.frame_rate is not None and not self.frame_rate > 0):
            raise OptionError(f"frames and frame_rate must be positive; given {self.frames} and {self.frame_rate}")
        if self.input_layout == "b c h w" and self.frames != 1:
            raise OptionError(
                f"a network of single pictures (input layout 'b c h w') has frames=1; given {self.frames}"
            )
        find_layer(self.net, self.layer)
        if isinstance(self.labels, str):
            raise OptionError(f"labels must be a list of names; given the text {self.labels!r}")
        self.labels = tuple(self.labels)
        if len(set(self.labels)) != len(self.labels):
            twice = next(label for label in self.labels if self.labels.count(label) > 1)
            raise TargetError(f"the labels must differ; {twice!r} comes {self.labels.count(twice)} times")

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are."""
        return next((p.device for p in self.net.parameters()), torch.device("cpu"))

    @property
    def digest(self) -> str:
        """SHA-256 over the names and values of all parameters and buffers."""
        sha = hashlib.sha256()
        for name, value in sorted(self.net.state_dict().items()):
            sha.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            sha.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()

    def to(self, device: str | torch.device) -> "Model":
        """Move the network to a device; returns the same model."""
        self.net.to(device)
        return self

    def batch(self, clips: Sequence[Sequence[Tensor]]) -> Tensor:
        """Stack B clips of T preprocessed frames (C, H, W) to what the network takes."""
        stacked = torch.stack([torch.stack(list(clip)) for clip in clips])  # (B, T, C, H, W)
        if self.input_layout == "b c h w":
            return stacked[:, 0].contiguous().to(self.device)
        given = stacked.transpose(1, 2) if self.input_layout == "b c t h w" else stacked
        return given.contiguous().to(self.device)

    def layout_of(self, layer: str, shape: Sequence[int], x: Tensor, grid: Sequence[int] | None = None) -> str:
        """Tell a layer's layout: the model's own, or by its shape; where that is ambiguous, like the model's own.

        Args:
            layer: a name as in `net.named_modules()`, or "input".
            shape: of the layer's output.
            x: what the network was fed with.
            grid: (t, h, w) of a layer that returns tokens.

        Raises:
            LayerError: the output reads as no grid, or as several.
        """
        if layer == INPUT:
            return self.input_layout
        if layer == self.layer and self.layout is not None:
            return self.layout
        try:
            return infer_layout(shape, x, grid=grid)
        except LayerError as error:
            if self.layout is None or len(re.findall(r"\([^)]*\)|\S+", self.layout)) != len(shape):
                raise LayerError(f"layer {layer!r} cannot be explained: {error}") from None
            return self.layout

    def channels_first(self, layer: str) -> tuple[nn.Module, str]:
        """Return a network that takes (B, C, T, H, W), and the layer's name in it."""
        if self.input_layout == "b c h w":
            return _Picture(self.net), f"net.{layer}"
        return (self.net, layer) if self.input_layout == "b c t h w" else (_TimeFirst(self.net), f"net.{layer}")

    def axes_of(
        self, layer: str, shape: Sequence[int], layout: str, grid: Sequence[int] | None = None, *, axes: str = "thw"
    ) -> tuple[Axis, ...]:
        """Return a layer's geometry along each axis that its layout has, measured once where it is not known.

        Args:
            layer: a name as in `net.named_modules()`.
            shape: (C, T, H, W) of the clips that the network is fed with.
            layout: einops pattern of the layer's output.
            grid: (t, h, w) of a layer that returns tokens and not their grid.
            axes: those wanted; "t" saves the seconds that height and width take.
        """
        present = grid_axes(layout).replace(" ", "")
        if layer in self.axes:
            known = dict(zip(present, self.axes[layer], strict=True))
            return tuple(known[axis] for axis in present if axis in axes)
        if (layer, axes) not in self._measured:
            net, name = self.channels_first(layer)
            found = measure_axes(net, tuple(shape), name, layout=layout, grid=grid, axes=axes)
            self._measured[layer, axes] = found
        return self._measured[layer, axes]


class _TimeFirst(nn.Module):
    """Let a network that takes (B, T, C, H, W) take (B, C, T, H, W)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net(x.transpose(1, 2))


class _Picture(_TimeFirst):
    """Let a network that takes pictures (B, C, H, W) take clips of one frame (B, C, 1, H, W)."""

    def forward(self, x: Tensor) -> Any:
        return self.net(x[:, :, 0])


@dataclass(frozen=True)
class Recipe:
    """How a model that has a name is built."""

    about: str
    """What it is, its input and its paper, in a line."""
    build: Callable[..., Model]
    """`(weights=, checkpoint=, options=) -> Model`"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options that it takes, with their defaults."""

    def choose(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options, those given and the defaults; an OptionError names near matches of unknown ones."""
        for option in given:
            if option not in self.options:
                raise OptionError(unknown(f"option of {name}", option, self.options))
        return {**self.options, **given}


def whole_frame(preprocessing: Preprocessing, size: int | Sequence[int] | None) -> Preprocessing:
    """Resize the whole frame to (H, W), or to a square, and crop nothing; without a size change nothing."""
    if size is None:
        return preprocessing
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2:
        raise OptionError(f"size needs a height and a width, or one number for both; given {size}")
    return replace(preprocessing, resize=(int(sides[0]), int(sides[1])), crop=None)
