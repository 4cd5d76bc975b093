"""PilotNet: the steering angle of the Udacity simulator from the lower part of one frame."""

import cv2
import numpy as np
from torch import Tensor, nn

import vidcam
from vidcam.attribution import components
from vidcam.data.called import Called


class PilotNet(nn.Module):
    """(B, 3, 66, 200), YUV in -1..1 -> (B, 1), the angle in -1..1."""

    def __init__(self) -> None:
        super().__init__()
        stages = [(3, 24, 5, 2), (24, 36, 5, 2), (36, 48, 5, 2), (48, 64, 3, 1), (64, 64, 3, 1)]
        self.conv = nn.Sequential(*sum(((nn.Conv2d(*stage), nn.ELU()) for stage in stages), ()))
        sizes = [(1152, 100), (100, 50), (50, 10), (10, 1)]
        self.fc = nn.Sequential(*sum(((nn.Linear(*size), nn.ELU()) for size in sizes), ())[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).permute(0, 2, 3, 1).flatten(1))


def road(frames: np.ndarray) -> np.ndarray:
    """(T, 160, 320, 3) uint8 -> (T, 3, 66, 200): the rows 60 to 135 in YUV."""
    seen = [cv2.cvtColor(cv2.resize(frame[60:135], (200, 66)), cv2.COLOR_RGB2YUV) for frame in frames]
    return np.stack(seen).transpose(0, 3, 1, 2) / 127.5 - 1


def net(layer: str = "conv.5") -> vidcam.Model:
    """PilotNet: the steering angle."""
    slots = {"frames": 1, "input_layout": "b c h w", "preprocessing": Called(function=road)}
    return vidcam.Model(PilotNet(), layer=layer, scores=components("angle"), **slots)
