"""Video transformers of torchvision."""

from math import inf, isqrt

from vidcam.attribution.geometry import Axis
from vidcam.models.kinetics import Entry, recipe
from vidcam.models.model import Recipe

Axes = tuple[Axis, Axis, Axis]


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


def _mvit(paper: str) -> Entry:
    """The classification reads the class token alone: on the last block's output all patch gradients are zero."""
    return Entry(
        paper=paper,
        layer="blocks.15.norm1",
        head="head.1",
        frames=16,
        frame_rate=7.5,
        layout="b (t h w) c",
        grid=_mvit_grid,
        axes=_mvit_axes(),
    )


def _swin(paper: str) -> Entry:
    """Behind `norm` there are only average pooling and one linear layer, so that Grad-CAM is exact there."""
    return Entry(
        paper=paper, layer="norm", head="head", frames=32, frame_rate=15, layout="b t h w c", axes=_swin_axes()
    )


_ENTRIES = {
    "mvit_v1_b": _mvit("MViT-B (Fan et al. 2021; 2104.11227)"),
    "mvit_v2_s": _mvit("MViTv2-S (Li et al. 2022; 2112.01526)"),
    "swin3d_t": _swin("Video Swin-T (Liu et al. 2022; 2106.13230)"),
    "swin3d_s": _swin("Video Swin-S (Liu et al. 2022)"),
    "swin3d_b": _swin("Video Swin-B (Liu et al. 2022)"),
}

MODELS: dict[str, Recipe] = {name: recipe(name, entry) for name, entry in _ENTRIES.items()}
