"""The network of `lrcn_ucf50.py` with seven classes and 25 frames, trained by someone else."""

from lrcn_ucf50 import lrcn

import vidcam


def net(frame_rate: float = 6.0, layer: str = "cnn.4") -> vidcam.Model:
    """A CNN-LSTM of seven of UCF's classes, 25 frames."""
    return lrcn(7, 25, frame_rate, layer)
