"""Procedural clips and drives of which everything is known."""

from vidcam.data.synthetic.driving import CLASSES, SyntheticDrive, World, build_world, drive, read_truth, write_drives
from vidcam.data.synthetic.motion import MOTIONS, SyntheticClip, motion_clip

__all__ = [
    "CLASSES",
    "MOTIONS",
    "SyntheticClip",
    "SyntheticDrive",
    "World",
    "build_world",
    "drive",
    "motion_clip",
    "read_truth",
    "write_drives",
]
