"""What an explanation tells besides its heat: where its cells lie in the source, what to know, how to repeat it."""

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from math import isinf
from pathlib import Path
from typing import Any

import numpy as np

from vidcam.explaining.plan import Plan
from vidcam.explaining.windows import Stream
from vidcam.media.digest import digest

FEW = 4
"""A map of so few cells is said to be coarse."""


def on_source(plan: Plan, stream: Stream, frames: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the fields of an explanation that say how its heat lies in the source, and where it came from.

    Args:
        plan: after a first window was laid.
        stream: after it was read to its end.
        frames: the source's frame of every sample, per window, in the order of time.
    """
    assert plan.rows is not None and plan.columns is not None  # at least one window was explained
    info, view, seconds = stream.video.info, stream.view, np.array(stream.seconds)
    return {
        "seconds": seconds,
        "rows": view.to_source(plan.rows, 0),
        "columns": view.to_source(plan.columns, 1),
        "spread": plan.spread,
        "region": view.region,
        "width": info.width,
        "height": info.height,
        "rate": info.rate,
        "windows": np.array([(seconds[own[0]], seconds[own[-1]] + 1 / stream.rate) for own in frames]),
        "provenance": _provenance(plan, stream),
    }


def notes(plan: Plan, stream: Stream, padding: int) -> Iterator[str]:
    """Say what a reader of the picture must know."""
    frames, view, time = plan.model.frames, stream.view, plan.axes.get("t")
    yield from plan.notes
    if padding:
        yield (
            f"the video gives {frames - padding} frames at {stream.rate:g} per second, but the network's window has "
            f"{frames}: the last frame was repeated"
        )
    promised, decoded = stream.video.info.frame_count, len(stream.seconds)
    if promised is not None and decoded < promised - 1:  # a packed AVI's header counts one too many
        yield f"the file promises {promised} frames, but only {decoded} could be read: it may be cut off"
    if not view.covers_source:
        left, top, right, bottom = (round(edge + 0.5) for edge in view.region)
        yield (
            f"the network sees pixels {left} to {right} of {view.source[1]} across and {top} to {bottom} of "
            f"{view.source[0]} down (its own crop); outside there is no heat"
        )
    if time is not None and time.extent > max(2 * time.stride, 2):
        sees = f"{time.extent:g}" if time.extent < frames else "all"
        yield (
            f"each slot of {plan.layer!r} can see {sees} of a window's {frames} frames"
            + (f"; {plan.when!r} tells when" if plan.when else ", so which frame is soft")
        )
    if plan.silent:
        yield (
            f"in {plan.silent} window(s) {plan.when!r} tells no frame from another; there the heat of {plan.layer!r} "
            "stands alone"
        )
    if plan.rows is not None and plan.columns is not None and (cells := len(plan.rows) * len(plan.columns)) <= FEW:
        say = "one cell: its heat says nothing of where" if cells == 1 else f"{cells} cells: its heat is very coarse"
        yield f"layer {plan.layer!r} has {say}"


def _provenance(plan: Plan, stream: Stream) -> dict[str, Any]:
    """Collect what is needed to repeat the run."""
    model, info = plan.model, stream.video.info
    geometry = {
        axis: {"stride": a.stride, "center": a.center, "extent": None if isinf(a.extent) else a.extent}
        for axis, a in plan.axes.items()
    }
    packages = ("vidcam", "torch", "torchvision", "av", "numpy")
    return {
        "source": str(Path(info.path).resolve()),
        "source_digest": digest(info.path),
        "model": model.name,
        "options": dict(model.options),
        "weights": model.weights,
        "model_digest": model.digest,
        "layer": plan.layer,
        "when": plan.when,
        "method": plan.method,
        "pooling": plan.pooling,
        "placement": list(plan.placement),
        "geometry": geometry,
        "window_frames": model.frames,
        "frame_rate": stream.rate,
        "hop_frames": stream.hop,
        "backend": info.backend,
        "device": str(model.device),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }
