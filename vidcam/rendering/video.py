"""Draw an explanation onto its video."""

from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path

import numpy as np

from vidcam.errors import MediaError
from vidcam.explaining.explanation import Explanation
from vidcam.media import Frame, VideoWriter, prefetch
from vidcam.options import takes
from vidcam.rendering.coloring import colormap_of, overlay, peak
from vidcam.rendering.look import PLAIN, Audio, Look
from vidcam.rendering.scene import FramePanel, Scene, heat_panel, room
from vidcam.rendering.source import frames_of, open_source
from vidcam.rendering.strips import draw_bar, draw_color_scale, type_size
from vidcam.rendering.traits import directions
from vidcam.types import Pixels, Progress

AHEAD = 4  # frames that are decoded before they are drawn
FLAT = "no frame has any positive heat: the video is drawn without color"


def scene(explanation: Explanation, look: Look = PLAIN) -> Scene:
    """Draw what stays the same in all frames."""
    layer = overlay(explanation, look)
    copies = 2 if look.layout == "side_by_side" else 1
    blank = room(explanation, copies, copies)
    size = type_size(blank.shape[1])
    if look.colorbar:
        highest = None if look.scale == "frame" else peak(explanation)
        ends = directions(explanation) if explanation.signed else None
        legend = draw_color_scale(explanation.height, size, colormap_of(explanation, look.colormap), highest, ends=ends)
        blank = np.concatenate([blank, legend], axis=1)
    strip = draw_bar(explanation, blank.shape[1]) if look.bar else None
    if strip is not None:
        blank = np.concatenate([blank, strip.pixels])
    heat = heat_panel(explanation, layer, size)
    return Scene((FramePanel(), heat) if copies == 2 else (heat,), copies, blank, strip)


@takes(Look, Audio)
def render(
    explanation: Explanation,
    path: str | Path,
    *,
    source: str | Path | None = None,
    look: Look,
    sound: Audio,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write the source with its heat laid over it: the same size, timestamps and sound.

    Args:
        explanation: What to draw.
        path: The video to write; its extension chooses the format.
        source: The video that was explained, if it is no longer where it was.
        force: Replace an existing file.
        progress: Called after every frame with the number of frames done and of all frames.

    Returns:
        What a viewer must know, such as padding to an even size.

    Raises:
        OptionError: an unknown layout, colormap or scale, or an opacity outside 0 to 1.
        MediaError: the source is gone or has changed, or the file exists or cannot be written.
        VidcamError: heat that is not finite.
    """
    drawn = scene(explanation, look)
    return film(drawn, explanation, path, source=source, audio=sound.audio, force=force, progress=progress)


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
