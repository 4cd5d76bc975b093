"""The demo: a clip whose truth is known, explained, and how well the heat hits it."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidcam.cli.console import progress_bar, show
from vidcam.cli.options import Writing

if TYPE_CHECKING:
    from vidcam.data.synthetic import SyntheticClip
    from vidcam.types import Progress

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
    with progress_bar("demo") as progress:
        facts = demonstrate(output, seed=seed, force=writing.force, progress=progress)
    show(facts, as_json=writing.as_json)


def demonstrate(
    directory: Path, *, seed: int = SEED, force: bool = False, progress: "Progress | None" = None
) -> dict[str, Any]:
    """Make a clip in which one object moves during a part of the time, and show where the heat is.

    Args:
        directory: where the clip, the video and the pictures go.
        seed: of the clip.
        force: whether to replace files of an earlier demo.
        progress: called after every frame that was read or drawn.

    Returns:
        What `describe` tells, with the truth and the shares of heat in the object's boxes and frames.
    """
    from vidcam import explain, load_model
    from vidcam.data.synthetic import MOTIONS, motion_clip
    from vidcam.media.staging import check_free, leaving_none_empty, staged
    from vidcam.metrics.localization import hits
    from vidcam.rendering.outputs import NAMES, describe, write_outputs

    check_free(directory, (CLIP, *NAMES), force=force)
    clip = motion_clip(seed, width=SIZE[0], height=SIZE[1])
    with leaving_none_empty(directory), ExitStack() as after_failure:
        with staged(directory, [CLIP], force=force) as part:
            _write(clip, part / CLIP)
        after_failure.callback((directory / CLIP).unlink)
        explanation = explain(load_model("demo"), directory / CLIP, progress=progress)
        look = {"bar": True, "colorbar": False}
        options = {"videos": [str((directory / CLIP).resolve())], "model": "demo"}
        outputs, _ = write_outputs(explanation, directory, options=options, look=look, force=force, progress=progress)
        after_failure.pop_all()
    facts = describe(explanation, str(directory / CLIP), [directory / CLIP, *outputs])
    return facts | {"truth": MOTIONS[clip.label]} | hits(explanation, clip.boxes, clip.active).as_dict()


def _write(clip: "SyntheticClip", path: Path) -> None:
    from vidcam.media import VideoWriter

    height, width = clip.pixels.shape[1:3]
    with VideoWriter(path, width=width, height=height, rate=clip.rate) as writer:
        for frame in clip.pixels:
            writer.write(frame)
