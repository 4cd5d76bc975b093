"""Pictures and videos of explanations; each is imported when it is asked for, matplotlib with it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidcam.rendering.chart import timeline
    from vidcam.rendering.deletion import deletion_plot
    from vidcam.rendering.drive import render_drive
    from vidcam.rendering.outputs import write_outputs
    from vidcam.rendering.sheet import contact_sheet, figure, rank_sheet
    from vidcam.rendering.video import render

_HOMES = {
    "contact_sheet": "vidcam.rendering.sheet",
    "deletion_plot": "vidcam.rendering.deletion",
    "figure": "vidcam.rendering.sheet",
    "rank_sheet": "vidcam.rendering.sheet",
    "render": "vidcam.rendering.video",
    "render_drive": "vidcam.rendering.drive",
    "timeline": "vidcam.rendering.chart",
    "write_outputs": "vidcam.rendering.outputs",
}

__all__ = [
    "contact_sheet",
    "deletion_plot",
    "figure",
    "rank_sheet",
    "render",
    "render_drive",
    "timeline",
    "write_outputs",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vidcam.rendering' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
