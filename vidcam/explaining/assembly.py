"""The explanation that is assembled from what the windows gave."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from vidcam.explaining.explanation import Explanation
from vidcam.explaining.gathering import Gathered
from vidcam.explaining.mapping import blend
from vidcam.explaining.notes import notes, provenance
from vidcam.explaining.plan import Plan
from vidcam.explaining.targets import Key, Targets
from vidcam.explaining.windows import Stream
from vidcam.models.model import Model
from vidcam.models.source import Source
from vidcam.types import Floats

WEAK = 0.01
"""A gradient so small, as a share of the sequence's large ones (the 95th percentile), vanishes."""
POWERLESS = 1e-4
"""A loss of which the whole layer moves so small a share, to first order, has a gradient that vanishes."""
PERFECT = 1e-6
"""A loss that is so small a share of what knowing nothing costs has a gradient that vanishes, too."""


def assemble(
    plan: Plan, stream: Stream, source: Source[Model], targets: Targets, gathered: Gathered, *, shown: Key, signed: bool
) -> Explanation:
    """Blend the windows and map everything back to the source."""
    info, seconds = stream.video.info, np.array(stream.seconds)
    held: dict[Key, list[int]] = {
        key: at.holding(gathered.frames, seconds, gathered.heat[key]) for key, (_, at) in targets.times.items()
    }
    assert plan.placing.rows is not None and plan.placing.columns is not None  # at least one window was explained
    view = plan.view(info)
    if targets.truth is not None:
        targets.truth.check_length(len(seconds))
    keys, columns = targets.keys, _Columns(targets, gathered)
    nearest = plan.placing.time_mode == "nearest"
    on_frames = partial(blend, frames=gathered.frames, seconds=seconds, nearest=nearest)
    numbers = np.stack([on_frames(_repeated(gathered, key, held.get(key))) for key in keys])  # (S, F, 4)
    starts = gathered.voting
    whole = (0, -1) if stream.is_spread else None
    spans = [whole or gathered.samples[start] for start in starts]
    explanation = Explanation(
        maps=np.stack([_map(gathered, key, held.get(key), on_frames) for key in keys]).astype(np.float32),
        explained=tuple(map(columns.of, keys)),
        target=columns.of(shown),
        labels=columns.labels,
        classes=columns.classes,
        units=() if targets.of_classes else tuple(plan.model.units.get(name, "") for name in columns.labels),
        probabilities=columns.per_window(starts),
        outputs=numbers[..., 0].T,
        gradients=numbers[..., 1],
        vanishing=_vanishing(numbers, never=targets.of_classes or not plan.method.uses_gradient),
        signed=signed,
        seconds=seconds,
        rows=view.to_source(plan.placing.rows, 0),
        columns=view.to_source(plan.placing.columns, 1),
        spread=plan.placing.spread,
        region=view.region,
        width=info.width,
        height=info.height,
        rate=info.rate,
        windows=np.array([(seconds[own[0]], seconds[own[-1]] + 1 / stream.rate) for own in spans]),
        extras=_answers(gathered, on_frames)
        | dict(_extras(plan.model, gathered, on_frames, len(seconds)))
        | dict(source.beside),
        provenance=provenance(plan, stream),
        notes=tuple(notes(plan, stream, gathered, targets)),
        video=stream.video if info.path is None else None,
        seen=np.isin(np.arange(len(seconds)), [*gathered.told_frames]),
    )
    return replace(explanation, notes=(*explanation.notes, *explanation.score_notes))


@dataclass(frozen=True)
class _Columns:
    """The columns of an explanation: a classifier's classes and what the user asked beside, or a regressor's scores."""

    targets: Targets
    gathered: Gathered

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(next(iter(self.gathered.probabilities.values()), ()))

    @property
    def named(self) -> list[str]:
        """The scores that are no classes."""
        return [key for key in self.targets.keys if isinstance(key, str)]

    @property
    def labels(self) -> tuple[str, ...]:
        """(K,) names of all columns, or none."""
        classes = tuple(self.targets.model.labels) if self.classes else ()
        if self.named and self.classes and not classes:
            classes = tuple(map(str, range(self.classes)))
        return (*classes, *self.named)

    def of(self, key: Key) -> int:
        """Return the column of a score."""
        return self.classes + self.named.index(key) if isinstance(key, str) else key

    def per_window(self, starts: Sequence[int]) -> Floats:
        """(N, K) what the network says in every window."""
        numbers = self.gathered.numbers
        rows = [
            np.append(self.gathered.probabilities.get(start, ()), [_value(numbers[name], start) for name in self.named])
            for start in starts
        ]
        return np.stack(rows) if self.named else np.stack([self.gathered.probabilities[start] for start in starts])


OnFrames = Callable[[Mapping[int, Floats]], Floats]


def _value(numbers: Mapping[int, Floats], start: int) -> float:
    """Return the value of a score in a window, the mean of its steps; of one at a time, which others hold, theirs."""
    told = [numbers[start]] if start in numbers else [*numbers.values()]
    return float(np.mean([own[..., 0].mean() for own in told]))


def _map(gathered: Gathered, key: Key, held: Sequence[int] | None, on_frames: OnFrames) -> Floats:
    """Lay the heat of a score on the source's frames; that of one time lies within the windows that hold it."""
    if held is None:
        return on_frames(gathered.heat[key])
    heat = on_frames({start: gathered.heat[key][start] for start in held})
    within = [frame for start in held for frame in gathered.frames[start]]
    heat[: min(within)] = heat[max(within) + 1 :] = 0
    return heat


def _answers(gathered: Gathered, on_frames: OnFrames) -> dict[str, Floats]:
    """Return the (F, K) probabilities of a classifier that answers at each time step."""
    return {"answers": on_frames(gathered.answers)} if gathered.answers else {}


def _repeated(gathered: Gathered, key: Key, held: Sequence[int] | None) -> dict[int, Floats]:
    """Return a score's numbers for each slot of every window, (T, 4); the value of a class is its probability."""
    rows = {}
    for start in gathered.numbers[key] if held is None else held:
        numbers = gathered.numbers[key][start]
        told = np.broadcast_to(numbers, (len(gathered.frames[start]), len(numbers.T))).copy()
        if not isinstance(key, str):
            each = gathered.answers.get(start)
            told[:, 0] = (gathered.probabilities[start] if each is None else each)[..., key]
        rows[start] = told
    return rows


def _vanishing(numbers: Floats, *, never: bool) -> npt.NDArray[np.bool_]:
    """(S, F, 4) -> (S, F): tell where a gradient is too small for its map to mean anything."""
    values, gradients, pulls, references = np.moveaxis(numbers, 2, 0)
    if never:
        return np.zeros(values.shape, bool)
    usual, reference = np.percentile(gradients, 95, axis=1, keepdims=True), references.mean(axis=1, keepdims=True)
    perfect = (reference > 0) & (values <= PERFECT * reference)
    gone: npt.NDArray[np.bool_] = (gradients <= WEAK * usual) | (pulls < POWERLESS * reference) | perfect
    return gone


def _extras(model: Model, gathered: Gathered, on_frames: OnFrames, frames: int) -> Iterator[tuple[str, Floats]]:
    """Yield what the network tells beside its answer, a row per frame of the source."""
    for name, parts in gathered.extras.items():
        join = model.told[name].join
        if join is None:
            if model.told[name].read is model.attention:  # a window of one frame gives it all that there is
                parts = {start: parts[start] for start in gathered.voting}
            rows = on_frames(parts)
            yield name, rows if rows.ndim == 1 else rows.astype(next(iter(parts.values())).dtype)
        elif len(joined := join(np.stack([parts[start] for start in sorted(parts)]))) == frames:
            yield name, joined  # where the network's frames are not the source's, there is none
