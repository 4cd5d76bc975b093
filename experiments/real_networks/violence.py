"""Fight or not, in surveillance videos: a 3D CNN on color, another on optical flow, and their product."""

import cv2
import numpy as np
import torch
from torch import Tensor, nn

import vidcam


class Block(nn.Module):
    def __init__(self, i: int, o: int, pool: tuple[int, int, int], act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        over = [nn.Conv3d(i, o, (1, 3, 3), padding=1, bias=False), nn.BatchNorm3d(o), act()]
        along = [nn.Conv3d(o, o, (3, 1, 1), padding=1, bias=False), nn.BatchNorm3d(o), act()]
        self.Conv3DBlock = nn.Sequential(*over, *along, nn.MaxPool3d(pool))

    def forward(self, x: Tensor) -> Tensor:
        return self.Conv3DBlock(x)


class TwoStream(nn.Module):
    """Color (B, 3, 64, 224, 224) and flow (B, 2, 64, 224, 224) -> (B, 2) logits."""

    def __init__(self) -> None:
        super().__init__()
        sizes, half = [(16, 16), (16, 32), (32, 32)], (1, 2, 2)
        self.RGB_Network = nn.Sequential(Block(3, 16, half), *(Block(i, o, half) for i, o in sizes))
        last = Block(32, 32, half, nn.Sigmoid)
        self.OptFlow_Network = nn.Sequential(Block(2, 16, half), *(Block(i, o, half) for i, o in sizes[:2]), last)
        self.Merging = nn.Sequential(*(Block(i, o, (2, 1, 1)) for i, o in [(32, 64), (64, 64), (64, 128)]))
        self.fc = nn.Linear(128, 2)

    def forward(self, color: Tensor, flow: Tensor) -> Tensor:
        both = nn.functional.max_pool3d(self.RGB_Network(color) * self.OptFlow_Network(flow), (8, 1, 1))
        return self.fc(self.Merging(both).mean((2, 3, 4)))


def standard(clip: Tensor) -> Tensor:
    return (clip - clip.mean()) / clip.std().clamp(min=1e-6)


def flow(clip: Tensor) -> Tensor:
    """(T, 3, H, W) in 0..1 -> (T, 2, H, W): Farneback's flow to the next frame, less its mean; 0 of the last one."""
    gray = [cv2.cvtColor((f.permute(1, 2, 0) * 255).byte().numpy(), cv2.COLOR_RGB2GRAY) for f in clip]
    told = (None, 0.5, 3, 15, 3, 5, 1.2, cv2.OPTFLOW_FARNEBACK_GAUSSIAN)
    moved = [cv2.calcOpticalFlowFarneback(a, b, *told) for a, b in zip(gray, gray[1:], strict=False)]
    moved = np.stack([*moved, np.zeros_like(moved[0])]).transpose(0, 3, 1, 2)
    return standard(torch.from_numpy(moved - moved.mean((2, 3), keepdims=True)))


def net(frame_rate: float = 30.0, layer: str = "RGB_Network.3") -> vidcam.Model:
    """Two streams, color and flow: fight or no fight."""
    size = vidcam.Preprocessing((224, 224))
    inputs = {"color": vidcam.Input(size, make=standard), "flow": vidcam.Input(size, make=flow)}
    sees = {"OptFlow_Network": "flow"}
    slots = {"frames": 64, "frame_rate": frame_rate, "labels": ["fight", "no fight"], "sees": sees}
    return vidcam.Model(TwoStream(), layer=layer, inputs=inputs, **slots)
