"""Turn and mirror frames as a container's display matrix says."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from av.video.frame import VideoFrame

from vidcam.media.video import Pixels


class Orientation(NamedTuple):
    """Transpose first, then flip: any combination of quarter turns and mirroring."""

    transposed: bool = False
    flipped_rows: bool = False
    flipped_columns: bool = False

    def apply(self, pixels: Pixels) -> Pixels:
        """Turn (H, W, 3) pixels upright; the result owns its memory."""
        turned = pixels.swapaxes(0, 1) if self.transposed else pixels
        turned = turned[:: -1 if self.flipped_rows else 1, :: -1 if self.flipped_columns else 1]
        return np.array(turned, order="C") if turned.base is not None else turned


UPRIGHT = Orientation()


def orientation(frame: VideoFrame) -> Orientation | None:
    """Read a decoded frame's display matrix; None if it is no multiple of a quarter turn.

    The matrix maps a stored pixel to x' = a x + c y, y' = b x + d y; FFmpeg stores a b u, c d v, x y w.
    """
    side_data: Iterable[Any] = frame.side_data  # not the mapping that its type says
    matrix = next((bytes(data) for data in side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32)[:5].tolist()
    if b == c == 0 and a and d:
        return Orientation(False, flipped_rows=d < 0, flipped_columns=a < 0)
    if a == d == 0 and b and c:
        return Orientation(True, flipped_rows=b < 0, flipped_columns=c < 0)
    return None if any((a, b, c, d)) else UPRIGHT
