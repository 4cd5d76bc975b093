"""Clips of the videos of a manifest, for training and for testing."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from vidcam.data.augmentation import Augmentation
from vidcam.data.manifest import Row
from vidcam.data.preprocessing import Preprocessing
from vidcam.data.sampling import SAMPLINGS, ClipSource, share_of
from vidcam.errors import MediaError, OptionError, unknown
from vidcam.media import Frame
from vidcam.media.reader import check_backend

Sample = dict[str, Any]
CHOICES = ("random", "uniform")
KEPT = 1024  # sources that a process remembers, some 10 KiB each
TRIES = 10  # videos that are tried in the place of one that cannot be read


class ClipDataset(Dataset[Sample | None]):
    """Clips as dictionaries: x (C, T, H, W) float32, y the class, video the row's index, clip its number in the video.

    A sample depends on the seed, the epoch and its index alone, whichever process makes it. Frames are those that
    `explain` takes: nearest in time to the ticks of a clock. A video shorter than a clip has its last frame repeated.

    A video that cannot be read is no error. In random clips another one of its class takes its place; of uniform ones
    it is left out: the sample is None, which `collate` drops. `broken` tells which they were, in any process.

    Args:
        rows: from a manifest's split.
        labels: the classes, in the order of their indices.
        frames: T.
        frame_rate: frames per second; None takes every frame of the source.
        preprocessing: what the network wants; of several inputs by their names, and then x holds a clip by each.
        clips: "random" starts anywhere, differently in every epoch; "uniform" spreads the clips from the first frame to
            the last, and puts a single one in the middle.
        sampling: "spread" lets every clip hold frames of the whole video, one from each of T equal segments: anywhere
            in it, differently for each, or, of "uniform" clips, all as far into it; see `vidcam.data.sampling.spread`.
        per_video: clips per row and epoch; those of a row follow each other.
        augment: random changes, the same for all frames of a clip.
        seed: of all chance.
        backend: which reader decodes, see `vidcam.media`.

    Raises:
        OptionError: there are no rows, a row's label is none of the labels, or an argument is out of range.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        labels: Sequence[str],
        *,
        frames: int,
        frame_rate: float | None,
        preprocessing: Preprocessing | Mapping[str, Preprocessing],
        clips: str = "random",
        sampling: str = "windows",
        per_video: int = 1,
        augment: Augmentation | None = None,
        seed: int = 0,
        backend: str = "auto",
    ) -> None:
        check_backend(backend)
        if clips not in CHOICES:
            raise OptionError(unknown("clips", clips, CHOICES))
        if sampling not in SAMPLINGS:
            raise OptionError(unknown("sampling", sampling, SAMPLINGS))
        for name, value in (("frames", frames), ("frame_rate", frame_rate), ("per_video", per_video)):
            if value is not None and not value > 0:
                raise OptionError(f"{name} must be positive; given {value}")
        self.rows, self.labels = tuple(rows), tuple(labels)
        self.classes = _classes(self.rows, self.labels)
        self.frames, self.preprocessing, self.augment = frames, preprocessing, augment
        self.frame_rate, self.clips, self.per_video = frame_rate, clips, per_video
        self.sampling, self.seed, self.backend = sampling, seed, backend
        # Worker processes share these with the main one, also while they live on from epoch to epoch.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._broken = torch.zeros(len(self.rows), dtype=torch.bool)
        for shared in (self._epoch, self._broken):
            shared.share_memory_()  # type: ignore[no-untyped-call]
        self._sources: OrderedDict[int, ClipSource] = OrderedDict()

    def __len__(self) -> int:
        return len(self.rows) * self.per_video

    def __getitem__(self, index: int) -> Sample | None:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no sample {index}; they are 0 to {len(self) - 1}")
        video, clip = divmod(index, self.per_video)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        for tried in self._candidates(video, rng):
            try:
                with _one_thread():
                    x = self._clip(tried, clip, rng)
                return {"x": x, "y": self.classes[tried], "video": tried, "clip": clip}
            except (MediaError, OSError):
                self._broken[tried] = True
        return None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sources": OrderedDict()}

    @property
    def epoch(self) -> int:
        """The epoch that random clips are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw other clips from now on, in worker processes too; call it before a loader starts on the epoch."""
        self._epoch.fill_(epoch)

    def broken(self) -> dict[int, str]:
        """Name the videos that could not be read so far, in any process: index of the row -> the reason in a line."""
        return {video: self._reason(video) for video in self._broken.nonzero()[:, 0].tolist()}

    def _reason(self, video: int) -> str:
        """Read a video again to learn what a worker process knows."""
        try:
            self._clip(video, 0, np.random.default_rng(0))
        except (MediaError, OSError) as error:
            return " ".join(str(error).split())
        return f"{str(self.rows[video].path)!r} could not be read at first, but now it can"

    def _candidates(self, video: int, rng: np.random.Generator) -> Iterator[int]:
        """Yield the video asked for and, for random clips, others of its class; what was broken is tried again."""
        yield video
        if self.clips == "random":
            others = [i for i, y in enumerate(self.classes) if y == self.classes[video] and i != video]
            yield from rng.permutation(others)[:TRIES].tolist()

    def _clip(self, video: int, clip: int, rng: np.random.Generator) -> Tensor | dict[str, Tensor]:
        source = self._source(video)
        indices = self._indices(source, clip, rng)
        frames = source.read(indices)
        place = {frame.index: i for i, frame in enumerate(frames)}
        order = [place[index] for index in indices]
        if isinstance(self.preprocessing, Preprocessing):
            return self._prepared(frames, order, self.preprocessing, rng)
        inputs = self.preprocessing.items()  # a copy of the chance: what changes one of them changes all alike
        return {name: self._prepared(frames, order, own, deepcopy(rng)) for name, own in inputs}

    def _indices(self, source: ClipSource, clip: int, rng: np.random.Generator) -> list[int]:
        is_random = self.clips == "random"
        if self.sampling == "spread":
            return source.spread(self.frames, rng.random(self.frames) if is_random else share_of(clip, self.per_video))
        if is_random:
            return source.random(rng, self.frames, self.frame_rate)
        return source.uniform(clip, self.per_video, self.frames, self.frame_rate)

    def _prepared(
        self, frames: Sequence[Frame], order: Sequence[int], preprocessing: Preprocessing, rng: np.random.Generator
    ) -> Tensor:
        """Return (C, T, H, W)."""
        if self.augment is None:
            prepared = torch.stack([preprocessing(frame.pixels) for frame in frames])
        else:
            pixels = torch.from_numpy(np.stack([frame.pixels for frame in frames])).permute(0, 3, 1, 2)
            prepared = self.augment(pixels, preprocessing, rng)
        return prepared[order].transpose(0, 1).contiguous()

    def _source(self, video: int) -> ClipSource:
        source = self._sources.pop(video, None) or ClipSource(self.rows[video], backend=self.backend)
        self._sources[video] = source
        if len(self._sources) > KEPT:
            self._sources.popitem(last=False)
        return source


def collate(samples: Sequence[Sample | None]) -> Sample:
    """Stack samples, without those that are None; with none left y is empty, and x too, of shape (0,)."""
    if readable := [sample for sample in samples if sample is not None]:
        batch: Sample = default_collate(readable)
        return batch
    return {"x": torch.empty(0)} | {name: torch.empty(0, dtype=torch.int64) for name in ("y", "video", "clip")}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread, as in worker processes: on a busy machine small work in several is 20 times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _classes(rows: Sequence[Row], labels: Sequence[str]) -> list[int]:
    if not rows:
        raise OptionError("there are no rows to load clips from")
    index = {label: i for i, label in enumerate(labels)}
    for row in rows:
        if row.label not in index:
            raise OptionError(f"line {row.line}, {str(row.path)!r}: {unknown('label', row.label, labels)}")
    return [index[row.label] for row in rows]
