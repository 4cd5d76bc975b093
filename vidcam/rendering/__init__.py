"""Pictures and videos of explanations; each is imported when it is asked for, matplotlib with it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidcam.rendering.chart import deletion_plot as deletion_plot
    from vidcam.rendering.chart import timeline as timeline
    from vidcam.rendering.drive import render_drive as render_drive
    from vidcam.rendering.outputs import write_outputs as write_outputs
    from vidcam.rendering.sheet import contact_sheet as contact_sheet
    from vidcam.rendering.sheet import figure as figure
    from vidcam.rendering.sheet import rank_sheet as rank_sheet
    from vidcam.rendering.video import render as render

_HOMES = {
    "contact_sheet": "vidcam.rendering.sheet",
    "deletion_plot": "vidcam.rendering.chart",
    "figure": "vidcam.rendering.sheet",
    "rank_sheet": "vidcam.rendering.sheet",
    "render": "vidcam.rendering.video",
    "render_drive": "vidcam.rendering.drive",
    "timeline": "vidcam.rendering.chart",
    "write_outputs": "vidcam.rendering.outputs",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vidcam.rendering' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
