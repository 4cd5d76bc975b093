"""Inputs: what a network takes, one tensor or several named ones, and the network as a function of one of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidcam.attribution.failures import in_words
from vidcam.attribution.layers import call, named_alike
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import OptionError
from vidcam.types import Floats

INPUT_LAYOUTS = ("b c t h w", "b t c h w", "b c h w")


@dataclass(frozen=True)
class Input:
    """One of a network's several named inputs, as the fast and the slow pathway, or color and optical flow."""

    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    every: int = 1
    """Take every so-manieth of the window's T frames, from the first on."""
    make: Callable[[Tensor], Tensor] | None = None
    """(T', C, H, W) -> (T'', C', H, W): what is computed from the preprocessed frames, as optical flow."""

    def __post_init__(self) -> None:
        if not (self.make is None or callable(self.make)):
            raise OptionError(f"an input's make is a function (T, C, H, W) -> (T, C, H, W); given {self.make!r}")
        if self.every < 1:
            raise OptionError(f"an input takes every first, second or later frame; given every={self.every}")

    def clip(self, frames: Sequence[Tensor]) -> Tensor:
        """(C, H, W) of each of a window's T frames -> (T'', C', H, W); an OptionError if `make` changes the size."""
        taken = torch.stack([*frames[:: self.every]])
        if self.make is None:
            return taken
        with in_words("an input's make", OptionError):
            made = self.make(taken)
        if not isinstance(made, Tensor) or made.ndim != 4 or not made.numel():
            shape = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise OptionError(f"an input's make returns (T, C, H, W); it returned {shape}")
        if made.shape[-2:] != taken.shape[-2:]:
            now, was = ("x".join(str(side) for side in clip.shape[-2:]) for clip in (made, taken))
            raise OptionError(f"an input's make keeps height and width, {was}; it returned {now}: resize before it")
        return made

    def positions(self, length: int, frames: int) -> Floats:
        """Tell where the input's frames lie among the window's.

        Where `make` returns another number of frames than it is given, they are taken to be equal bins of those.

        Args:
            length: T'', frames of the input.
            frames: T, frames of the window.
        """
        bins = len(range(0, frames, self.every)) / length
        positions: Floats = ((np.arange(length) + 0.5) * bins - 0.5) * self.every
        return positions


def arranged(clips: Tensor, layout: str) -> Tensor:
    """Lay clips (B, C, T, H, W) out as a network takes them."""
    if layout == "b c h w":
        return clips[:, :, 0]
    return clips.transpose(1, 2) if layout == "b t c h w" else clips


def as_clips(x: Tensor, layout: str) -> Tensor:
    """Return what a network is given as (B, C, T, H, W); a picture is a clip of one frame."""
    if layout == "b c h w":
        return x.unsqueeze(2)
    return x.transpose(1, 2) if layout == "b t c h w" else x


class OneInput(nn.Module):
    """A network of any input layout as one of a single tensor (B, C, T, H, W); the network itself is `net`.

    Args:
        net: the network.
        layout: what it takes, one of `INPUT_LAYOUTS`.
        name: of the input that is given, where the network has several.
        held: all inputs by name, (B, C, T, H, W). The others than `name` keep these values, the first sample's, as
            long as the given one keeps its size; where it is made longer or smaller, they become zeros whose
            sizes change alike.
    """

    def __init__(
        self, net: nn.Module, layout: str, name: str | None = None, held: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.net, self.layout, self.name, self.held = net, layout, name, held or {}

    def forward(self, x: Tensor) -> Any:
        """Run the network on clips (B, C, T, H, W)."""
        if self.name is None:
            return self.net(arranged(x, self.layout))
        usual = self.held[self.name].shape[2:]
        inputs = {name: x if name == self.name else _like(x, clip, usual) for name, clip in self.held.items()}
        return call(self.net, named_alike(self.held, {n: arranged(clip, self.layout) for n, clip in inputs.items()}))


def _like(x: Tensor, held: Tensor, usual: Sequence[int]) -> Tensor:
    """Return a held input for a batch x, whose size may not be the usual one."""
    if x.shape[2:] == torch.Size(usual):
        return held[:1].to(x).expand(len(x), *held.shape[1:])
    sizes = [max(1, round(own * now / was)) for own, now, was in zip(held.shape[2:], x.shape[2:], usual, strict=True)]
    return x.new_zeros(len(x), held.shape[1], *sizes)
