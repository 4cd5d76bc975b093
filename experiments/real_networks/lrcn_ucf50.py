"""LRCN: a small CNN on each of 20 frames, an LSTM over them, 50 classes of UCF50.

The frames should be spread over the whole video: `--option frame_rate=R` with R = 20 / its seconds comes near.
"""

from torch import Tensor, nn

import vidcam


class LRCN(nn.Module):
    """(B, T, 3, 64, 64), BGR in 0..1 -> (B, K) logits of the last state."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        stages = [(3, 16, 4), (16, 32, 4), (32, 64, 2), (64, 64, 2)]
        parts = [(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.MaxPool2d(pool)) for i, o, pool in stages]
        self.cnn = nn.Sequential(*sum(parts, ()))
        self.lstm = nn.LSTM(64, 32, batch_first=True)
        self.fc = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.cnn(x.flatten(0, 1)).reshape(*x.shape[:2], 64)
        return self.fc(self.lstm(frames)[0][:, -1])


def lrcn(classes: int, frames: int, frame_rate: float, layer: str) -> vidcam.Model:
    how = vidcam.Preprocessing((64, 64), channels="bgr")
    slots = {"frames": frames, "frame_rate": frame_rate, "preprocessing": how, "input_layout": "b t c h w"}
    return vidcam.Model(LRCN(classes), layer=layer, **slots)


def net(frame_rate: float = 5.0, layer: str = "cnn.4") -> vidcam.Model:
    """A CNN-LSTM of UCF50, 20 frames."""
    return lrcn(50, 20, frame_rate, layer)
