"""Extra: what a network tells beside its answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vidcam.types import Floats


@dataclass(frozen=True)
class Extra:
    """What a network tells beside its answer."""

    read: Callable[[Any], Tensor | None]
    """The network's output -> (B, ...), one per window, or (B, T, ...), one per frame; None where it tells none."""
    per_frame: bool = False
    """Whether `read` gives one per frame of the window."""
    join: Callable[[Floats], Floats] | None = None
    """(N, ...) of all windows, where each begins one frame after the one before, to (F, ...) of the source's frames;
    None lays each window's on its frames and averages what overlaps."""
