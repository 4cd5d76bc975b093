"""vidcam: which frames and which regions made a video network say what it said.

`B` batch, `C` channels, `T` frames of a network's input, `H W` pixels, `K` classes; `t h w` is the grid of a layer and
a *slot* one index of its `t`. A network sees `(B, C, T, H, W)`; frames for people are `(T, H, W, 3)` uint8 RGB. *Heat*
is an attribution map, raw until it is normalized for display. Time is in seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidcam.attribution.methods import cam
    from vidcam.errors import VidcamError
    from vidcam.explaining.explain import explain
    from vidcam.explaining.explanation import Explanation
    from vidcam.media import open_video
    from vidcam.models.build import load_model
    from vidcam.models.model import Model
    from vidcam.rendering import contact_sheet, render, render_drive, timeline

__version__ = "0.1.0"

_HOMES = {
    "Explanation": "vidcam.explaining.explanation",
    "Model": "vidcam.models.model",
    "VidcamError": "vidcam.errors",
    "cam": "vidcam.attribution.methods",
    "contact_sheet": "vidcam.rendering",
    "explain": "vidcam.explaining.explain",
    "load_model": "vidcam.models.build",
    "open_video": "vidcam.media",
    "render": "vidcam.rendering",
    "render_drive": "vidcam.rendering",
    "timeline": "vidcam.rendering",
}

__all__ = [
    "Explanation",
    "Model",
    "VidcamError",
    "__version__",
    "cam",
    "contact_sheet",
    "explain",
    "load_model",
    "open_video",
    "render",
    "render_drive",
    "timeline",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: torch takes seconds."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vidcam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
