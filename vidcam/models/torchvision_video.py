"""Networks that torchvision trained on Kinetics-400, and where their layers look, as `measure_axes` finds it."""

from math import inf, isqrt
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from vidcam.attribution.geometry import Axis
from vidcam.data.preprocessing import Preprocessing
from vidcam.models.model import Model
from vidcam.models.ranges import SAMPLING
from vidcam.models.recipe import Chosen, Published, Recipe
from vidcam.models.torchvision_networks import trained

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


def _mvit_grid(tokens: int) -> tuple[int, int, int]:
    """MViT keeps 8 slots throughout and square frames; the class token stands in front."""
    side = isqrt((tokens - 1) // 8)
    return 8, side, side


def _mvit_axes() -> dict[str, Axes]:
    """Convolutions with odd kernels and symmetric padding start at 0; attention lets every slot see everything."""
    strides = [4, 8, 8, *[16] * 11, 32, 32]  # blocks 1, 3 and 14 halve the frames
    axes = {stride: (Axis(2, 0, inf), Axis(stride, 0, inf), Axis(stride, 0, inf)) for stride in strides}
    blocks = {f"blocks.{i}": axes[stride] for i, stride in enumerate(strides)}
    before = {f"blocks.{i}.norm1": axes[stride] for i, stride in enumerate([4, *strides[:-1]])}
    return blocks | before


def _swin_axes() -> dict[str, Axes]:
    """Patches and their merging do not overlap: slots are the middles of equal bins; attention sees everything."""
    strides = {f"features.{i}": 4 * 2 ** ((i + 1) // 2) for i in range(7)} | {"norm": 32}
    time = Axis(2, 0.5, inf)
    return {
        name: (time, Axis(stride, (stride - 1) / 2, inf), Axis(stride, (stride - 1) / 2, inf))
        for name, stride in strides.items()
    }


def _recipe(
    name: str, paper: str, *, head: str, frames: int = 16, frame_rate: float = 15, axes: dict[str, Axes], **slots: Any
) -> Recipe:
    """Declare one of torchvision's networks; tokens are made for one size of clip, convolutions take any."""
    tags = torchvision.models.get_model_weights(name)

    def model(net: nn.Module, _: Chosen) -> Model:
        how = Preprocessing.from_processor(tags.DEFAULT.transforms())
        return Model(net, frames=frames, frame_rate=frame_rate, preprocessing=how, axes={**axes}, **slots)

    return Recipe(
        about=f"{paper}: {frames} frames at {frame_rate:g} per second, Kinetics-400",
        network=lambda classes: torchvision.models.get_model(name, weights=None, num_classes=classes),
        model=model,
        options={"classes": None, "frame_rate": frame_rate, **SAMPLING, "seed": 0}
        | ({"frames": frames, "size": None} if slots["layout"] == "b c t h w" else {}),
        head=head,
        published=Published(
            tags={tag: tag for tag in tags.__members__},
            load=lambda tag: trained(name, tag, tags),
            labels=tuple(tags.DEFAULT.meta["categories"]),
            # a name that holds a hash
            owns=lambda path: any(path.name == Path(tag.url).name for tag in tags),
        ),
    )


_CONVOLUTIONS: dict[str, Any] = {"layer": "layer4", "head": "fc", "layout": "b c t h w", "when": "layer3"}
_S3D = _CONVOLUTIONS | {"layer": "features", "head": "classifier.1", "when": "features.12", "frames": 128}
# The classification reads the class token alone: on the last block's output all patch gradients are zero.
_MVIT: dict[str, Any] = {
    "layer": "blocks.15.norm1",
    "head": "head.1",
    "frame_rate": 7.5,
    "layout": "b (t h w) c",
    "grid": _mvit_grid,
    "axes": _mvit_axes(),
}
# Behind `norm` there are only average pooling and one linear layer, so that Grad-CAM is exact there.
_SWIN: dict[str, Any] = {"layer": "norm", "head": "head", "frames": 32, "layout": "b t h w c", "axes": _swin_axes()}

_NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "r3d_18": ("3D ResNet-18 (Tran et al. 2018; 1711.11248)", _CONVOLUTIONS | {"axes": _RESNET_AXES}),
    "mc3_18": ("mixed 3D and 2D ResNet-18 (Tran et al. 2018)", _CONVOLUTIONS | {"axes": _MIXED_AXES}),
    "r2plus1d_18": ("R(2+1)D-18 (Tran et al. 2018)", _CONVOLUTIONS | {"axes": _RESNET_AXES}),
    "s3d": ("S3D (Xie et al. 2018; 1712.04851)", _S3D | {"axes": _S3D_AXES}),
    "mvit_v1_b": ("MViT-B (Fan et al. 2021; 2104.11227)", _MVIT),
    "mvit_v2_s": ("MViTv2-S (Li et al. 2022; 2112.01526)", _MVIT),
    "swin3d_t": ("Video Swin-T (Liu et al. 2022; 2106.13230)", _SWIN),
    "swin3d_s": ("Video Swin-S (Liu et al. 2022)", _SWIN),
    "swin3d_b": ("Video Swin-B (Liu et al. 2022)", _SWIN),
}

MODELS: dict[str, Recipe] = {name: _recipe(name, paper, **slots) for name, (paper, slots) in _NETWORKS.items()}
