"""Draw an explanation onto its video."""

from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np

from vidcam.errors import MediaError
from vidcam.explaining.explanation import Explanation
from vidcam.media import Frame, VideoWriter, prefetch
from vidcam.rendering.coloring import Scale, check_choice, colormap_of, overlay, peak
from vidcam.rendering.scene import FramePanel, Scene, heat_panel, room
from vidcam.rendering.source import frames_of, open_source
from vidcam.rendering.strips import draw_bar, draw_color_scale, type_size
from vidcam.rendering.traits import directions
from vidcam.types import Pixels, Progress

Layout = Literal["overlay", "side_by_side"]
LAYOUTS = ("overlay", "side_by_side")

AHEAD = 4  # frames that are decoded before they are drawn
FLAT = "no frame has any positive heat: the video is drawn without color"


def scene(
    explanation: Explanation,
    *,
    layout: Layout = "overlay",
    colormap: str | None = None,
    opacity: float = 0.6,
    scale: Scale = "video",
    bar: bool = False,
    colorbar: bool = False,
) -> Scene:
    """Draw what stays the same in all frames; the options are those of `render`."""
    check_choice("layout", layout, LAYOUTS)
    layer = overlay(explanation, colormap=colormap, opacity=opacity, scale=scale)
    copies = 2 if layout == "side_by_side" else 1
    blank = room(explanation, copies, copies)
    size = type_size(blank.shape[1])
    if colorbar:
        highest = None if scale == "frame" else peak(explanation)
        ends = directions(explanation) if explanation.signed else None
        legend = draw_color_scale(explanation.height, size, colormap_of(explanation, colormap), highest, ends=ends)
        blank = np.concatenate([blank, legend], axis=1)
    strip = draw_bar(explanation, blank.shape[1]) if bar else None
    if strip is not None:
        blank = np.concatenate([blank, strip.pixels])
    heat = heat_panel(explanation, layer, size)
    return Scene((FramePanel(), heat) if copies == 2 else (heat,), copies, blank, strip)


def render(
    explanation: Explanation,
    path: str | Path,
    *,
    source: str | Path | None = None,
    layout: Layout = "overlay",
    colormap: str | None = None,
    opacity: float = 0.6,
    scale: Scale = "video",
    bar: bool = False,
    colorbar: bool = False,
    audio: bool = True,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write the source with its heat laid over it: the same size, timestamps and sound.

    Args:
        explanation: What to draw.
        path: The video to write; its extension chooses the format.
        source: The video that was explained, if it is no longer where it was.
        layout: `side_by_side` doubles the width: the source at the left, the overlay at the right.
        colormap: Any name that matplotlib knows; by default `turbo`, and `bwr` for heat with a sign.
        opacity: Of the hottest cell, 0 to 1; colder ones have less, and where there is no heat, pixels stay untouched.
        scale: `video` has one scale for all frames; `frame` gives every frame its own and hides which frames matter.
        bar: Add a strip below with the target's probability and the frames' importance over time, or, for a
            regression, its value, the loss and the gradient's size.
        colorbar: Add a strip at the right with the colors and the raw heat that they stand for.
        audio: Carry the source's sound over.
        force: Replace an existing file.
        progress: Called after every frame with the number of frames done and of all frames.

    Returns:
        What a viewer must know, such as padding to an even size.

    Raises:
        OptionError: an unknown layout, colormap or scale, or an opacity outside 0 to 1.
        MediaError: the source is gone or has changed, or the file exists or cannot be written.
        VidcamError: heat that is not finite.
    """
    drawn = scene(
        explanation, layout=layout, colormap=colormap, opacity=opacity, scale=scale, bar=bar, colorbar=colorbar
    )
    return film(drawn, explanation, path, source=source, audio=audio, force=force, progress=progress)


def film(
    scene: Scene,
    explanation: Explanation,
    path: str | Path,
    *,
    source: str | Path | None,
    audio: bool,
    force: bool,
    progress: Progress | None,
) -> tuple[str, ...]:
    """Draw a scene for every frame of the source; the options are those of `render`, and so is what comes back."""
    with open_source(explanation, source) as video:
        _check_apart(video.info.path, Path(path))
        sound = video.info.path if audio and video.info.has_audio else None
        height, width, _ = scene.blank.shape
        with VideoWriter(
            path, width=width, height=height, rate=video.info.rate, audio_from=sound, force=force
        ) as writer:
            with closing(_drawn(scene, frames_of(explanation, video))) as ready:
                _write(ready, writer, len(explanation.heat), progress)
    return (*writer.notes, *((FLAT,) if peak(explanation) == 0 else ()))


def _drawn(scene: Scene, frames: Iterable[Frame]) -> Generator[tuple[Pixels, float], None, None]:
    """Draw while the next frames are decoded; the encoder has threads of its own."""
    for frame in prefetch(frames, AHEAD):
        yield scene.draw(frame), frame.seconds


def _write(
    ready: Iterable[tuple[Pixels, float]],
    writer: VideoWriter,
    total: int,
    progress: Progress | None,
) -> None:
    for done, (pixels, seconds) in enumerate(ready, start=1):
        writer.write(pixels, seconds)
        if progress is not None:
            progress(done, total)


def _check_apart(source: Path, path: Path) -> None:
    """Never write over the source, whatever `force` says."""
    if path.exists() and path.samefile(source):
        raise MediaError(f"{str(path)!r} is the source itself; choose another name for the result")
