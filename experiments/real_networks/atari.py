"""Agents that play Atari games: a CNN on each frame, a GRU that remembers, a policy and a value."""

import numpy as np
from PIL import Image
from torch import Tensor, nn

import vidcam
from vidcam.data.called import Called

ACTIONS = {"pong": 6, "breakout": 4, "spaceinvaders": 6}


class Agent(nn.Module):
    """(1, 1, 80, 80) in 0..1, one frame after the other -> logits of the actions and the value."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 2, 1)
        self.conv2, self.conv3, self.conv4 = (nn.Conv2d(32, 32, 3, 2, 1) for _ in range(3))
        self.gru, self.elu, self.h = nn.GRUCell(800, 256), nn.functional.elu, None
        self.actor_linear, self.critic_linear = nn.Linear(256, actions), nn.Linear(256, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = self.elu(conv(x))
        self.h = self.gru(x.flatten(1), self.h)
        return {"logits": self.actor_linear(self.h), "value": self.critic_linear(self.h)}


def board(frames: np.ndarray) -> np.ndarray:
    """(T, 210, 160, 3) uint8 -> (T, 1, 80, 80): the rows 35 to 195, gray, stretched to all of 0..1."""
    gray = [frame[35:195].mean(2) for frame in frames]
    full = [(255 * (g - g.min()) / max(g.max() - g.min(), 1e-9)).round().astype(np.uint8) for g in gray]
    return np.stack([np.asarray(Image.fromarray(f).resize((80, 80), Image.BILINEAR)) / 255 for f in full])[:, None]


def net(game: str = "pong", layer: str = "conv3") -> vidcam.Model:
    """An agent that plays pong, breakout or spaceinvaders."""
    how = Called(function=board, region=(0, 35, 160, 195))
    slots = {"frames": 1, "input_layout": "b c h w", "state": "carried", "preprocessing": how}
    return vidcam.Model(Agent(ACTIONS[game]), layer=layer, **slots)
