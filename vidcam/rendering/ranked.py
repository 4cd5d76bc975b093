"""The contact sheet of a ranking: the frames that it puts first, with their heat."""

from pathlib import Path
from typing import Any

from vidcam.explaining.ranking import Ranking
from vidcam.rendering.sheet import contact_sheet


def rank_sheet(ranking: Ranking, path: str | Path, *, k: int = 8, **look: Any) -> None:
    """Write a picture of the first k frames with their heat; the other options are those of `contact_sheet`."""
    order, how = [frame.index for frame in ranking.frames], f"first frames by {ranking.by}"
    contact_sheet(ranking.explanation, path, k=k, order=order, how=how, **look)
