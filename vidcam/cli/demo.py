"""The demo: a clip whose truth is known, explained, and how well the heat hits it."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidcam.cli.console import progress_bar, show
from vidcam.cli.options import Writing

if TYPE_CHECKING:
    from vidcam.data.synthetic import SyntheticClip

SEED = 20225
SIZE = (640, 480)
CLIP = "clip.mp4"


def demo(
    writing: Writing,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the video and pictures go.", rich_help_panel="Output")
    ] = Path("vidcam-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the clip; each gives another one.")] = SEED,
) -> None:
    """Make a clip whose truth is known, explain it, and say how well the heat hits. No download, no GPU."""
    from vidcam import explain, load_model
    from vidcam.data.synthetic import MOTIONS, motion_clip
    from vidcam.media.files import check_free, leaving_none_empty, staged
    from vidcam.metrics.localization import hits
    from vidcam.rendering.outputs import describe, names, write_outputs

    check_free(output, (CLIP, *names()), force=writing.force)
    clip, path = motion_clip(seed, width=SIZE[0], height=SIZE[1]), output / CLIP
    options, look = {"videos": [str(path.resolve())], "model": "demo"}, {"bar": True, "colorbar": False}
    with progress_bar("demo") as progress, leaving_none_empty(output), ExitStack() as after_failure:
        after_failure.callback(_put_back, path, path.read_bytes() if path.exists() else None)
        with staged(output, [CLIP], force=writing.force) as part:
            _write(clip, part / CLIP)
        explanation = explain(load_model("demo"), path, progress=progress)
        how: dict[str, Any] = {"options": options, "look": look, "force": writing.force, "progress": progress}
        outputs, _ = write_outputs(explanation, output, **how)
        after_failure.pop_all()
    facts = describe(explanation, str(path), [path, *outputs]) | {"truth": MOTIONS[clip.label]}
    show(facts | hits(explanation, clip.boxes, clip.active).as_dict(), as_json=writing.as_json)


def _put_back(path: Path, clip: bytes | None) -> None:
    """Leave the clip of an earlier demo as it was, or none."""
    if clip is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(clip)


def _write(clip: "SyntheticClip", path: Path) -> None:
    from vidcam.media import VideoWriter

    height, width = clip.pixels.shape[1:3]
    with VideoWriter(path, width=width, height=height, rate=clip.rate) as writer:
        for frame in clip.pixels:
            writer.write(frame)
