"""What the commands that run a network ask for: which one, its weights, where it runs, and the camera it sees by."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vidcam.cli.console import say
from vidcam.options import Options, option

if TYPE_CHECKING:
    from vidcam.models.model import Model

CLASSIFIER, MOTION = "r2plus1d_18", "sfmlearner"
"""The network where none is named: that of videos, and that of drives where its files are given."""
DEVICES = ("auto", "cpu", "cuda")


def _no_device(name: str) -> str | None:
    kind, colon, number = name.partition(":")
    if kind in DEVICES and (not colon or (kind == "cuda" and number.isdecimal())):
        return None
    return f"must be one of {', '.join(DEVICES)}, or one card as cuda:0"


def _options() -> Any:
    return option("Of the network: frames=16, rotation=quat.", {}, names=("--option",))


@dataclass(frozen=True)
class Building(Options):
    """How a network that is named is built."""

    panel: ClassVar[str] = "Network"

    options: Mapping[str, Any] = _options()


@dataclass(frozen=True)
class Network(Options):
    """Which network, built how, from which files."""

    panel: ClassVar[str] = "Network"

    model: str | None = option(
        "A name of `vidcam models`, hf:FOLDER, timm:NAME, hub:FOLDER:NAME or file.py:function; default: the "
        "checkpoint's, or r2plus1d_18.",
        None,
        metavar="NAME",
    )
    options: Mapping[str, Any] = _options()
    checkpoint: Path | None = option("Your own weights: state dict or safetensors.", None)
    device: str = option("Where the network runs.", "auto", check=_no_device, metavar="auto|cpu|cuda", panel="Machine")

    def load(self, files: Mapping[str, Any] | None = None) -> "Model":
        """Load the network, with what a network of several files takes beside its checkpoint."""
        from vidcam.models.build import load_model

        name = self.model
        if name is None and self.checkpoint is None:
            name = MOTION if any((files or {}).values()) else CLASSIFIER
        arguments = {part: value for part, value in self.arguments().items() if part != "model"}
        model = load_model(name, **arguments, **files or {})
        for line in model.concluded:
            say(f"note: {line}")
        return model


@dataclass(frozen=True)
class PublishedNetwork(Network):
    """The same with weights that can be downloaded, and with names for its classes."""

    weights: str = option("Weights to download; none: random.", "DEFAULT", metavar="TAG|none")
    labels: Path | None = option("Class names: one per line, or JSON.", None)


@dataclass(frozen=True)
class NetworkFiles(Options):
    """The files of a network that has several."""

    panel: ClassVar[str] = Network.panel

    pose: Path | None = option("Of sfmlearner: weights of the pose network.", None)
    disp: Path | None = option("Of sfmlearner: weights of the depth network, which poses do without.", None)


@dataclass(frozen=True)
class Camera(Options):
    """Of a drive: which camera's pictures, and what it sees by."""

    panel: ClassVar[str] = "Camera of a drive"

    camera: str | None = option("Of a KITTI sequence; default: image_2, or the first.", None, metavar="image_2")
    intrinsics: str | None = option("Where its folder has none.", None, metavar="FX,FY,CX,CY|FILE")
