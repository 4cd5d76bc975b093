"""The driving video: frame, heat, depth and the course so far, side by side."""

from pathlib import Path

import numpy as np

from vidcam.explaining.explanation import Explanation
from vidcam.options import takes
from vidcam.rendering.coloring import overlay
from vidcam.rendering.depth import depth_panel
from vidcam.rendering.look import PLAIN, Audio, Color
from vidcam.rendering.path import course, course_panel
from vidcam.rendering.scene import FramePanel, HeatPanel, Panel, Scene, room
from vidcam.rendering.strips import draw_bar, type_size
from vidcam.rendering.tag import draw_tag, heat_ramp
from vidcam.rendering.traits import VANISHES
from vidcam.rendering.video import film
from vidcam.types import Progress

BAR_TYPE = 1.25
"""Height of the type in the strip below, in heights of that in the panels."""


@takes(Color, Audio)
def render_drive(
    explanation: Explanation,
    path: str | Path,
    *,
    source: str | Path | None = None,
    color: Color,
    sound: Audio,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write a video of panels of the source's size, for every frame of the source, above the curves over time.

    The panels are the frame, the frame with its heat, depth (near is bright, one scale for the video), and the course
    so far from above: the predicted one beside the true one, laid on it by one scale for the whole drive. What the
    explanation does not know is left out.

    Args:
        explanation: What to draw.
        path: The video to write; its extension chooses the format.
        source: The frames that were explained, if they are no longer where they were.
        force: Replace an existing file.
        progress: Called after every frame with the number of frames done and of all frames.

    Returns:
        What a viewer must know, such as panels that are left out.

    Raises:
        OptionError: an unknown colormap or scale, or an opacity outside 0 to 1.
        MediaError: the source is gone or has changed, or the file exists or cannot be written.
        VidcamError: heat, outputs or poses that are not finite.
    """
    drawn = drive_scene(explanation, color)
    notes = film(drawn, explanation, path, source=source, audio=sound.audio, force=force, progress=progress)
    missing = [name for name, known in (("depth", explanation.depth), ("course", explanation.poses)) if known is None]
    return (*notes, *(f"the network tells no {name}: its panel is left out" for name in missing))


def drive_scene(explanation: Explanation, color: Color = PLAIN) -> Scene:
    """Draw what stays the same in all frames."""
    size = type_size(explanation.width)
    across = {"width": explanation.width, "height": explanation.height, "size": size}
    panels: list[Panel] = [FramePanel(), _heat(explanation, color, size)]
    if explanation.depth is not None:
        panels.append(depth_panel(explanation.depth, **across))
    if explanation.poses is not None:
        panels.append(course_panel(course(explanation.poses, explanation.true_poses), **across))
    columns = columns_of(len(panels), explanation.width / explanation.height)
    blank = room(explanation, len(panels), columns)
    strip = draw_bar(explanation, blank.shape[1], size=round(BAR_TYPE * size))
    return Scene(tuple(panels), columns, np.concatenate([blank, strip.pixels]), strip)


def _heat(explanation: Explanation, color: Color, size: int) -> HeatPanel:
    layer = overlay(explanation, color)
    name, width = f"heat for {explanation.target_name}", explanation.width
    title = draw_tag(name, size, width, ramp=heat_ramp(explanation, color))
    return HeatPanel(layer, explanation.is_vanishing, draw_tag(f"{name}: {VANISHES}", size, width), title)


SHAPE = 16 / 9
"""Width over height of a screen, which the grid of panels shall fill."""


def columns_of(panels: int, shape: float) -> int:
    """Return in how many columns panels of a shape, width over height, fill a screen best; 4 wide ones stand 2 by 2."""
    if panels == 4 and shape >= 1:
        return 2

    def misfit(columns: int) -> float:
        rows = -(-panels // columns)
        return abs(float(np.log(columns * shape / rows / SHAPE))) + 0.5 * (columns * rows - panels)

    return min(range(panels, 0, -1), key=misfit)
