"""What an explanation tells besides its heat: what a reader must know, and how to repeat it."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from math import isinf
from typing import Any

import numpy as np

from vidcam.explaining.gathering import Gathered
from vidcam.explaining.instants import OverTime
from vidcam.explaining.plan import Plan
from vidcam.explaining.targets import Targets
from vidcam.explaining.windows import Stream
from vidcam.media.files import digest
from vidcam.media.timeline import moment
from vidcam.models.carrying import notes_on_state
from vidcam.models.model import Model

FEW = 4
"""A map of so few cells is said to be coarse."""
MOST = 0.95
"""Of answers at each time step: where less of their heat lies on their own frames, that is said."""


def notes(plan: Plan, stream: Stream, gathered: Gathered, targets: Targets) -> Iterator[str]:
    """Say what a reader of the pictures must know, whatever the score."""
    yield from stream.video.notes
    yield from plan.placing.notes
    yield from _of_the_source(plan, stream, gathered.padding)
    yield from _of_the_layer(plan)
    yield from notes_on_state(plan.model)
    yield from _over_time(plan.over_time, gradients=plan.method.uses_gradient)
    yield from _of_as_many(plan.model, gathered)
    if targets.of_classes and plan.ending and plan.method.uses_score:
        yield f"the network ends in a {plan.ending}: what goes into it is explained, not the probability"
    if targets.of_classes and plan.bounded and plan.model.activation in (None, "none") and plan.method.uses_score:
        yield (
            "what the network returns lies within 0 and 1, and no softmax or sigmoid was found that it came out of: of "
            "probabilities the map fades where the network is sure; output= can say where scores are, activation= what "
            "these numbers are"
        )
    if not targets.of_classes:
        yield from _of_frames(plan.model, gathered, targets, len(stream.seconds))
    yield from plan.model.notes


def _of_the_source(plan: Plan, stream: Stream, padding: int) -> Iterator[str]:
    frames, view = plan.model.frames, plan.view(stream.video.info)
    yield from _of_gaps(stream, padding)
    has_gap = max(np.diff(stream.seconds), default=0) > stream.gap
    if stream.is_spread:
        yield from _of_spread_frames(plan.model, len(stream.seconds), padding)
    elif padding and not has_gap and stream.apart:
        yield f"the last window has {frames - padding} of {frames} frames: its last frame was repeated"
    elif padding and not has_gap:
        yield (
            f"the video gives {frames - padding} frames at {stream.rate:g} per second, but the network's window has "
            f"{frames}: the last frame was repeated"
        )
    if not view.covers_source:
        left, top, right, bottom = (round(edge + 0.5) for edge in view.region)
        yield (
            f"the network sees pixels {left} to {right} of {view.source[1]} across and {top} to {bottom} of "
            f"{view.source[0]} down (its own crop); outside there is no heat"
        )


def _of_spread_frames(model: Model, frames: int, padding: int) -> Iterator[str]:
    """Say what a network was shown of the whole video."""
    clips = (
        f"{model.clips} clips of {model.frames} frames, which interleave"
        if model.clips > 1
        else f"{model.frames} frames"
    )
    yield (
        f"the network was shown {clips}, spread evenly over the time of the whole video; what is said of the frames "
        "between them is interpolated"
    )
    if padding:
        yield f"the video has {frames} frames: some were shown to the network several times"


def _of_gaps(stream: Stream, padding: int) -> Iterator[str]:
    """Say where for longer than a window there is no frame."""
    steps = np.diff(stream.seconds)
    gaps = np.flatnonzero(steps > stream.gap)
    if not len(gaps):
        return
    if len(gaps) == len(steps) and not stream.is_spread:
        yield f"{moment(steps.min())} s and more lie between frames: the network saw each alone, as a still picture"
        return
    longest = gaps[steps[gaps].argmax()]
    more = f" (the longest of {len(gaps)} gaps)" if len(gaps) > 1 else ""
    padded = "; where that is shorter than a window, its last frame was repeated" if padding else ""
    padded += "; the network's state was carried across" if stream.apart else ""
    said = f"the network saw what lies before and after apart{padded}"
    said = f"of such a time {stream.gap:g} s count where frames are spread over the video" if stream.is_spread else said
    start, end = (moment(seconds) for seconds in stream.seconds[longest : longest + 2])
    yield f"from {start} s to {end} s there is no frame{more}: {said}"


def _of_the_layer(plan: Plan) -> Iterator[str]:
    frames, placing, time = plan.model.frames, plan.placing, plan.placing.axes.get("t")
    for layer, reading in plan.readings.items():
        if reading.layer != layer:
            yield f"layer {layer!r} returns several tensors: {reading.layer!r} is explained"
    if time is not None and time.extent > max(2 * time.stride, 2):
        sees = f"{time.extent:g}" if time.extent < frames else "all"
        yield (
            f"each slot of {plan.layer!r} can see {sees} of a window's {frames} frames"
            + (f"; {plan.when!r} tells when" if plan.when else ", so which frame is soft")
        )
    reading = plan.readings[plan.layer]
    if reading.tokens is not None and reading.tokens.mixed:
        yield (
            f"the tokens of {plan.layer!r} are mixed: their order is that in which they stood before the first block"
        )
    if reading.assumed and not callable(plan.model.grid):
        yield (
            f"the order of the tokens of {plan.layer!r} could not be measured: they are taken to run over time, then "
            "rows, then columns, with tokens of no place in front"
        )
    if plan.silent:
        yield (
            f"in {plan.silent} window(s) {plan.when!r} tells no frame from another; there the heat of {plan.layer!r} "
            "stands alone"
        )
    if len(plan.model.inputs) > 1 and plan.model.prefix_of(plan.layer) is None:
        yield (
            f"layer {plan.layer!r} is taken to look at input {plan.model.input_of(plan.layer)!r}, the first one; "
            "sees= says otherwise"
        )
    assert placing.rows is not None and placing.columns is not None  # a window was explained
    if plan.method.cells == "layer" and (cells := len(placing.rows) * len(placing.columns)) <= FEW:
        say = "one cell: its heat says nothing of where" if cells == 1 else f"{cells} cells: its heat is very coarse"
        yield f"layer {plan.layer!r} has {say}"


def _of_as_many(model: Model, gathered: Gathered) -> Iterator[str]:
    """Say that numbers taken for classes may be those of frames."""
    classes = len(next(iter(gathered.probabilities.values()), ()))
    said = model.answer_layout is not None or model.labels or gathered.answers
    if not said and classes == model.frames > FEW:
        yield (
            f"the network returns as many numbers as it sees frames, {classes}, which are taken for classes; "
            "answer_layout='b t' says that they are one per frame, 'b k' or labels= that they are classes"
        )


def _over_time(explained: OverTime, *, gradients: bool) -> Iterator[str]:
    """Say what the heat of answers at each time step is, and what it leaves out."""
    if not explained.steps:
        return
    cost = "backward passes" if gradients else "runs of the method"
    yield (
        f"the network answers at each of {explained.steps} time steps: of a target without a time, a frame's heat is "
        f"that of the score at its own step, by {explained.steps} {cost} for each window and score"
    )
    if explained.own < MOST * explained.whole:
        yield (
            f"{1 - explained.own / explained.whole:.0%} of the heat of all steps lies on frames of other steps, and is "
            'not shown: a target at a time, as "NAME@SECONDS", shows all that its answer was made from'
        )


def _of_frames(model: Model, gathered: Gathered, targets: Targets, frames: int) -> Iterator[str]:
    """Say which frames a regressor told of."""
    known = sorted(gathered.told_frames)
    if gathered.alone and model.frames > 1:
        yield (
            f"the network stacks {model.frames} frames; the map lies on number {model.frames // 2 + 1} of them. The "
            f"first {known[0]} and last {frames - 1 - known[-1]} frames show the map of the nearest frame that has one"
        )
        if any(len(set(own)) < len(own) for own in gathered.samples.values()):
            yield "at the network's frame rate, frames of the source are repeated: what it says of motion is too little"
    if len(known) < known[-1] - known[0] + 1 and model.sampling == "windows":
        yield f"the network saw {len(known)} of {frames} frames; what is said of the others is interpolated"
    if targets.truth is not None and not gathered.alone and model.frames > 1:
        yield "the loss of a window is against the truth of its middle frame"


def provenance(plan: Plan, stream: Stream) -> dict[str, Any]:
    """Collect what is needed to repeat the run."""
    model, info = plan.model, stream.video.info
    geometry = {
        axis: {"stride": a.stride, "center": a.center, "extent": None if isinf(a.extent) else a.extent}
        for axis, a in plan.placing.axes.items()
    }
    versions = {"python": platform.python_version(), "vidcam": sys.modules["vidcam"].__version__}  # of what runs here
    return {
        "source": None if info.path is None else str(info.path.resolve()),
        "source_digest": None if info.path is None else digest(info.path),
        "model": model.name,
        "options": dict(model.options),
        "weights": model.weights,
        "model_digest": model.digest,
        "layer": plan.layer,
        "when": plan.when,
        "method": plan.method.name,
        "pooling": plan.pooling,
        "placement": list(plan.placing.placement),
        "geometry": geometry,
        "knows_time": plan.has_time,
        "window_frames": model.frames,
        "state": model.state,
        "sampling": model.sampling,
        "clips": model.clips,
        "frame_rate": None if stream.is_spread else stream.rate,
        "hop_frames": stream.hop,
        "backend": info.backend,
        "device": str(model.device),
        "versions": versions | {name: version(name) for name in ("torch", "torchvision", "av", "numpy")},
    }
