"""vidcam: which frames and which regions made a video network say what it said.

`B` batch, `C` channels, `T` frames of a network's input, `H W` pixels, `K` classes; `t h w` is the grid of a layer and
a *slot* one index of its `t`. A network sees `(B, C, T, H, W)`; frames for people are `(T, H, W, 3)` uint8 RGB. *Heat*
is an attribution map, raw until it is normalized for display. Time is in seconds.

What is needed often stands here; what is needed now and then in `vidcam.attribution` (tensors, layers, scores,
methods), `vidcam.models`, `vidcam.metrics`, `vidcam.rendering` and `vidcam.media`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidcam import attribution, media, metrics, models, rendering
    from vidcam.attribution.methods import cam
    from vidcam.data.drives.drive import open_drive
    from vidcam.data.preprocessing import Preprocessing
    from vidcam.errors import VidcamError
    from vidcam.explaining.explain import explain
    from vidcam.explaining.explanation import Explanation
    from vidcam.explaining.ranking import Ranking, rank
    from vidcam.media.reader import open_video
    from vidcam.models.build import load_model
    from vidcam.models.inputs import Input
    from vidcam.models.model import Extra, Model
    from vidcam.models.source import Source
    from vidcam.odometry.training.train import train_odometry
    from vidcam.rendering.chart import timeline
    from vidcam.rendering.drive import render_drive
    from vidcam.rendering.sheet import contact_sheet, figure
    from vidcam.rendering.video import render
    from vidcam.training.classifier.testing import test
    from vidcam.training.classifier.train import train

__version__ = "0.2.0"

_HOMES = {
    "Explanation": "vidcam.explaining.explanation",
    "Extra": "vidcam.models.model",
    "Input": "vidcam.models.inputs",
    "Model": "vidcam.models.model",
    "Preprocessing": "vidcam.data.preprocessing",
    "Ranking": "vidcam.explaining.ranking",
    "Source": "vidcam.models.source",
    "VidcamError": "vidcam.errors",
    "cam": "vidcam.attribution.methods",
    "contact_sheet": "vidcam.rendering.sheet",
    "explain": "vidcam.explaining.explain",
    "figure": "vidcam.rendering.sheet",
    "load_model": "vidcam.models.build",
    "open_drive": "vidcam.data.drives.drive",
    "open_video": "vidcam.media.reader",
    "rank": "vidcam.explaining.ranking",
    "render": "vidcam.rendering.video",
    "render_drive": "vidcam.rendering.drive",
    "test": "vidcam.training.classifier.testing",
    "timeline": "vidcam.rendering.chart",
    "train": "vidcam.training.classifier.train",
    "train_odometry": "vidcam.odometry.training.train",
}
_ROOMS = ("attribution", "media", "metrics", "models", "rendering")

__all__ = [
    "Explanation",
    "Extra",
    "Input",
    "Model",
    "Preprocessing",
    "Ranking",
    "Source",
    "VidcamError",
    "__version__",
    "attribution",
    "cam",
    "contact_sheet",
    "explain",
    "figure",
    "load_model",
    "media",
    "metrics",
    "models",
    "open_drive",
    "open_video",
    "rank",
    "render",
    "render_drive",
    "rendering",
    "test",
    "timeline",
    "train",
    "train_odometry",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: torch takes seconds."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"vidcam.{name}")
    raise AttributeError(f"module 'vidcam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
