"""Small network of the R(2+1)D kind: the demo's, trained on `vidcam.data.synthetic`, and to be trained from scratch."""

from fractions import Fraction
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from vidcam.data.preprocessing import Preprocessing
from vidcam.data.synthetic import MOTIONS
from vidcam.models.model import Model
from vidcam.models.ranges import SAMPLING
from vidcam.models.recipe import Chosen, Published, Recipe

# Frames at 15 per second, resized with antialiasing to 48 x 64, scaled to 0..1, less the mean, over the deviation.
# 32 frames keep four slots at the last layer; 48 x 64 has the clips' shape, leaves its cells 6 x 8, and is quick.
FRAMES = 32
RATE = Fraction(15)
SIZE = (48, 64)  # height, width
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
LABELS = MOTIONS
WEIGHTS = Path(__file__).with_name("mini.safetensors")


class MiniNet(nn.Module):
    """A residual network of factorised convolutions (Tran et al. 2018), `(B, 3, T, H, W)` to `(B, 4)` logits.

    Strides in time and space, from the input on: stem 1 and 2, layer1 1 and 4, layer2 2 and 8, layer3 4 and 8, layer4 8
    and 8. Each size is rounded up, and any input of a few frames and pixels will do.
    """

    def __init__(self, classes: int = len(LABELS)) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_spatial(3, 16, stride=2, size=5), *_temporal(16, 16), nn.ReLU())
        self.layer1 = Block(16, 24, space=2)
        self.layer2 = Block(24, 48, time=2, space=2)
        self.layer3 = Block(48, 80, time=2)
        self.layer4 = Block(80, 96, time=2)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(96, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify clips that are preprocessed as the module's constants say."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class Block(nn.Module):
    """Two factorised convolutions beside a shortcut; the first takes the strides in time and space."""

    def __init__(self, channels: int, out: int, *, time: int = 1, space: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_spatial(channels, out, stride=space),
            *_temporal(out, out, stride=time),
            nn.ReLU(),
            *_spatial(out, out),
            *_temporal(out, out),
        )
        self.shortcut = nn.Sequential(
            nn.Conv3d(channels, out, 1, (time, space, space), bias=False), nn.BatchNorm3d(out)
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Add the two branches and rectify: `(B, channels, T, H, W)` to `(B, out, T / time, H / space, W / space)`."""
        total: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return total


def demo_net() -> MiniNet:
    """Load the shipped weights into a network in eval mode."""
    net = MiniNet()
    net.load_state_dict(load_file(WEIGHTS))
    return net.eval()


def _spatial(channels: int, out: int, *, stride: int = 1, size: int = 3) -> tuple[nn.Module, ...]:
    conv = nn.Conv3d(channels, out, (1, size, size), (1, stride, stride), (0, size // 2, size // 2), bias=False)
    return conv, nn.BatchNorm3d(out), nn.ReLU()


def _temporal(channels: int, out: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv3d(channels, out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False), nn.BatchNorm3d(out)


def _model(net: MiniNet, _: Chosen) -> Model:
    return Model(
        net,
        layer="layer4",
        layout="b c t h w",
        frames=FRAMES,
        frame_rate=float(RATE),
        preprocessing=Preprocessing(SIZE, mean=MEAN, std=STD, antialias=True),
        when="layer3",
    )


MODELS: dict[str, Recipe] = {
    "demo": Recipe(
        about=f"small R(2+1)D of the demo: {FRAMES} frames at {float(RATE):g} per second, four motions",
        network=MiniNet,
        model=_model,
        head="fc",
        published=Published(dict.fromkeys(("DEFAULT", "shipped"), "shipped"), lambda _: demo_net(), LABELS),
    ),
    "r2plus1d_mini": Recipe(
        about="small R(2+1)D (Tran et al. 2018), to be trained from scratch: 32 frames at 15 per second",
        network=MiniNet,
        model=_model,
        options={
            "classes": len(LABELS),
            "frames": FRAMES,
            "frame_rate": float(RATE),
            **SAMPLING,
            "size": SIZE,
            "seed": 0,
        },
        head="fc",
    ),
}
