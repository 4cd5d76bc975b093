"""Fight or not, in surveillance videos: a 3D CNN on color, another on optical flow, and their product."""

from collections import OrderedDict
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor, nn

import vidcam


def block(i: int, o: int, pool: tuple[int, int, int], act: type[nn.Module] = nn.ReLU) -> nn.Module:
    convs = [nn.Conv3d(i, o, (1, 3, 3), padding=1, bias=False), nn.Conv3d(o, o, (3, 1, 1), padding=1, bias=False)]
    parts = [part for conv in convs for part in (conv, nn.BatchNorm3d(o), act())]
    return nn.Sequential(OrderedDict(Conv3DBlock=nn.Sequential(*parts, nn.MaxPool3d(pool))))


class TwoStream(nn.Module):
    """Color (B, 3, 64, 224, 224) and flow (B, 2, 64, 224, 224) -> (B, 2) logits."""

    def __init__(self) -> None:
        super().__init__()
        half, ends = (1, 2, 2), {3: nn.ReLU, 2: nn.Sigmoid}
        self.RGB_Network, self.OptFlow_Network = (
            nn.Sequential(block(i, 16, half), block(16, 16, half), block(16, 32, half), block(32, 32, half, end))
            for i, end in ends.items()
        )
        self.Merging = nn.Sequential(*(block(i, o, (2, 1, 1)) for i, o in [(32, 64), (64, 64), (64, 128)]))
        self.fc = nn.Linear(128, 2)

    def forward(self, color: Tensor, flow: Tensor) -> Tensor:
        both = nn.functional.max_pool3d(self.RGB_Network(color) * self.OptFlow_Network(flow), (8, 1, 1))
        return self.fc(self.Merging(both).mean((2, 3, 4)))


def standard(clip: Tensor) -> Tensor:
    return (clip - clip.mean()) / clip.std().clamp(min=1e-6)


def flow(clip: Tensor) -> Tensor:
    """(T, 3, H, W) in 0..1 -> (T, 2, H, W): Farneback's flow to the next frame, less its mean; 0 of the last one."""
    gray = [cv2.cvtColor((f.permute(1, 2, 0) * 255).byte().numpy(), cv2.COLOR_RGB2GRAY) for f in clip]
    moved = [cv2.calcOpticalFlowFarneback(*two, None, 0.5, 3, 15, 3, 5, 1.2, 256) for two in pairwise(gray)]
    moved = np.stack([*moved, np.zeros_like(moved[0])]).transpose(0, 3, 1, 2)
    return standard(torch.from_numpy(moved - moved.mean((2, 3), keepdims=True)))


def net(frame_rate: float = 30.0, layer: str = "RGB_Network.3") -> vidcam.Model:
    """Two streams, color and flow: fight or no fight."""
    size = vidcam.Preprocessing((224, 224))
    inputs = {"color": vidcam.Input(size, make=standard), "flow": vidcam.Input(size, make=flow)}
    slots = {"sees": {"RGB_Network": "color", "OptFlow_Network": "flow"}, "labels": ["fight", "no fight"]}
    return vidcam.Model(TwoStream(), layer=layer, frames=64, frame_rate=frame_rate, inputs=inputs, **slots)
