"""What a run leaves behind: one table of files, written together or not at all."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidcam.errors import MediaError
from vidcam.explaining.explanation import Explanation
from vidcam.media.files import staged
from vidcam.rendering.chart import timeline
from vidcam.rendering.drive import render_drive
from vidcam.rendering.sheet import contact_sheet
from vidcam.rendering.video import render
from vidcam.types import Progress

APART_SECONDS = 0.25
"""Between the frames of the sheet: neighbors look alike and would fill it."""
MOTION = frozenset({"poses", "depth"})


@dataclass
class RunFiles:
    """What the files of a run are made of."""

    explanation: Explanation
    options: dict[str, Any]
    """Those of the run, for `run.json`."""
    look: dict[str, Any] = field(default_factory=dict)
    """Options of `render`."""
    progress: Progress | None = None
    source: Path | None = None
    """Where the source lies meanwhile, if not where the explanation says."""
    said: list[str] = field(default_factory=list)
    """What a viewer must know of the files so far."""


@dataclass(frozen=True)
class Output:
    """A file that a run writes."""

    name: str
    about: str
    write: Callable[[RunFiles, Path], Sequence[str] | None]
    """Writes it to a path, and returns what a viewer must know."""
    extras: frozenset[str] = frozenset()
    """One of these the explanation must hold, if there are any."""


def _npz(run: RunFiles, path: Path) -> None:
    run.explanation.save(path)


def _overlay(run: RunFiles, path: Path) -> Sequence[str]:
    return render(run.explanation, path, source=run.source, progress=run.progress, **run.look)


def _drive(run: RunFiles, path: Path) -> Sequence[str]:
    return render_drive(run.explanation, path, source=run.source)


def _frames(run: RunFiles, path: Path) -> None:
    contact_sheet(run.explanation, path, source=run.source, apart_seconds=APART_SECONDS)


def _timeline(run: RunFiles, path: Path) -> None:
    timeline(run.explanation, path)


def _json(run: RunFiles, path: Path) -> None:
    notes = [*run.explanation.notes, *run.said]
    facts = {"options": run.options, "explanation": run.explanation.summary(), "notes": notes}
    path.write_text(json.dumps(facts, indent=2, default=str) + "\n", encoding="utf-8")


OUTPUTS: tuple[Output, ...] = (
    Output("explanation.npz", "the heat, raw, and all that is needed to draw it again", _npz),
    Output("overlay.mp4", "the source with its heat, at its own size, frame rate and sound", _overlay),
    Output("frames.png", "the hottest frames", _frames),
    Output("timeline.png", "frame importance and what the network says, over time", _timeline),
    Output("drive.mp4", "frame, heat, depth and the way so far, of networks that tell them", _drive, MOTION),
    Output("run.json", "how to repeat the run, and what a reader must know", _json),
)
"""Every file of a run, in the order in which they are written. To add one, write its function and its row."""
NAMES = tuple(output.name for output in OUTPUTS)


def names(extras: Collection[str] = ()) -> list[str]:
    """Name the files that a run writes where the network tells these extras."""
    return [output.name for output in OUTPUTS if not output.extras or output.extras & set(extras)]


def write_outputs(
    explanation: Explanation,
    directory: Path,
    *,
    options: dict[str, Any],
    look: dict[str, Any] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Path], tuple[str, ...]]:
    """Write all files of a run, together or not at all; return their paths and what a reader must know.

    Args:
        explanation: what `explain` returned.
        directory: where to; it is made if need be.
        options: the options of the run, for `run.json`.
        look: options of `render`.
        force: whether to replace files of an earlier run.
        progress: called after every frame that was drawn.
    """
    _check_apart(explanation.provenance.get("source"), directory)
    run = RunFiles(explanation, options, look or {}, progress)
    chosen = names(explanation.extras)
    with staged(directory, chosen, force=force) as part:
        fill(run, part)
    return [directory / name for name in chosen], tuple(run.said)


def fill(run: RunFiles, part: Path) -> None:
    """Write all files of a run into a temporary folder."""
    chosen = names(run.explanation.extras)
    for output in (output for output in OUTPUTS if output.name in chosen):
        run.said += output.write(run, part / output.name) or ()


def _check_apart(source: str | None, directory: Path) -> None:
    """Never write over the source, nor among its frames, whatever `force` says."""
    if source is not None and directory.exists() and Path(source).is_dir() and directory.samefile(source):
        raise MediaError(f"{directory} is the folder of frames itself; choose another directory for the results")
    for path in (directory / name for name in NAMES):
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise MediaError(f"{path} is the source itself; choose another directory for the results")


def describe(explanation: Explanation, video: str, outputs: list[Path]) -> dict[str, Any]:
    """Return the facts of a run that a program wants."""
    says: dict[str, Any] = {"probability": round(explanation.probability, 6)}
    if not explanation.is_class:
        says = {"mean": float(explanation.values.mean()), "vanishing_frames": int(explanation.is_vanishing.sum())}
    return {
        "video": video,
        "target": explanation.target_name,
        "explained": [explanation.name(column) for column in explanation.explained],
        **says,
        "frames": len(explanation.heat),
        "size": [explanation.width, explanation.height],
        "duration_seconds": round(explanation.duration_seconds, 6),
        "outputs": [str(path) for path in outputs],
    }
