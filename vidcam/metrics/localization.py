"""Where the truth is known: how much of the heat lies in the right boxes and in the right frames."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from vidcam.errors import OptionError
from vidcam.explaining.explanation import Explanation


@dataclass(frozen=True)
class Hits:
    """Shares of the heat, each beside the share that heat spread evenly would have; NaN for a flat map."""

    share_in_boxes: float
    area_share: float
    share_in_active_frames: float
    active_frame_share: float

    def as_dict(self) -> dict[str, float]:
        """Return the shares by name."""
        return asdict(self)


def hits(explanation: Explanation, boxes: npt.NDArray[np.floating], active: npt.NDArray[np.bool_]) -> Hits:
    """Measure how well heat hits a known object.

    Args:
        explanation: of a clip whose truth is known.
        boxes: (F, 4) left, top, right, bottom edges of the object, where pixel x spans x to x + 1; NaN where absent.
        active: (F,) whether the object is there.

    Raises:
        OptionError: boxes and frames are not as many.
    """
    frames = len(explanation.heat)
    if boxes.shape != (frames, 4) or active.shape != (frames,):
        given = f"boxes {boxes.shape} and active {active.shape}"
        raise OptionError(f"{frames} frames need boxes ({frames}, 4) and active ({frames},); given {given}")
    down, across = explanation.spreading()
    heat = explanation.heat.clip(min=0)
    total = np.einsum("yh,fhw,wx->f", down, heat, across)
    inside, area = np.zeros(frames), np.zeros(frames)
    for f in np.flatnonzero(active):
        left, top, right, bottom = boxes[f]
        rows = _covered(top, bottom, explanation.height)
        columns = _covered(left, right, explanation.width)
        inside[f] = (rows @ down) @ heat[f] @ (across @ columns)
        area[f] = rows.sum() * columns.sum()
    whole = float(total.sum())
    return Hits(
        share_in_boxes=float(inside.sum()) / whole if whole > 0 else float("nan"),
        area_share=float(area.sum()) / (frames * explanation.width * explanation.height),
        share_in_active_frames=float(total[active].sum()) / whole if whole > 0 else float("nan"),
        active_frame_share=float(active.mean()),
    )


def _covered(start: float, end: float, length: int) -> npt.NDArray[np.float64]:
    """(length,) the share of every pixel, which spans x to x + 1, that lies between two edges."""
    pixels = np.arange(length)
    return (np.minimum(end, pixels + 1) - np.maximum(start, pixels)).clip(0, 1)
