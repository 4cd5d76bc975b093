"""Types that the whole house shares."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
"""Frames for people: (H, W, 3) or (T, H, W, 3) RGB."""
Progress = Callable[[int, int | None], None]
"""Called with the number of frames done so far, and of all, as far as that is known."""
