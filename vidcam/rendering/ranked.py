"""The contact sheet of a ranking: the frames that it puts first, with their heat."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vidcam.explaining.explanation import Explanation
from vidcam.explaining.ranking import Ranking
from vidcam.rendering.sheet import contact_sheet


def rank_sheet(ranking: Ranking, path: str | Path, *, k: int = 8, **look: Any) -> None:
    """Write a picture of the first k frames with their heat; the other options are those of `contact_sheet`."""
    values = {field.name: getattr(ranking.explanation, field.name) for field in fields(Explanation)}
    how = " · ".join([*filter(None, [values["provenance"].get("method")]), f"first frames by {ranking.by}"])
    values["provenance"] = values["provenance"] | {"method": how}  # the heading shows it
    contact_sheet(_Ordered(**values, order=tuple(frame.index for frame in ranking.frames)), path, k=k, **look)


@dataclass(frozen=True)
class _Ordered(Explanation):
    """An explanation whose frames are in another order than that of their heat."""

    order: tuple[int, ...] = ()

    def top_frames(self, k: int = 5) -> list[int]:
        return list(self.order[:k])
