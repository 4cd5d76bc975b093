"""The two networks of SfMLearner: motion of the camera to each reference, with masks, and disparity at four scales."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vidcam.errors import ModelError, OptionError

KERNELS = (7, 5, 3, 3, 3, 3, 3)
"""Of conv1 to conv7."""
SMALLEST = 8
"""The coarsest prediction has an eighth of the picture's height and width."""
POSE_PLANES = (16, 32, 64, 128, 256, 256, 256)
MASKED = (16, 32, 64, 128, 256)
"""Of the pose network, planes of upconv1 to upconv5."""
SCALE = 0.01
"""What the mean prediction is multiplied by: motions between neighboring frames are small."""
DEPTH_PLANES = (32, 64, 128, 256, 512, 512, 512)
DECODED = (16, 32, 64, 128, 256, 512, 512)
"""Of the depth network, planes of upconv1 to upconv7, and of iconv1 to iconv7."""
ALPHA, BETA = 10.0, 0.01
"""Disparity is 10 sigmoid + 0.01, so that depth lies between 0.1 and 100."""


class PoseExpNet(nn.Module):
    """Pose and explainability network (Zhou et al. 2017, section 3.4 and figure 4), as its PyTorch port has it.

    Layers, names and shapes are those of the port's published checkpoints: seven convolutions of stride 2, `conv1` to
    `conv7`, then a 1x1 convolution `pose_pred` whose mean over the picture, times 0.01, is the answer. The original
    in TensorFlow differs in its padding, and has two channels and a softmax per mask where this has one and a sigmoid.
    """

    def __init__(self, references: int, explainability: bool = False) -> None:
        """Build the network with random weights, for n references; explainability adds the branch of their masks."""
        super().__init__()
        if references < 1:
            raise OptionError(f"a pose network needs one reference frame or more; given {references}")
        self.references, self.explainability = references, explainability
        channels = (3 * (references + 1), *POSE_PLANES)
        for k, kernel in enumerate(KERNELS, 1):
            self.add_module(f"conv{k}", nn.Sequential(*convolution(channels[k - 1], channels[k], kernel)))
        self.pose_pred = nn.Conv2d(POSE_PLANES[-1], 6 * references, 1)
        if explainability:
            self._add_masks()
        draw_weights(self)

    def _add_masks(self) -> None:
        channels = (*MASKED, POSE_PLANES[4])
        for k in range(5, 0, -1):
            up = nn.ConvTranspose2d(channels[k], channels[k - 1], 4, stride=2, padding=1)
            self.add_module(f"upconv{k}", nn.Sequential(up, nn.ReLU(inplace=True)))
        for k in range(4, 0, -1):
            self.add_module(f"predict_mask{k}", nn.Conv2d(MASKED[k - 1], self.references, 3, padding=1))

    def forward(
        self, target: Tensor, references: Tensor | Sequence[Tensor]
    ) -> tuple[list[Tensor] | Tensor | None, Tensor]:
        """Return masks and poses; in training the masks of four scales, else only those of the finest.

        Args:
            target: (B, 3, H, W) in -1..1.
            references: (B, n, 3, H, W), or n of (B, 3, H, W), in the order of time.

        Returns:
            Masks [(B, n, H, W), (B, n, H/2, W/2), ...] in 0..1 in training, (B, n, H, W) else, None without the branch;
            and (B, n, 6), the motions tx, ty, tz, rx, ry, rz that take points from the target's camera to each
            reference's.

        Raises:
            ModelError: another number of references, or pictures that are too small.
        """
        masks, pose = self.at_all_scales(target, references)
        return (masks if self.training or masks is None else masks[0]), pose

    def at_all_scales(
        self, target: Tensor, references: Tensor | Sequence[Tensor]
    ) -> tuple[list[Tensor] | None, Tensor]:
        """Return the masks of all four scales, finest first, or None, and the poses; also outside training."""
        maps = encoded(self, self._joined(target, references))
        pose = SCALE * self.pose_pred(maps[-1]).mean(dim=(2, 3)).unflatten(1, (self.references, 6))
        return (self._masks(maps) if self.explainability else None), pose

    def _masks(self, maps: Sequence[Tensor]) -> list[Tensor]:
        masks, x = [], maps[5]
        for k in range(5, 0, -1):
            x = crop(self.get_submodule(f"upconv{k}")(x), maps[k - 1])
            if k < 5:
                masks.append(self.get_submodule(f"predict_mask{k}")(x).sigmoid())
        return masks[::-1]

    def _joined(self, target: Tensor, references: Tensor | Sequence[Tensor]) -> Tensor:
        """(B, 3, H, W) and n references -> (B, 3 (n + 1), H, W)"""
        check_pictures("the pose network", target)
        others = list(references.unbind(1)) if isinstance(references, Tensor) else list(references)
        if len(others) != self.references:
            raise ModelError(f"the pose network has {self.references} reference frames; given {len(others)}")
        if odd := [tuple(other.shape) for other in others if other.shape != target.shape]:
            raise ModelError(f"references need the target's shape {tuple(target.shape)}; given {odd[0]}")
        return torch.cat([target, *others], dim=1)


class DispNetS(nn.Module):
    """Depth network (Zhou et al. 2017, section 3.4; after DispNet, Mayer et al. 2016), as its PyTorch port has it.

    Layers, names and shapes are those of the port's published checkpoints: an encoder `conv1` to `conv7` of halving
    sizes, and a decoder `upconv7`, `iconv7` to `upconv1`, `iconv1` with connections from the encoder.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = (3, *DEPTH_PLANES)
        for k, kernel in enumerate(KERNELS, 1):
            halve = convolution(channels[k - 1], channels[k], kernel)
            self.add_module(f"conv{k}", nn.Sequential(*halve, *convolution(channels[k], channels[k], kernel, stride=1)))
        for k in range(7, 0, -1):
            self._add_decoder(k)
        draw_weights(self)

    def _add_decoder(self, k: int) -> None:
        planes, below = DECODED[k - 1], DEPTH_PLANES[-1] if k == 7 else DECODED[k]
        up = nn.ConvTranspose2d(below, planes, 3, stride=2, padding=1, output_padding=1)
        self.add_module(f"upconv{k}", nn.Sequential(up, nn.ReLU(inplace=True)))
        joined = planes + (DEPTH_PLANES[k - 2] if k > 1 else 0) + (1 if k < 4 else 0)
        self.add_module(f"iconv{k}", nn.Sequential(*convolution(joined, planes, 3, stride=1)))
        if k < 5:
            self.add_module(f"predict_disp{k}", nn.Sequential(nn.Conv2d(planes, 1, 3, padding=1), nn.Sigmoid()))

    def forward(self, image: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Return disparity (B, 1, H, W) of pictures (B, 3, H, W) in -1..1; in training that of all four scales.

        Depth is 1 / disparity, in the network's own unit of length.

        Raises:
            ModelError: the pictures are too small.
        """
        disparities = self.at_all_scales(image)
        return disparities if self.training else disparities[0]

    def at_all_scales(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return disparities (B, 1, H, W), (B, 1, H/2, W/2), (B, 1, H/4, W/4), (B, 1, H/8, W/8), sizes rounded up."""
        check_pictures("the depth network", image)
        maps = encoded(self, image)
        disparities: list[Tensor] = []
        x = maps.pop()
        for k in range(7, 0, -1):
            x = self._decode(k, x, maps.pop(), disparities)
            if k < 5:
                disparities.append(ALPHA * self.get_submodule(f"predict_disp{k}")(x) + BETA)
        return tuple(disparities[::-1])

    def _decode(self, k: int, x: Tensor, skip: Tensor, disparities: list[Tensor]) -> Tensor:
        """Double the size, and join the encoder's map of that size and the disparity found so far."""
        parts = [crop(self.get_submodule(f"upconv{k}")(x), skip)]
        if k > 1:  # else the map is the picture itself, which only gives its size
            parts.append(skip)
        if disparities:
            parts.append(crop(interpolate(disparities[-1], scale_factor=2, mode="bilinear"), skip))
        joined: Tensor = self.get_submodule(f"iconv{k}")(torch.cat(parts, dim=1))
        return joined


def convolution(channels: int, planes: int, kernel: int, *, stride: int = 2) -> list[nn.Module]:
    """Return a convolution that keeps the size but for its stride, and its ReLU."""
    return [nn.Conv2d(channels, planes, kernel, stride, (kernel - 1) // 2), nn.ReLU(inplace=True)]


def crop(x: Tensor, like: Tensor) -> Tensor:
    """Cut (B, C, h, w) on the right and at the bottom to the size of another map."""
    return x[..., : like.shape[-2], : like.shape[-1]]


def draw_weights(net: nn.Module) -> None:
    """Draw the weights of all convolutions from Xavier's uniform distribution; biases are zero."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def check_pictures(name: str, x: Tensor) -> None:
    """Refuse what is no batch of RGB pictures (B, 3, H, W), and pictures too small to halve three times.

    Raises:
        ModelError: it says what was given.
    """
    if x.ndim != 4 or x.shape[1] != 3:
        raise ModelError(f"{name} takes pictures (B, 3, H, W); given {tuple(x.shape)}")
    if min(x.shape[2:]) < SMALLEST:
        height, width = x.shape[2:]
        raise ModelError(f"{name} takes pictures of at least {SMALLEST}x{SMALLEST} pixels; given {width}x{height}")


def encoded(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what goes into an encoder, and what its blocks conv1 to conv7 make of it."""
    maps = [x]
    for k in range(1, len(KERNELS) + 1):
        maps.append(net.get_submodule(f"conv{k}")(maps[-1]))
    return maps
