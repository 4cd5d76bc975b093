"""A video as the windows that a network sees, decoded and preprocessed in the background."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite

from torch import Tensor

from vidcam.data.sampling import Window, sample, windows
from vidcam.errors import OptionError
from vidcam.media import Frame, Video, prefetch
from vidcam.models.model import Model
from vidcam.types import Progress


@dataclass(frozen=True)
class Fed:
    """A frame of the source as the network is fed with it."""

    index: int
    pixels: Tensor | dict[str, Tensor]
    """(C, H, W); of several inputs one by each name."""


Group = Sequence[Window[Fed]]
"""Windows of one forward pass."""


class Stream:
    """The source as groups of windows, as often as it is asked for.

    Close its iterator, as with `contextlib.closing`: the thread that reads ahead ends there, also after an exception.
    """

    def __init__(
        self, video: Video, model: Model, hop: float | None, batch: int | None, progress: Progress | None
    ) -> None:
        batch = (8 if model.device.type == "cuda" else 1) if batch is None else batch
        if batch < 1:
            raise OptionError(f"batch must be at least 1; given {batch}")
        self.video, self.model, self.batch = video, model, batch
        self.seconds: list[float] = []
        self.rate = model.frame_rate or float(video.info.rate)
        self.hop = max(1, model.frames // 2) if hop is None else _hop(hop, self.rate, model.frames)
        self._progress = progress

    def __iter__(self) -> Generator[list[Window[Fed]], None, None]:
        self.seconds = []
        cut = windows(prefetch(self._samples()), length=self.model.frames, hop=self.hop)
        while group := list(islice(cut, self.batch)):
            yield group

    def _samples(self) -> Iterator[Fed]:
        last: Fed | None = None
        for frame in sample(self._noted(self.video), self.model.frame_rate):
            if last is None or last.index != frame.index:
                last = Fed(frame.index, self.model.prepare(frame.pixels))
            yield last

    def _noted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            self.seconds.append(frame.seconds)
            if self._progress is not None:
                self._progress(frame.index + 1, self.video.info.frame_count)
            yield frame


def _hop(seconds: float, rate: float, frames: int) -> int:
    """Return the hop in samples."""
    hop = round(seconds * rate) if isfinite(seconds) else 0
    if not 1 <= hop <= frames:
        possible = f"{1 / rate:.3g} to {frames / rate:.3g} s"
        raise OptionError(
            f"a hop of {seconds:g} s does not fit a window of {frames / rate:.3g} s; possible: {possible}"
        )
    return hop
