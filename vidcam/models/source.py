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
    path: Path | Video
    """A video or a folder of pictures; or an open video, as of frames in memory."""
    rate: Fraction | float | None = None
    """Frames per second of pictures in a folder, where that is known; a video knows its own."""
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


def video_source(model: ModelType, source: object, *, rate: Fraction | float | None = None) -> Source[ModelType]:
    """Take whatever `open_video` takes; a drive brings its rate and its true poses.

    Raises:
        MediaError: frames in memory that cannot be read.
        OptionError: the source is neither, or a rate is missing or one too many.
    """
    if isinstance(source, Drive):
        poses = {} if source.trajectory is None else {"true_poses": source.trajectory.poses}
        own = source.rate if source.source.is_dir() else None
        if own is not None and rate is not None:
            raise OptionError(f"a rate is for pictures without times; the drive {source.name!r} has them")
        return Source(model, source.source, rate if own is None else own, poses)
    if isinstance(source, str | os.PathLike):
        return Source(model, Path(source), rate)
    return Source(model, open_video(source, rate=rate))
