"""What every way to read a video offers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

from vidcam.errors import MediaError
from vidcam.types import Pixels


class Frame(NamedTuple):
    """One picture of a video: (H, W, 3) uint8 RGB, upright, in memory of its own."""

    index: int  # type: ignore[assignment]  # it hides tuple.index, which nobody asks of a frame
    seconds: float
    pixels: Pixels


@dataclass(frozen=True)
class VideoInfo:
    """What is known before reading on: the size is that of upright frames, the rate is exact.

    A frame is shown `pixel_aspect` times as wide as its pixels are counted; a network sees it as it is counted.
    `path` is None for frames that are in memory.
    `duration_seconds` and `frame_count` are what the header claims: they may be wrong, and None if it claims nothing.
    """

    path: Path | None
    width: int
    height: int
    rate: Fraction
    has_audio: bool
    duration_seconds: float | None
    frame_count: int | None
    backend: str
    pixel_aspect: Fraction = Fraction(1)

    @property
    def name(self) -> str:
        """What it is called in a message: its path, or what holds its frames."""
        return f"the {self.backend}" if self.path is None else repr(str(self.path))


class Video(ABC):
    """An open video: iterate over it, as often as you like, or ask for single frames.

    Frames come in presentation order as the decoder emits them, with strictly increasing seconds.
    """

    info: VideoInfo
    _facts: Sequence[str] = ()

    @property
    def notes(self) -> list[str]:
        """What a user must know about this source, for example that damaged packets were skipped."""
        return list(self._facts)

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Start at the first frame; memory does not grow with the video's length."""

    def frames_at(self, indices: Sequence[int]) -> list[Frame]:
        """Return the frames at `indices`, in their order and as often; a MediaError names those that there are."""
        wanted = [int(index) for index in indices]
        frames = {frame.index: frame for frame in self.pick(sorted({index for index in wanted if index >= 0}))}
        if missing := [index for index in wanted if index not in frames]:
            last = len(self.times()) - 1
            raise MediaError(f"{self.info.name} has no frame {missing[0]}; its frames are 0 to {last}")
        return [frames[index] for index in wanted]

    def close(self) -> None:  # noqa: B027 - most backends hold nothing open between two readings
        """Let go of what was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def times(self) -> list[float]:
        """Return the times of all frames."""
        return [frame.seconds for frame in self]

    def pick(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Yield those of the ascending `indices` that the video has, one at a time."""
        wanted = set(indices)
        frames = islice(self, indices[-1] + 1 if indices else 0)
        return (frame for frame in frames if frame.index in wanted)
