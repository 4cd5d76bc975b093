"""Where the layers of SfMLearner look."""

from math import inf

from vidcam.attribution.geometry import Axis
from vidcam.models.sfmlearner.network import SfMLearner


def layer_axes(net: SfMLearner) -> dict[str, tuple[Axis, ...]]:
    """Stride, center and extent of the blocks that emit maps, alike in height and width.

    In the encoders kernels are odd and centered. In the decoders a cell stands for the pixels that it predicts, and
    can see more than any usual picture.
    """
    axes: dict[str, tuple[Axis, ...]] = {}
    for part, convolutions in (("pose", 1), ("disp", 2)):
        blocks = [] if getattr(net, part) is None else dict(net.get_submodule(part).named_children())
        extents = _extents(convolutions)
        for block in blocks:
            if not block[-1].isdecimal():  # pose_pred emits no map, but is averaged
                continue
            k, encodes = int(block[-1]), block.startswith("conv")
            axis = Axis(2.0**k, 0, extents[k - 1]) if encodes else Axis(2.0 ** (k - 1), 0, inf)
            axes[f"{part}.{block}"] = (axis, axis)
    return axes


def _extents(convolutions: int) -> list[float]:
    """Return how many pixels a cell of conv1 to conv7 can see; a block has one convolution, or two."""
    extents, seen = [], 1.0
    for k, kernel in enumerate((7, 5, 3, 3, 3, 3, 3)):
        seen += (kernel - 1) * (2**k + (convolutions - 1) * 2 ** (k + 1))
        extents.append(seen)
    return extents
