"""A video as the windows that a network sees, decoded and preprocessed in the background."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from math import isfinite

from torch import Tensor

from vidcam.data.sampling import GAP_SECONDS, Window, longest_step, sample, share_of, spread, stretches, windows
from vidcam.errors import MediaError, OptionError
from vidcam.media import Frame, Video, prefetch
from vidcam.models.carrying import one_by_one
from vidcam.models.model import Model
from vidcam.types import Progress


@dataclass(frozen=True)
class Fed:
    """A frame of the source as the network is fed with it."""

    index: int
    pixels: Tensor | dict[str, Tensor]
    """(C, H, W); of several inputs one by each name."""
    stretch: int = 0
    """How many gaps in time come before it."""


PICTURES = 16
"""Frames that go at once through a network which sees each by itself."""
Group = Sequence[Window[Fed]]
"""Windows of one forward pass."""


class Stream:
    """The source as groups of windows, as often as it is asked for.

    A window of frames that are spread over the whole video is known when the video's length is. Another one never
    reaches across a gap (`longest_step`), and one that holds a single frame is given once.
    Close its iterator, as with `contextlib.closing`: the thread that reads ahead ends there, also after an exception.
    """

    def __init__(
        self, video: Video, model: Model, hop: float | None, batch: int | None, progress: Progress | None
    ) -> None:
        batch = one_by_one(model, batch)
        batch = usual_batch(model) if batch is None else batch
        if batch < 1:
            raise OptionError(f"batch must be at least 1; given {batch}")
        self.video, self.model, self.batch = video, model, batch
        self.seconds: list[float] = []
        self.rate = model.frame_rate or float(video.info.rate)
        self.is_spread = model.sampling == "spread"
        self.gap = GAP_SECONDS if self.is_spread else longest_step(model.frames, model.frame_rate)
        if self.is_spread and hop is not None:
            raise OptionError(
                f"sampling='spread' looks at the whole video at once: leave hop_seconds out; given {hop:g}"
            )
        self.apart = model.state == "carried"
        usual = model.frames if self.apart else max(1, model.frames // 2)
        self.hop = usual if hop is None else _hop(hop, self.rate, model.frames)
        if self.apart and hop is not None and self.hop != model.frames:
            raise OptionError(
                f"{model.name} carries a state from window to window, which must not overlap: leave hop_seconds out; "
                f"given {hop:g} s for windows of {model.frames / self.rate:.3g} s"
            )
        self._progress = progress

    def __iter__(self) -> Generator[list[Window[Fed]], None, None]:
        self.seconds = self._times if self.is_spread else []
        with closing(prefetch(self._chosen() if self.is_spread else self._samples())) as samples:
            cut = self._clips(samples) if self.is_spread else self._windows(samples)
            while group := list(islice(cut, self.batch)):
                yield group

    def _windows(self, samples: Iterable[Fed]) -> Iterator[Window[Fed]]:
        first, length, alone = 0, self.model.frames, -1
        for _, stretch in groupby(samples, key=lambda fed: fed.stretch):
            for window in windows(stretch, length=length, hop=self.hop, first=first, apart=self.apart):
                held = holds_one_frame([fed.index for fed in window.items])
                if self.apart or not held or window.items[0].index != alone:  # a state goes on also where nothing moves
                    yield window
                alone = window.items[0].index if held else -1
            first = window.start + length - window.padding

    def _samples(self) -> Iterator[Fed]:
        last: Fed | None = None
        for number, stretch in enumerate(stretches(self._noted(self.video), self.gap)):
            for frame in sample(stretch, self.model.frame_rate):
                if last is None or last.index != frame.index:
                    last = Fed(frame.index, self.model.prepare(frame.pixels), number)
                yield last

    @cached_property
    def _times(self) -> list[float]:
        """When the frames are shown: told by the file's packets, or where these do not tell, by reading through it."""
        return self.video.times()

    @cached_property
    def _spread(self) -> list[list[int]]:
        """The frames of each clip that is spread over the whole video."""
        clips = self.model.clips
        return [spread(self._times, self.model.frames, share_of(clip, clips)) for clip in range(clips)]

    def _chosen(self) -> Iterator[Fed]:
        """Read what is chosen of the whole video, each frame once; no more than that is kept."""
        for frame in self.video.pick(sorted({index for clip in self._spread for index in clip})):
            yield Fed(frame.index, self.model.prepare(frame.pixels))
            if self._progress is not None:
                self._progress(frame.index + 1, len(self._times))

    def _clips(self, samples: Iterable[Fed]) -> Iterator[Window[Fed]]:
        """Deal the frames out to the clips; those that come several times in one are its padding."""
        held = {fed.index: fed for fed in samples}
        for number, clip in enumerate(self._spread):
            if lost := [index for index in clip if index not in held]:
                path = self.video.info.path
                raise MediaError(f"{str(path)!r} has no frame {lost[0]}, though it promises {len(self._times)} frames")
            yield Window(number, tuple(held[index] for index in clip), padding=len(clip) - len(set(clip)))

    def _noted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            self.seconds.append(frame.seconds)
            if self._progress is not None:
                self._progress(frame.index + 1, self.video.info.frame_count)
            yield frame


def usual_batch(model: Model) -> int:
    """Return how many windows a forward takes where nobody says: of single pictures as many as others hold frames."""
    if model.frames == 1:
        return PICTURES
    return 8 if model.device.type == "cuda" else 1


def holds_one_frame(indices: Sequence[int]) -> bool:
    """Whether a window of several places shows one frame of the source in all of them."""
    return len(indices) > 1 and len(set(indices)) == 1


def voting(frames: Mapping[int, Sequence[int]]) -> list[int]:
    """Return the windows that say what the video is, of the source's frames in each by its first sample.

    Those of a single frame do only where there are no others: held still, they show nothing that happens.
    """
    return sorted({start for start, held in frames.items() if not holds_one_frame(held)} or frames)


def _hop(seconds: float, rate: float, frames: int) -> int:
    """Return the hop in samples."""
    hop = round(seconds * rate) if isfinite(seconds) else 0
    if not 1 <= hop <= frames:
        possible = f"{1 / rate:.3g} to {frames / rate:.3g} s"
        raise OptionError(
            f"a hop of {seconds:g} s does not fit a window of {frames / rate:.3g} s; possible: {possible}"
        )
    return hop
