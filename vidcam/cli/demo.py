"""The demo: a clip whose truth is known, explained, and how well the heat hits it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from vidcam.media.files import check_free, staged
    from vidcam.metrics.localization import hits
    from vidcam.rendering.outputs import RunFiles, describe, fill, names

    files = [CLIP, *names()]
    check_free(output, files, force=writing.force)
    clip, path = motion_clip(seed, width=SIZE[0], height=SIZE[1]), output / CLIP
    options, look = {"videos": [str(path.resolve())], "model": "demo"}, {"bar": True, "colorbar": False}
    with progress_bar("demo") as progress, staged(output, files, force=writing.force) as part:
        _write(clip, part / CLIP)
        found = explain(load_model("demo"), part / CLIP, progress=progress)
        explanation = replace(found, provenance={**found.provenance, "source": str(path.resolve())})
        fill(RunFiles(explanation, options, look, progress, source=part / CLIP), part)
    facts = describe(explanation, str(path), [output / name for name in files]) | {"truth": MOTIONS[clip.label]}
    show(facts | hits(explanation, clip.boxes, clip.active).as_dict(), as_json=writing.as_json)


def _write(clip: "SyntheticClip", path: Path) -> None:
    from vidcam.media import VideoWriter

    height, width = clip.pixels.shape[1:3]
    with VideoWriter(path, width=width, height=height, rate=clip.rate) as writer:
        for frame in clip.pixels:
            writer.write(frame)
