"""Draw an explanation onto its video: what one rendered frame consists of, and all of them written."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vidcam.errors import MediaError, OptionError
from vidcam.explaining.explanation import Explanation
from vidcam.media import Frame, Video, VideoWriter, open_video, prefetch
from vidcam.media.reader import lacks_rate
from vidcam.options import takes
from vidcam.rendering.coloring import Overlay, colormap_of, overlay, peak
from vidcam.rendering.curves import VANISHES, directions
from vidcam.rendering.drawing import NIGHT
from vidcam.rendering.labels import draw_tag, stamp
from vidcam.rendering.look import PLAIN, Audio, Look
from vidcam.rendering.strips import Bar, draw_bar, draw_color_scale, type_size
from vidcam.types import Pixels, Progress

AHEAD = 4  # frames that are decoded before they are drawn
FLAT = "no frame has any positive heat: the video is drawn without color"


class Panel(Protocol):
    """A picture of the source's size that changes from frame to frame."""

    def draw(self, frame: Frame, out: Pixels) -> None:
        """Fill `out`, (H, W, 3)."""


class FramePanel:
    """The source's own frame."""

    def draw(self, frame: Frame, out: Pixels) -> None:
        """Copy the frame."""
        out[:] = frame.pixels


@dataclass(frozen=True)
class HeatPanel:
    """The frame with its heat, and with a mark where the gradient vanishes."""

    overlay: Overlay
    vanishing: npt.NDArray[np.bool_]
    """(F,)."""
    mark: Pixels
    """The tag of a frame whose gradient vanishes."""
    title: Pixels | None = None
    """The tag of all other frames."""

    def draw(self, frame: Frame, out: Pixels) -> None:
        """Lay the heat on the frame, and the tag on top."""
        self.overlay.draw(frame.index, frame.pixels, out=out)
        tag = self.mark if self.vanishing[frame.index] else self.title
        if tag is not None:
            stamp(out, tag)


@dataclass(frozen=True)
class Scene:
    """Panels and strips in their places; all but the panels and the cursor is drawn already."""

    panels: tuple[Panel, ...]
    columns: int
    """Panels in a row."""
    blank: Pixels
    """(H', W', 3) the strips in their places and room for the panels."""
    bar: Bar | None

    def draw(self, frame: Frame) -> Pixels:
        """Return the rendered frame, (H', W', 3), in memory of its own."""
        height, width, _ = frame.pixels.shape
        canvas = self.blank.copy()
        for place, panel in enumerate(self.panels):
            row, column = divmod(place, self.columns)
            left, top = column * width, row * height
            panel.draw(frame, canvas[top : top + height, left : left + width])
        if self.bar is not None:
            self.bar.mark(canvas[len(canvas) - len(self.bar.pixels) :], frame.seconds)
        return canvas


def room(explanation: Explanation, panels: int, columns: int) -> Pixels:
    """Return a canvas for so many panels of the source's size, (H', W', 3)."""
    rows = -(-panels // columns)
    paper = tuple(bytes.fromhex(NIGHT["paper"][1:]))
    return np.full((rows * explanation.height, columns * explanation.width, 3), paper, np.uint8)


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
    heat = HeatPanel(layer, explanation.is_vanishing, draw_tag(VANISHES, size, explanation.width))
    return Scene((FramePanel(), heat) if copies == 2 else (heat,), copies, blank, strip)


@takes(Look, Audio)
def render(
    explanation: Explanation,
    path: str | Path,
    *,
    source: object = None,
    look: Look,
    sound: Audio,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write the source with its heat laid over it: the same size, timestamps and sound.

    Args:
        explanation: What to draw.
        path: The video to write; its extension chooses the format.
        source: What was explained, if it is no longer where it was, or lay in no file and the explanation was loaded.
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
    source: object,
    audio: bool,
    force: bool,
    progress: Progress | None,
) -> tuple[str, ...]:
    """Draw a scene for every frame of the source; the options are those of `render`, and so is what comes back."""
    path = Path(path)
    with open_source(explanation, source) as video:
        if (
            path.exists() and video.info.path is not None and path.samefile(video.info.path)
        ):  # never, whatever `force` says
            raise MediaError(f"{str(path)!r} is the source itself; choose another name for the result")
        sound = video.info.path if audio and video.info.has_audio else None
        height, width, _ = scene.blank.shape
        rate, aspect = video.info.rate, video.info.pixel_aspect
        writer = VideoWriter(
            path, width=width, height=height, rate=rate, pixel_aspect=aspect, audio_from=sound, force=force
        )
        with writer, closing(prefetch(frames_of(explanation, video), AHEAD)) as frames:
            for done, frame in enumerate(frames, start=1):
                writer.write(scene.draw(frame), frame.seconds)
                if progress is not None:
                    progress(done, len(explanation.heat))
    return (*writer.notes, *((FLAT,) if peak(explanation) == 0 else ()))


def open_source(explanation: Explanation, source: object = None) -> Video:
    """Open what was explained, or what is given instead, and check that it has the same size.

    Raises:
        OptionError: the explanation does not name its source and none is given.
        MediaError: the source is gone or has another size.
    """
    given: Any = explanation.video if source is None else source
    given = explanation.provenance.get("source") if given is None else given
    if given is None:
        raise OptionError("the explanation does not say which video it is about; give source=")
    if source is None and isinstance(given, str) and not Path(given).exists():
        raise MediaError(f"the source {given!r} does not exist; give source= if it has moved")
    video = open_video(given, rate=explanation.rate if lacks_rate(given) else None)
    if (video.info.width, video.info.height) != (explanation.width, explanation.height):
        video.close()
        raise MediaError(
            f"{video.info.name} is {video.info.width}x{video.info.height}, but what was explained was "
            f"{explanation.width}x{explanation.height}; it is another video or has changed since"
        )
    return video


def frames_of(explanation: Explanation, video: Video) -> Iterator[Frame]:
    """Yield the frames of the source; raise a MediaError if there are more or fewer than were explained."""
    expected, count = len(explanation.heat), 0
    for count, frame in enumerate(video, start=1):
        if count > expected:
            break
        yield frame
    if count != expected:
        more = "more than" if count > expected else f"{count} frames instead of"
        raise MediaError(f"{video.info.name} has {more} the {expected} that were explained; it has changed since")
