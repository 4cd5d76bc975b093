"""Source: a video, or what else a model is asked about, as that model sees it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Generic, TypeVar

from vidcam.data.drives.drive import Drive
from vidcam.errors import OptionError
from vidcam.media import Video, open_video
from vidcam.types import Floats

ModelType = TypeVar("ModelType")
"""A `vidcam.models.model.Model`, which opens sources and so stands above them."""


@dataclass(frozen=True)
class Source(Generic[ModelType]):
    """A source as a model sees it."""

    model: ModelType
    """The model with what belongs to this source, as the camera's intrinsics; the one that was given is unchanged."""
    path: Path
    """A video or a folder of pictures."""
    rate: Fraction | None = None
    """Frames per second of pictures in a folder, where that is known; a video file knows its own."""
    beside: Mapping[str, Floats] = field(default_factory=dict)
    """What is known beside the pictures, a row per frame, as "true_poses"."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Scores that this source does not allow, and what they need: {"loss": "the camera's intrinsics"}."""
    opened_by: ModelType | None = None
    """The model that was asked to open it; `Model.open` says so."""

    def video(self, backend: str = "auto") -> Video:
        """Open the pictures; see `vidcam.media.open_video`.

        Raises:
            MediaError: they cannot be read.
            OptionError: an unknown backend.
        """
        return open_video(self.path, backend=backend, rate=self.rate)


def video_source(model: ModelType, source: object) -> Source[ModelType]:
    """Take a path for a video; a drive brings its rate and its true poses.

    Raises:
        OptionError: the source is neither.
    """
    if isinstance(source, Drive):
        poses = {} if source.trajectory is None else {"true_poses": source.trajectory.poses}
        return Source(model, source.source, source.rate if source.source.is_dir() else None, poses)
    if not isinstance(source, str | os.PathLike):
        raise OptionError(f"a source is a path, or what Model.open returns; given {type(source).__name__}")
    return Source(model, Path(source))
