"""Layouts whose shapes fit several ways are told by what changes at which side."""

import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.layers import fitting_layouts
from vidcam.attribution.methods import cam
from vidcam.attribution.sides import find_layout


class Grid(nn.Module):
    """Convolutions whose output is laid out in some way before it is read; 6 channels, 6 x 8 cells, 4 slots."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv3d(3, 6, (3, 5, 5), (2, 4, 4), (1, 2, 2))
        self.turned, self.layout, self.head = nn.Identity(), layout, nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.conv(x).relu()
        axes = "bcthw"
        order = [axes.index(axis) for axis in self.layout.split()]
        turned = self.turned(cells.permute(order).contiguous())
        back = turned.permute([order.index(i) for i in range(5)])
        return self.head(back.mean((2, 3, 4)))


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("layout", ["b c t h w", "b t h w c"])
def test_both_ways_fit_and_one_is_right(layout: str, batch: int) -> None:
    net, x = Grid(layout).eval(), torch.rand(batch, 3, 8, 24, 32)
    assert find_layout(net, x, "turned", "b c t h w", ["b c t h w", "b t h w c"]) == layout


@pytest.mark.parametrize("layout", ["b c t h w", "b t h w c"])
def test_the_map_is_that_of_the_layout_told(layout: str) -> None:
    net, x = Grid(layout).eval(), torch.rand(2, 3, 8, 24, 32)
    told = cam(net, x, layer="turned", layout=layout, target=1)
    assert torch.equal(cam(net, x, layer="turned", target=1), told)


class Mixed(nn.Module):
    """Everything is mixed before the layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.turned, self.head = nn.Linear(3 * 8 * 6 * 8, 6 * 4 * 6 * 8), nn.Identity(), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.turned(self.mix(x.flatten(1)).reshape(-1, 6, 4, 6, 8))
        return self.head(cells.mean((2, 3, 4)))


def test_of_what_is_mixed_nothing_is_told() -> None:
    assert (
        find_layout(Mixed().eval(), torch.rand(1, 3, 8, 6, 8), "turned", "b c t h w", ["b c t h w", "b t h w c"])
        is None
    )


def test_a_network_that_ignores_the_clip_tells_nothing() -> None:
    net = Grid("b c t h w").eval()
    nn.init.zeros_(net.conv.weight)
    assert find_layout(net, torch.rand(1, 3, 8, 24, 32), "turned", "b c t h w", ["b c t h w", "b t h w c"]) is None


def test_a_shape_that_fits_both_ways_is_read_right() -> None:
    """(1, 6, 4, 6, 8) of 8 frames of 24 x 32: 6 channels of 4 x 6 x 8 cells, or 8 of 6 x 4 x 6."""
    net, x = Grid("b c t h w").eval(), torch.rand(1, 3, 8, 24, 32)
    assert set(fitting_layouts((1, 6, 4, 6, 8), x)) == {"b c t h w", "b t h w c"}
    told = cam(net, x, layer="turned", layout="b c t h w", target=1)
    assert torch.equal(cam(net, x, layer="turned", target=1), told) and told.shape == (1, 4, 6, 8)
