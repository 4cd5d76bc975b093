"""rank(): which frames matter most, by the network's own attention and by what can be measured, side by side."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from vidcam.attribution.attention import contribution, find_context
from vidcam.attribution.geometry import find_placement
from vidcam.attribution.steps import OVER_TIME
from vidcam.errors import OptionError
from vidcam.explaining.agreement import Agreement, agreements, verdict
from vidcam.explaining.choices import RANKINGS, Choices, Comparison
from vidcam.explaining.explain import explained
from vidcam.explaining.explanation import Explanation
from vidcam.explaining.mapping import blend, of_whole_frames
from vidcam.explaining.memory import Room
from vidcam.explaining.shown import Clip, Kept, leave_out, mean_kept, measure_kept
from vidcam.explaining.targets import find_targets
from vidcam.explaining.windows import Stream, voting
from vidcam.media import replacing
from vidcam.models.carrying import begun, one_by_one, refuse_carried
from vidcam.models.model import Model
from vidcam.options import takes
from vidcam.types import Floats, Progress


class RankedFrame(NamedTuple):
    """A frame of the source and its score."""

    index: int  # type: ignore[assignment]  # it hides tuple.index, which nobody asks of a frame
    seconds: float
    score: float


@dataclass(frozen=True)
class Ranking:
    """Frames in the order of their scores, by every ranking that the network allows."""

    by: str
    """The ranking that was asked for."""
    scores: dict[str, Floats]
    """(F,) score of every source frame, per ranking; those that the network did not see are interpolated."""
    seen: npt.NDArray[np.bool_]
    """(F,) which frames went through the network beside others: only these are ranked."""
    agreements: tuple[Agreement, ...]
    """What every two rankings share, over the seen frames."""
    kept: Kept
    """The score when only the first k frames are shown, against k random ones."""
    explanation: Explanation
    """Whose heat it is, and on which class all scores are."""
    notes: tuple[str, ...] = ()
    """What a reader must know: why a ranking is missing."""

    @property
    def frames(self) -> tuple[RankedFrame, ...]:
        """All seen frames, the one that matters most first; ties take the earlier."""
        scores, seconds = self.scores[self.by], self.explanation.seconds
        order = sorted(np.flatnonzero(self.seen).tolist(), key=lambda i: (-scores[i], i))
        return tuple(RankedFrame(i, float(seconds[i]), float(scores[i])) for i in order)

    def top(self, k: int = 5) -> tuple[RankedFrame, ...]:
        """Return the first k frames."""
        if k < 1:
            raise OptionError(f"top needs k of at least 1; given {k}")
        return self.frames[:k]

    @property
    def verdict(self) -> str:
        """How far the rankings agree, in a sentence."""
        return verdict(self.agreements, claim="attention", factor_of=["contribution"])

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the explanation's arrays, as JSON knows it; undefined correlations are None."""
        return {
            "by": self.by,
            "target": self.explanation.target_name,
            "verdict": self.verdict,
            "frames": [
                {"index": f.index, "seconds": f.seconds} | {by: float(s[f.index]) for by, s in self.scores.items()}
                for f in self.frames
            ],
            "agreements": [
                {key: None if isinstance(x, float) and isnan(x) else x for key, x in pair._asdict().items()}
                for pair in self.agreements
            ],
            "kept": self.kept.as_dict(),
            "notes": list(self.notes),
            "explanation": self.explanation.summary(),
        }

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write `as_dict` as JSON, the first frame first; an existing file needs `force`."""
        text = json.dumps(self.as_dict(), indent=2, default=str)
        with replacing(path, force=force) as part:
            part.write_text(text + "\n", encoding="utf-8")
        return Path(path)


@takes(Comparison, Choices)
def rank(
    model: Model,
    source: object,
    *,
    rate: Fraction | float | None = None,
    target: int | str | None = None,
    comparison: Comparison,
    choices: Choices,
    progress: Progress | None = None,
) -> Ranking:
    """Rank the frames of a video in every way that the network allows, and tell how far the ways agree.

    The video is streamed three times: for the explanation, for contribution and leave_out, and for the scores that
    are kept. Beside the explanation, a window of T frames costs T + 1 forwards for leave_out, one and a backward for
    contribution, and (rankings + draws) times the numbers in `shown` for the kept scores, less those that are alike.
    Without `batch`, 4 clips go through a CPU at once and 16 through a GPU.

    Args:
        model: from `load_model`, or `Model(net, layer=...)`; it is left as it was found.
        source: as in `explain`.
        rate: as in `explain`.
        target: as in `explain`.
        progress: called after every frame that was read, in each of the three turns.

    Raises:
        OptionError: no such ranking, or the network does not allow it.
        VidcamError: whatever `explain` raises.
    """
    _check(model, comparison)
    batch = one_by_one(model, choices.batch) or (16 if model.device.type == "cuda" else 4)
    opened = model.open(source, rate=rate)
    model = opened.model  # with what belongs to this source
    with begun(model), opened.video(choices.backend) as video:
        stream = Stream(video, model, choices.hop_seconds, 1, progress)
        room = Room(model, batch, chosen=choices.batch is not None)
        context = _find_context(model, stream, comparison.by, room)
        targets = find_targets(opened, target, 1, None, None)
        if other := [key for key in targets.keys if isinstance(key, str)]:
            raise OptionError(f"frames are ranked by what they do for a class; given {other[0]!r}")
        explanation = explained(opened, targets, choices, batch=batch, progress=progress)
        nearest = find_placement(choices.placement[0]).mode == "nearest"
        scores, frames = _score_frames(stream, explanation, context, room, nearest=nearest)
        with _clips(stream, explanation.target) as clips:
            k = [n for n in comparison.shown if n < model.frames]
            drawn = {"draws": comparison.draws, "seed": comparison.seed}
            kept = [measure_kept(clip, room, scores, k=k, **drawn) for clip in clips if clip.start in voting(frames)]
    assert explanation.seen is not None  # it was not loaded
    seen = explanation.seen & np.isin(np.arange(len(scores["heat"])), [i for w in voting(frames) for i in frames[w]])
    return Ranking(
        by=comparison.by,
        scores=scores,
        seen=seen,
        agreements=agreements({name: values[seen] for name, values in scores.items()}),
        kept=mean_kept(kept),
        explanation=explanation,
        notes=_notes(model, context),
    )


def _check(model: Model, comparison: Comparison) -> None:
    """Refuse what the network cannot do before it runs."""
    refuse_carried(model, "rank runs changed versions of each window")
    if model.answer_layout in OVER_TIME:
        raise OptionError(
            f"frames are ranked by one answer per window, and {model.name} answers at each time step; output= and "
            "answer_layout= of the model can make it one, as lambda output: output.mean(1) and 'b k'"
        )
    if model.scores:
        raise OptionError(f"frames are ranked by what they do for a class, and {model.name} is a regressor")
    if comparison.by in ("attention", "contribution") and model.attention is None:
        raise OptionError(f"{model.name} has no attention, so no ranking by {comparison.by}; possible: heat, leave_out")


def _find_context(model: Model, stream: Stream, by: str, room: Room) -> str | None:
    """Name the module that returns the context, if there is attention and such a module."""
    if model.attention is None:
        return None
    attention = model.attention
    with _clips(stream, 0) as clips:
        (context,) = room.run([next(clips)], lambda one: find_context(model.net, one[0].batch(model), attention))
    if context is None and by == "contribution":
        possible = "attention, heat, leave_out"
        raise OptionError(f"{_no_context(model)}, so no ranking by contribution; possible: {possible}")
    return context


def _no_context(model: Model) -> str:
    return f"no module of {model.name} is given states and returns their sum weighted by attention"


def _notes(model: Model, context: str | None) -> tuple[str, ...]:
    if model.attention is None:
        return (f"{model.name} has no attention: frames are ranked by heat and leave_out alone",)
    return () if context is not None else (f"{_no_context(model)}: there is no ranking by contribution",)


@contextmanager
def _clips(stream: Stream, target: int) -> Iterator[Iterator[Clip]]:
    """Give every window as a clip; the reading ends with the context."""
    with closing(iter(stream)) as groups:
        yield (
            Clip(w.start, tuple(fed.index for fed in w.items), tuple(fed.pixels for fed in w.items), target)
            for group in groups
            for w in group
        )


def _score_frames(
    stream: Stream, explanation: Explanation, context: str | None, room: Room, *, nearest: bool
) -> tuple[dict[str, Floats], dict[int, tuple[int, ...]]]:
    """Return every ranking's scores (F,), in the order of `RANKINGS`, and the frames of each window."""
    model, target, seconds = stream.model, explanation.target, explanation.seconds
    parts: dict[str, dict[int, Floats]] = {"contribution": {}, "leave_out": {}}
    frames: dict[int, tuple[int, ...]] = {}
    with _clips(stream, target) as clips:
        for clip in clips:
            frames[clip.start] = clip.frames
            parts["leave_out"][clip.start] = leave_out(clip, room)
            if context is not None:
                own = _contribution(model, clip, context, room)
                parts["contribution"][clip.start] = of_whole_frames(own, clip.frames)
    rankings = {
        name: blend({start: part[start] for start in voting(frames)}, frames, seconds, nearest=nearest)
        for name, part in parts.items()
        if part
    }
    rankings["heat"] = explanation.frame_scores
    if explanation.attention is not None:
        rankings["attention"] = explanation.attention
    return {name: rankings[name] for name in RANKINGS if name in rankings}, frames


def _contribution(model: Model, clip: Clip, context: str, room: Room) -> Floats:
    """Return the signed contributions of a clip's samples, (T,)."""
    assert model.attention is not None  # there is no context without
    attention, score = model.attention, model.class_score(clip.target)

    def ask(one: Sequence[Clip]) -> Tensor:
        return contribution(model.net, one[0].batch(model), layer=context, attention=attention, score=score)

    (shares,) = room.run([clip], ask)
    numbers: Floats = shares[0].float().cpu().numpy()
    return numbers
