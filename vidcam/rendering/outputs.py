"""What a run leaves behind: the explanation, its pictures and video, and how to repeat it."""

import json
from pathlib import Path
from typing import Any, TypeGuard

from vidcam.errors import MediaError
from vidcam.explaining.explanation import Explanation, RegressionExplanation
from vidcam.media.staging import staged
from vidcam.rendering import contact_sheet, render, render_drive, timeline
from vidcam.types import Progress

NAMES = ("explanation.npz", "overlay.mp4", "frames.png", "timeline.png", "run.json")
DRIVE = "drive.mp4"
"""The driving video, of networks that tell motion or depth."""
APART_SECONDS = 0.25
"""Between the frames of the sheet: neighbors look alike and would fill it."""


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
    names = (*NAMES, DRIVE) if _drives(explanation) else NAMES
    with staged(directory, names, force=force) as part:
        explanation.save(part / "explanation.npz")
        said = render(explanation, part / "overlay.mp4", progress=progress, **look or {})
        if _drives(explanation):
            said = (*said, *render_drive(explanation, part / DRIVE))
        contact_sheet(explanation, part / "frames.png", apart_seconds=APART_SECONDS)
        timeline(explanation, part / "timeline.png")
        run = {"options": options, "explanation": explanation.summary(), "notes": [*explanation.notes, *said]}
        (part / "run.json").write_text(json.dumps(run, indent=2, default=str) + "\n", encoding="utf-8")
    return [directory / name for name in names], said


def _drives(explanation: Explanation) -> TypeGuard[RegressionExplanation]:
    """Tell whether there is a way or a depth to draw."""
    if not isinstance(explanation, RegressionExplanation):
        return False
    return explanation.poses is not None or explanation.depth is not None


def _check_apart(source: str | None, directory: Path) -> None:
    """Never write over the source, nor among its frames, whatever `force` says."""
    if source is not None and directory.exists() and Path(source).is_dir() and directory.samefile(source):
        raise MediaError(f"{directory} is the folder of frames itself; choose another directory for the results")
    for path in (directory / name for name in (*NAMES, DRIVE)):
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise MediaError(f"{path} is the source itself; choose another directory for the results")


def describe(explanation: Explanation, video: str, outputs: list[Path]) -> dict[str, Any]:
    """Return the facts of a run that a program wants."""
    says: dict[str, Any] = {"probability": round(explanation.probability, 6)}
    if isinstance(explanation, RegressionExplanation):
        says = {"mean": float(explanation.values.mean()), "vanishing_frames": int(explanation.is_vanishing.sum())}
    return {
        "video": video,
        "target": explanation.target_name,
        **says,
        "frames": len(explanation.heat),
        "size": [explanation.width, explanation.height],
        "duration_seconds": round(explanation.duration_seconds, 6),
        "outputs": [str(path) for path in outputs],
    }
