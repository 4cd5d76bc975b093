"""deletion(): how much a regressor's answer moves when the hottest cells of the picture are erased."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, islice
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from vidcam.attribution.capturing import capture
from vidcam.attribution.geometry import interpolation_matrix
from vidcam.data.preprocessing import View
from vidcam.data.sampling import Window
from vidcam.errors import ModelError, OptionError, TargetError, unknown
from vidcam.explaining.explanation import Explanation
from vidcam.explaining.memory import Room
from vidcam.explaining.windows import Fed, Stream, voting
from vidcam.media import Video, open_video
from vidcam.metrics.changes import Change, loss_rise, score_change, score_drop
from vidcam.metrics.deletion_report import ORDERS, DeletionReport
from vidcam.metrics.erasing import Mask, centrality, edges, erased, evenness, most, neighbors
from vidcam.models.carrying import begun, check_stateless, refuse_carried
from vidcam.models.model import Model
from vidcam.types import Floats, Progress

FINEST, COARSEST = 4, 16  # pixels: smaller cells only change the texture, larger ones tell too little of where


def deletion(
    model: Model,
    source: object,
    explanation: Explanation,
    *,
    rate: Fraction | float | None = None,
    measures: Mapping[str, Change] | None = None,
    truth: ArrayLike | None = None,
    fractions: Sequence[float] = (0.05, 0.1, 0.2, 0.4),
    cells: tuple[int, int] | None = None,
    draws: int = 8,
    every: int = 1,
    hop_seconds: float | None = None,
    batch: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
    block: int = 1,
    backend: str = "auto",
    progress: Progress | None = None,
) -> DeletionReport:
    """Erase parts of the picture, the hottest first and in other orders, and measure how far the output moves.

    The network's picture is cut into cells; the same cells are erased in all T frames of a window, by the heat of the
    window: the mean over its frames, or, of a layer without time, the map of its middle frame, since there each frame's
    map is that of the window around it. Each erased cell takes the mean color of what is left around it (`erase`). A
    window costs P (5 + 2 draws) versions of itself; memory does not grow with the source. As in `explain`, windows of a
    single frame count only where there are no others.

    The loss of a network that compares its own input, as a photometric loss does, is measured on the erased pictures.

    Args:
        model: left as it was found.
        source: what was explained: what `open_video` takes, or the windows themselves.
        rate: frames per second of frames in memory, or of a folder's.
        explanation: whose heat gives the order; its map is on the source's frames.
        measures: names, with their units, and functions of `vidcam.metrics.changes`; by default the change of the
            explained score or, where that is the loss, the loss's rise.
        truth: (F,) or (F, K) the true answers, for the default measure of a loss that the network does not tell.
        fractions: shares of the cells that are erased, at least one cell and never all.
        cells: rows and columns; by default those of the explanation, but of 4 to 16 pixels.
        draws: how often cells and blocks are drawn at random, per window and share.
        every: measure every so-manieth window only.
        hop_seconds: between windows, as in `explain`; by default half a window.
        batch: versions per forward pass, two at least; by default 16 on a CPU and 64 on a GPU.
        resamples: how often windows are drawn for the intervals.
        seed: of all draws.
        block: neighboring windows that are drawn together for the intervals.
        backend: as in `explain`.
        progress: called after every frame that was read.

    Raises:
        OptionError: a choice that does not fit.
        TargetError: the model has no such score, so that measures must be given.
        ModelError: the network's answer is not finite, or every window is without heat.
    """
    chosen, batch = batch is not None, (16 if model.device.type == "cpu" else 64) if batch is None else batch
    _check(fractions, seed, draws=draws, every=every, batch=batch, resamples=resamples, block=block)
    changes = _default_measures(model, explanation, truth) if measures is None else dict(measures)
    if not changes:
        raise OptionError("measures needs at least one name and function; given none")
    refuse_carried(model, "deletion runs changed versions of each window")
    room = Room(model, max(1, batch - 1), chosen=chosen, of="erased version")  # beside the whole one
    eraser = _Eraser(model, explanation, changes, tuple(fractions), cells, draws, seed, room)
    source, given = _windows_first(source)
    if given is not None:
        eraser.measure(islice(given, 0, None, every))
        return eraser.report(resamples, block)
    with open_video(source, backend=backend, rate=rate) as video:
        stream = Stream(video, model, hop_seconds, 1, progress)
        with closing(iter(stream)) as groups:
            eraser.measure(islice(chain.from_iterable(groups), 0, None, every))
    return eraser.report(resamples, block)


def _windows_first(source: Any) -> tuple[Any, Iterable[Window[Fed]] | None]:
    """Tell windows from all else by the first of them; an iterator is given back with what was taken of it."""
    first = None
    if isinstance(source, Iterator):
        first = next(source, None)
        source = chain(() if first is None else (first,), source)
    elif isinstance(source, Iterable) and not isinstance(source, str | Video) and not hasattr(source, "shape"):
        first = next(iter(source), None)
    return source, source if isinstance(first, Window) else None


@dataclass
class _Eraser:
    """Erase cells of one window after the other, and keep how far the output moves."""

    model: Model
    explanation: Explanation
    measures: Mapping[str, Change]
    fractions: tuple[float, ...]
    cells: tuple[int, int] | None
    draws: int
    seed: int
    room: Room
    changes: dict[int, dict[str, Floats]] = field(default_factory=dict)
    """Per window's first sample and measure the change of every mask; windows without heat have none."""
    frames: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The source's frames of every window."""

    def __post_init__(self) -> None:
        view, *others = {
            given.preprocessing.view(self.explanation.height, self.explanation.width)
            for given in self.model.inputs.values() or (self.model,)
        }
        if others:
            raise OptionError(f"cells are erased in all inputs alike, and those of {self.model.name} see other pixels")
        self.shape = _cells(self.explanation, view.size) if self.cells is None else _checked(self.cells, view.size)
        size = self.shape[0] * self.shape[1]
        self.counts = tuple(min(max(1, round(p * size)), size - 1) for p in self.fractions)
        self.heat = _cell_heat(self.explanation, view, self.shape)
        sums = self.heat.sum(axis=(1, 2), keepdims=True)
        # each frame's map is that of the window around it; earlier versions told it by the geometry alone, and an
        # explanation made by hand tells of neither
        told = self.explanation.provenance
        self.alone = not told.get("knows_time", "t" in told.get("geometry", {"t": None}))
        self.fixed = np.divide(self.heat, sums, out=np.zeros_like(self.heat), where=sums > 0).mean(axis=0)

    def measure(self, windows: Iterable[Window[Fed]]) -> None:
        with begun(self.model):
            for window in windows:
                frames = tuple(sample.index for sample in window.items)
                if (last := max(frames)) >= len(self.heat):
                    raise OptionError(f"the explanation has {len(self.heat)} frames, the source has a frame {last}")
                middle = frames[len(frames) // 2]
                heat = self.heat[middle] if self.alone else self.heat[sorted(set(frames))].mean(axis=0)
                self.frames[window.start] = frames
                if heat.max() > 0:
                    self.changes[window.start] = self._changes(window, frames, heat)

    def _changes(self, window: Window[Fed], frames: tuple[int, ...], heat: Floats) -> dict[str, Floats]:
        """Return per measure the change of every mask, (masks,), in the order of `_masks`."""
        clip = [sample.pixels for sample in window.items]
        masks = list(self._masks(heat, np.random.default_rng([self.seed, window.start])))

        def changed(part: Sequence[Mask]) -> dict[str, Floats]:
            versions = [clip, *erased(clip, torch.from_numpy(np.stack(part)))]  # the whole window first in each batch
            x = self.model.batch(versions)
            captured = capture(self.model.net, x, layers=(), gradients=False)
            check_stateless(self.model, x, captured)
            with captured.inside(), torch.no_grad():
                told = {name: measure(captured.output, frames) for name, measure in self.measures.items()}
            return {name: _finite(change, len(versions), name)[1:] for name, change in told.items()}

        parts = self.room.run(masks, changed)
        return {name: np.concatenate([part[name] for part in parts]) for name in self.measures}

    def _masks(self, heat: Floats, generator: np.random.Generator) -> Iterator[Mask]:
        """Yield the masks of all shares for each of `ORDERS`, and each draw of those that are drawn."""
        yield from most(heat, self.counts, generator)
        yield from most(-heat, self.counts, generator)
        for _ in range(self.draws):
            yield from most(np.zeros(self.shape), self.counts, generator)
        for _ in range(self.draws):
            yield from (neighbors(self.shape, n, generator) for n in self.counts)
        yield from most(evenness(self.shape, generator.random()), self.counts, generator)
        yield from most(centrality(self.shape), self.counts, generator)
        yield from most(self.fixed, self.counts, generator)

    def report(self, resamples: int, together: int) -> DeletionReport:
        counted = voting(self.frames)
        starts = [start for start in counted if start in self.changes]
        if not starts:
            raise ModelError(f"nothing to erase: {len(counted)} windows, and none has heat")
        repeats = [self.draws if order in ("random", "blocks") else 1 for order in ORDERS]
        changes = {}
        for name in self.measures:
            rows = np.stack([self.changes[start][name] for start in starts])
            parts = np.split(rows.reshape(len(starts), -1, len(self.counts)), np.cumsum(repeats)[:-1], axis=1)
            changes[name] = {order: part.mean(axis=1) for order, part in zip(ORDERS, parts, strict=True)}
        return DeletionReport(
            target=self.explanation.target_name,
            fractions=self.fractions,
            erased=self.counts,
            cells=self.shape,
            changes=changes,
            starts=tuple(starts),
            flat=len(counted) - len(starts),
            draws=self.draws,
            seed=self.seed,
            resamples=resamples,
            block=together,
        )


def _default_measures(model: Model, explanation: Explanation, truth: ArrayLike | None) -> dict[str, Change]:
    name = explanation.target_name
    if name == "loss" and truth is not None:
        return {"loss": loss_rise(truth)}
    if name not in model.scores:
        raise TargetError(unknown("score", name, model.scores) + "; give measures, or truth for the loss")
    score = model.scores[name]
    return {name: score_drop(score) if name == "loss" else score_change(score)}


def _cells(explanation: Explanation, size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of cells: the map's own, split or joined to 4 to 16 pixels."""
    sides = zip(explanation.heat.shape[1:], size, strict=True)
    rows, columns = (min(own * ceil(n / own / COARSEST), max(2, n // FINEST)) for own, n in sides)
    return rows, columns


def _checked(cells: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    if len(cells) != 2 or not all(1 <= n <= length for n, length in zip(cells, size, strict=True)) or cells == (1, 1):
        raise OptionError(f"cells needs rows and columns, two or more in all, of a picture of {size}; given {cells}")
    return cells


def _cell_heat(explanation: Explanation, view: View, shape: tuple[int, int]) -> Floats:
    """Average the size of the heat over the network's pixels in each cell, (F, r, c)."""
    matrices = []
    for axis, positions in enumerate((explanation.rows, explanation.columns)):
        pixels = view.to_source(np.arange(view.size[axis]), axis)
        spread = interpolation_matrix(positions, pixels, mode=explanation.spread).astype(np.float64)
        cut = edges(view.size[axis], shape[axis])
        matrices.append(np.add.reduceat(spread, cut[:-1], axis=0) / np.diff(cut)[:, None])
    return np.abs(matrices[0] @ explanation.heat @ matrices[1].T)


def _finite(change: torch.Tensor, versions: int, name: str) -> Floats:
    if change.shape != (versions,):
        raise OptionError(f"measure {name!r} must return one number per version, ({versions},); given {change.shape}")
    if not torch.isfinite(change).all():
        raise ModelError(f"the change of {name!r} is not finite (NaN or infinite); check the network's output")
    return change.double().cpu().numpy()


def _check(fractions: Sequence[float], seed: int, **counts: int) -> None:
    if not fractions or not all(0 < p < 1 for p in fractions):
        raise OptionError(f"fractions must lie between 0 and 1; given {tuple(fractions)}")
    if seed < 0:
        raise OptionError(f"the seed must not be negative; given {seed}")
    for name, count in counts.items():
        if count < 1:
            raise OptionError(f"{name} must be at least 1; given {count}")
