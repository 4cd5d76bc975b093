"""3D convolutional networks of torchvision, and where their layers look, as `measure_axes` finds it."""

from dataclasses import replace

from vidcam.attribution.geometry import Axis
from vidcam.models.kinetics import Entry, recipe
from vidcam.models.model import Recipe

Axes = tuple[Axis, Axis, Axis]


def _axes(time: tuple[float, float, float], space: tuple[float, float, float]) -> Axes:
    """Stride, center and extent in time, and in space; the same down and across."""
    return Axis(*time), Axis(*space), Axis(*space)


def _resnet_axes(times: list[tuple[float, float, float]]) -> dict[str, Axes]:
    spaces = [(2, 0, 7), (2, 0, 23), (4, 0, 51), (8, 0, 107), (16, 0, 219)]
    names = ["stem", "layer1", "layer2", "layer3", "layer4"]
    return {name: _axes(t, s) for name, t, s in zip(names, times, spaces, strict=True)}


_RESNET_AXES = _resnet_axes([(1, 0, 3), (1, 0, 11), (2, 0, 25), (4, 0, 53), (8, 0, 109)])
_MIXED_AXES = _resnet_axes([(1, 0, 3), *[(1, 0, 11)] * 4])  # 2D from layer2 on
_S3D_AXES = {
    "features.0": _axes((2, 0, 7), (2, 0, 7)),
    "features.3": _axes((2, 0, 11), (4, 0, 19)),
    "features.6": _axes((2, 0, 19), (8, 0, 59)),
    "features.12": _axes((4, 0, 63), (16, 0, 235)),
    "features": _axes((8, 2, 99), (32, 8, 379)),
}

_RESNET = Entry(
    paper="3D ResNet-18 (Tran et al. 2018; 1711.11248)",
    layer="layer4",
    head="fc",
    frames=16,
    frame_rate=15,
    when="layer3",
    axes=_RESNET_AXES,
)
_ENTRIES = {
    "r3d_18": _RESNET,
    "mc3_18": replace(_RESNET, paper="mixed 3D and 2D ResNet-18 (Tran et al. 2018)", axes=_MIXED_AXES),
    "r2plus1d_18": replace(_RESNET, paper="R(2+1)D-18 (Tran et al. 2018)"),
    "s3d": Entry(
        paper="S3D (Xie et al. 2018; 1712.04851)",
        layer="features",
        head="classifier.1",
        frames=128,
        frame_rate=15,
        when="features.12",
        axes=_S3D_AXES,
    ),
}

MODELS: dict[str, Recipe] = {name: recipe(name, entry) for name, entry in _ENTRIES.items()}
