"""What the windows of a video give, until the last of them is known."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from vidcam.attribution.failures import in_words
from vidcam.errors import ModelError
from vidcam.explaining.instants import on_frames
from vidcam.explaining.mapping import of_whole_frames
from vidcam.explaining.targets import Key
from vidcam.explaining.windows import Group, voting
from vidcam.models.model import Model
from vidcam.types import Floats


@dataclass
class Gathered:
    """What the windows gave; everything is known by the window's first sample."""

    alone: bool
    """Whether a window tells of its middle frame alone."""
    heat: defaultdict[Key, dict[int, Floats]] = field(default_factory=lambda: defaultdict(dict))
    """Per score and window: (T, h, w), or (1, h, w) if alone."""
    numbers: defaultdict[Key, dict[int, Floats]] = field(default_factory=lambda: defaultdict(dict))
    """Per score and window: (4,), or (T, 4) of answers at each time step: its value, the size of its gradient, how much
    the layer moves it to first order (the pull), and what the pull is compared with (of a loss: that of an answer that
    knows nothing; else 0)."""
    probabilities: dict[int, Floats] = field(default_factory=dict)
    """(K,) per window, of a classifier."""
    answers: dict[int, Floats] = field(default_factory=dict)
    """(T, K) probabilities per window, of a classifier that answers at each time step."""
    samples: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The source's frame of every sample, per window."""
    frames: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The source's frame of every slot that is kept, per window."""
    extras: defaultdict[str, dict[int, Floats]] = field(default_factory=lambda: defaultdict(dict))
    """What the network tells beside its answer, per window, by name."""
    padding: int = 0

    def note(self, group: Group) -> None:
        """Remember which frames a group of windows holds."""
        for window in group:
            indices = tuple(item.index for item in window.items)
            self.samples[window.start] = indices
            self.frames[window.start] = self._kept(indices)
            self.padding = max(self.padding, window.padding)

    def keep(
        self, key: Key, group: Group, heat: Floats, numbers: Floats, places: Sequence[int | None] | None = None
    ) -> None:
        """Keep heat (B, T, h, w) and numbers (B, n, 4), of n time steps, of a score.

        Args:
            places: of a score at a time, where it is in each window; a window that does not hold it is left out.
        """
        numbers = numbers[:, 0] if numbers.shape[1] == 1 else on_frames(numbers, heat.shape[1])
        for place, window, own, told in zip(places or [0] * len(group), group, heat, numbers, strict=True):
            if place is not None:
                self.heat[key][window.start] = self._kept(own)
                self.numbers[key][window.start] = told if told.ndim == 1 else self._kept(told)

    def keep_probabilities(self, group: Group, told: Floats) -> None:
        """Keep (B, K) probabilities, or (B, n, K) of n time steps."""
        means = told if told.ndim == 2 else told.mean(1)
        self.probabilities |= {window.start: own for window, own in zip(group, means, strict=True)}
        if told.ndim == 3:
            each = on_frames(told, len(group[0].items))
            self.answers |= {window.start: own for window, own in zip(group, each, strict=True)}

    def keep_extras(self, model: Model, group: Group, output: Any) -> None:
        """Keep what the network tells beside its answer."""
        for name, extra in model.told.items():
            with in_words(f"what reads {name}", ModelError):
                rows = extra.read(output)
            if rows is None or (extra.join is not None and not self.alone):
                continue
            if not isinstance(rows, torch.Tensor) or rows.shape[:1] != (len(group),):
                given = f"shape {tuple(rows.shape)}" if isinstance(rows, torch.Tensor) else type(rows).__name__
                raise ModelError(f"{name} must be a tensor ({len(group)}, ...), a row per window; given {given}")
            rows = rows.detach().cpu()
            rows = rows if rows.dtype == torch.float64 else rows.float()
            if extra.per_frame and rows.shape[1:2] != (model.frames,):
                given = f"shape {tuple(rows.shape)}"
                raise ModelError(f"{name} tells of each of {model.frames} frames: (B, T, ...) is wanted; given {given}")
            for window, own in zip(group, rows.numpy(), strict=True):
                slots = len(self.frames[window.start])
                whole = own if extra.join is not None else np.repeat(own[None], slots, axis=0)
                if extra.per_frame and extra.read is model.attention:  # shares of a whole add up
                    own = of_whole_frames(own, self.samples[window.start])
                self.extras[name][window.start] = self._kept(own) if extra.per_frame else whole

    @property
    def told_frames(self) -> set[int]:
        """The source's frames that have slots of their own; what is said of the others is interpolated."""
        return {index for own in self.frames.values() for index in own}

    @property
    def voting(self) -> list[int]:
        """The windows that say what the video is."""
        return voting(self.samples)

    @property
    def votes(self) -> list[Floats]:
        """(K,) probabilities of each window that votes."""
        return [self.probabilities[start] for start in self.voting]

    def missing(self, key: Key) -> Collection[int]:
        """Return the windows in which a score was not explained."""
        return self.samples.keys() - self.heat[key].keys()

    def moves(self, key: Key) -> bool:
        """Whether the layer moves a score in any window."""
        return any(numbers[..., 1].any() for numbers in self.numbers[key].values())

    def _kept(self, items: Any) -> Any:
        """Return a window's items, or the middle one alone."""
        middle = len(items) // 2
        return items[middle : middle + 1] if self.alone else items
