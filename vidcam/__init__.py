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
    from vidcam import attribution as attribution
    from vidcam import media as media
    from vidcam import metrics as metrics
    from vidcam import models as models
    from vidcam import rendering as rendering
    from vidcam.attribution.methods import cam as cam
    from vidcam.data.drives.drive import open_drive as open_drive
    from vidcam.data.preprocessing import Preprocessing as Preprocessing
    from vidcam.errors import VidcamError as VidcamError
    from vidcam.explaining.explain import explain as explain
    from vidcam.explaining.explanation import Explanation as Explanation
    from vidcam.explaining.instants import At as At
    from vidcam.explaining.ranking import Ranking as Ranking
    from vidcam.explaining.ranking import rank as rank
    from vidcam.media.reader import open_video as open_video
    from vidcam.models.build import load_model as load_model
    from vidcam.models.extra import Extra as Extra
    from vidcam.models.inputs import Input as Input
    from vidcam.models.model import Model as Model
    from vidcam.models.source import Source as Source
    from vidcam.models.wrap import wrap as wrap
    from vidcam.odometry.training.train import train_odometry as train_odometry
    from vidcam.rendering.chart import timeline as timeline
    from vidcam.rendering.drive import render_drive as render_drive
    from vidcam.rendering.sheet import contact_sheet as contact_sheet
    from vidcam.rendering.sheet import figure as figure
    from vidcam.rendering.video import render as render
    from vidcam.training.classifier.testing import test as test
    from vidcam.training.classifier.train import train as train

__version__ = "0.2.0"

_HOMES = {
    "At": "vidcam.explaining.instants",
    "Explanation": "vidcam.explaining.explanation",
    "Extra": "vidcam.models.extra",
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
    "wrap": "vidcam.models.wrap",
    "train": "vidcam.training.classifier.train",
    "train_odometry": "vidcam.odometry.training.train",
}
_ROOMS = ("attribution", "media", "metrics", "models", "rendering")

__all__ = sorted((*_HOMES, *_ROOMS, "__version__"))


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: torch takes seconds."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"vidcam.{name}")
    raise AttributeError(f"module 'vidcam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
