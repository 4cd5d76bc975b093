"""DispNetS: disparity of one picture, at four scales."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vidcam.models.sfmlearner.blocks import KERNELS, check_pictures, convolution, crop, draw_weights, encoded

PLANES = (32, 64, 128, 256, 512, 512, 512)
DECODED = (16, 32, 64, 128, 256, 512, 512)
"""Planes of upconv1 to upconv7, and of iconv1 to iconv7."""
ALPHA, BETA = 10.0, 0.01
"""Disparity is 10 sigmoid + 0.01, so that depth lies between 0.1 and 100."""


class DispNetS(nn.Module):
    """Depth network (Zhou et al. 2017, section 3.4; after DispNet, Mayer et al. 2016), as its PyTorch port has it.

    Layers, names and shapes are those of the port's published checkpoints: an encoder `conv1` to `conv7` of halving
    sizes, and a decoder `upconv7`, `iconv7` to `upconv1`, `iconv1` with connections from the encoder.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = (3, *PLANES)
        for k, kernel in enumerate(KERNELS, 1):
            halve = convolution(channels[k - 1], channels[k], kernel)
            self.add_module(f"conv{k}", nn.Sequential(*halve, *convolution(channels[k], channels[k], kernel, stride=1)))
        for k in range(7, 0, -1):
            self._add_decoder(k)
        draw_weights(self)

    def _add_decoder(self, k: int) -> None:
        planes, below = DECODED[k - 1], PLANES[-1] if k == 7 else DECODED[k]
        up = nn.ConvTranspose2d(below, planes, 3, stride=2, padding=1, output_padding=1)
        self.add_module(f"upconv{k}", nn.Sequential(up, nn.ReLU(inplace=True)))
        joined = planes + (PLANES[k - 2] if k > 1 else 0) + (1 if k < 4 else 0)
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
