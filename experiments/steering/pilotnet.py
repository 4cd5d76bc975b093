"""A small PilotNet (Bojarski et al. 2016), and how it is trained."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float64]
SIZE = (66, 200)
BATCH, RATE, DECAY, DROPOUT = 40, 1e-3, 1e-2, 0.5
TYPICAL_DEGREES = 3.0  # of steering: the head answers in this unit, so that its numbers are near 1


class PilotNet(nn.Module):
    """Five convolutions and four linear layers, (B, 3, 66, 200) -> (B, 1) steering angle in degrees.

    Args:
        blind: rows at the top that the network cannot see.
    """

    def __init__(self, blind: int = 0) -> None:
        super().__init__()
        self.blind = blind
        self.conv1 = _convolution(3, 24, 5, 2)
        self.conv2 = _convolution(24, 36, 5, 2)
        self.conv3 = _convolution(36, 48, 5, 2)
        self.conv4 = _convolution(48, 64, 3, 1)
        self.conv5 = _convolution(64, 64, 3, 1)
        linear = [nn.Dropout(DROPOUT), nn.Linear(64 * 18, 100), nn.ReLU(), nn.Dropout(DROPOUT)]
        self.head = nn.Sequential(
            *linear, nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10), nn.ReLU(), nn.Linear(10, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.squeeze(2)  # (B, 3, 1, 66, 200) of a window of one frame
        if self.blind:
            x = x.clone()
            x[:, :, : self.blind] = 0
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            x = convolution(x)
        degrees: Tensor = self.head(x.flatten(1)) * TYPICAL_DEGREES
        return degrees


def _convolution(channels: int, filters: int, side: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, filters, side, stride), nn.ReLU())


@dataclass(frozen=True)
class Trained:
    """A network, and its last training loss in square degrees."""

    net: PilotNet
    loss: float


def train(frames: Tensor, degrees: Floats, *, epochs: int, seed: int, blind: int = 0) -> Trained:
    """Fit mean squared error to frames (N, 3, H, W) and angles (N,), mirrored half of the time with the sign turned."""
    torch.manual_seed(seed)
    net, answers = PilotNet(blind), torch.tensor(degrees, dtype=torch.float32)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    steps = epochs * -(-len(frames) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    losses = []
    for _ in range(epochs):
        losses.clear()
        for batch in torch.randperm(len(frames)).split(BATCH):
            x, y = augment(frames[batch], answers[batch])
            loss = ((net(x)[:, 0] - y) ** 2).mean()
            optimizer.zero_grad()
            (loss / TYPICAL_DEGREES**2).backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return Trained(net.eval(), float(np.mean(losses)))


def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror, change light and color, shift up or down by at most four pixels, erase a rectangle, add noise."""
    n = len(x)
    mirrored = torch.rand(n) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    y = torch.where(mirrored, -y, y)
    gain = (0.6 + 0.8 * torch.rand(n, 1, 1, 1)) * (0.7 + 0.6 * torch.rand(n, 3, 1, 1))
    x = x * gain + 0.3 * (torch.rand(n, 3, 1, 1) - 0.5)
    x = torch.stack([_erased(picture.roll(int(torch.randint(-4, 5, ())), 1)) for picture in x])
    return x + 0.05 * torch.randn_like(x), y


def _erased(picture: Tensor) -> Tensor:
    """Fill a random rectangle with the picture's mean color."""
    height, width = int(torch.randint(5, 30, ())), int(torch.randint(10, 60, ()))
    top, left = int(torch.randint(0, SIZE[0] - height, ())), int(torch.randint(0, SIZE[1] - width, ()))
    picture = picture.clone()
    picture[:, top : top + height, left : left + width] = picture.mean((1, 2))[:, None, None]
    return picture
