"""Pictures and videos of explanations."""

from vidcam.rendering.chart import timeline
from vidcam.rendering.drive import render_drive
from vidcam.rendering.sheet import contact_sheet, figure
from vidcam.rendering.video import render

__all__ = ["contact_sheet", "figure", "render", "render_drive", "timeline"]
