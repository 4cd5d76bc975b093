"""Tokens: order, prefix and grid of a transformer are measured, and heat lands where the evidence is planted."""

from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.methods import cam
from vidcam.attribution.tokens import find_tokens
from vidcam.errors import LayerError

T, H, W = 4, 3, 5  # cells, of 2 frames and 8 x 8 pixels
ORDERS = ["".join(order) for order in permutations("thw")]


class Transformer(nn.Module):
    """Tokens of 2 x 8 x 8, in some order behind some that come from no place, through two blocks."""

    def __init__(self, order: str = "thw", prefix: int = 0, *, overlap: bool = False, shuffle: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        size, padding = ((2, 11, 11), (0, 3, 3)) if overlap else ((2, 8, 8), 0)
        self.patches = nn.Conv3d(3, 16, size, (2, 8, 8), padding)
        self.prefix = nn.Parameter(torch.randn(1, prefix, 16))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 3)
        self.order, self.shuffle = [2 + "thw".index(axis) for axis in order], shuffle

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).permute(0, *self.order, 1).flatten(1, 3)
        if self.shuffle:
            tokens = tokens[:, torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(9))]
        tokens = torch.cat([self.prefix.expand(len(x), -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1))


def video(batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, 2 * T, 8 * H, 8 * W, generator=torch.Generator().manual_seed(1))


def by_hand(net: Transformer, x: Tensor) -> Tensor:
    """Which token of the first block's input changes with a cell: its index per (t, h, w)."""

    def tokens(given: Tensor) -> Tensor:
        kept: list[Tensor] = []
        handle = net.blocks[0].register_forward_pre_hook(lambda _m, args: kept.append(args[0].detach()))
        net(given)
        handle.remove()
        return kept[0][0]

    base, places = tokens(x), torch.empty(T, H, W, dtype=torch.long)
    for t in range(T):
        for h in range(H):
            for w in range(W):
                changed = x.clone()
                changed[:, :, 2 * t : 2 * t + 2, 8 * h + 3 : 8 * h + 5, 8 * w + 3 : 8 * w + 5] += 100
                places[t, h, w] = (tokens(changed) - base).abs().sum(1).argmax()
    return places


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_and_prefix_is_measured(order: str, prefix: int) -> None:
    net, x = Transformer(order, prefix).eval(), video(2)
    found = find_tokens(net, x, "b c t h w", T * H * W + prefix)
    assert found is not None and found.grid == (T, H, W)
    assert found.order == by_hand(net, x[:1]).flatten().tolist()


@pytest.mark.parametrize(
    "ways", [{"overlap": True}, {"shuffle": True, "prefix": 1}, {"overlap": True, "shuffle": True}]
)
def test_overlapping_patches_and_any_permutation(ways: dict[str, bool]) -> None:
    net, x = Transformer(**ways).eval(), video()
    found = find_tokens(net, x, "b c t h w", T * H * W + ways.get("prefix", 0))
    assert found is not None and found.grid == (T, H, W)
    assert found.order == by_hand(net, x).flatten().tolist()


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.1", "norm"])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_map_is_the_same_in_every_order(layer: str, batch: int) -> None:
    x = video(batch)
    expected = cam(Transformer(), x, layer=layer, target=1, method="hires_cam")
    assert expected.shape == (batch, T, H, W) and expected.any()
    for order in ORDERS:
        found = cam(Transformer(order), x, layer=layer, target=1, method="hires_cam")
        torch.testing.assert_close(found, expected)
    for prefix in (1, 5):
        one, other = (cam(Transformer(o, prefix), x, layer=layer, target=1) for o in ("thw", "hwt"))
        torch.testing.assert_close(one, other)


def test_a_grid_that_contradicts_is_refused() -> None:
    with pytest.raises(
        LayerError, match=r"stand for 4x3x5 .* grid=\(4, 5, 3\) contradicts; leave it out, or give \(4, 3, 5\)"
    ):
        cam(Transformer("hwt"), video(), layer="norm", target=0, grid=(4, 5, 3))
    told = cam(Transformer("hwt"), video(), layer="norm", target=0, grid=(4, 3, 5))
    torch.testing.assert_close(told, cam(Transformer("hwt"), video(), layer="norm", target=0))


def test_pictures_have_tokens_too() -> None:
    class Pictures(Transformer):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x[:, :, None].expand(-1, -1, 2, -1, -1))

    x = torch.randn(1, 3, 8 * H, 8 * W)
    found = find_tokens(Pictures("wht", 1).eval(), x, "b c h w", 1 + H * W)
    assert found is not None and found.grid == (1, H, W)
    assert found.order == [1 + w * H + h for h in range(H) for w in range(W)]


def test_what_is_mixed_from_the_start_is_not_measured() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.norm = nn.Linear(T * H * W, T * H * W), nn.LayerNorm(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.mix(x[:, :, ::2, ::8, ::8].flatten(2)).transpose(1, 2)).mean(1)

    assert find_tokens(Mixed().eval(), video(), "b c t h w", T * H * W) is None
    with pytest.raises(LayerError, match="give layout="):
        cam(Mixed(), video(), layer="norm", target=0)
    assert cam(Mixed(), video(), layer="norm", target=0, grid=(T, H, W)).shape == (1, T, H, W)


def test_measuring_leaves_the_network_as_it_was() -> None:
    net = Transformer("hwt", 1).train()
    find_tokens(net, video(), "b c t h w", T * H * W + 1)
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert not any(module._forward_pre_hooks for module in net.modules())


SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def published(name: str) -> nn.Module:
    """A video transformer of Hugging Face's, small and with random weights."""
    hub = pytest.importorskip("transformers")
    if name == "videomae":
        return hub.VideoMAEForVideoClassification(hub.VideoMAEConfig(image_size=64, num_frames=8, **SMALL))
    if name == "timesformer":
        return hub.TimesformerForVideoClassification(hub.TimesformerConfig(image_size=64, num_frames=8, **SMALL))
    tubelets = {"image_size": 64, "num_frames": 8, "tubelet_size": [2, 16, 16]}
    return hub.VivitForVideoClassification(hub.VivitConfig(**tubelets, **SMALL))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("name", "grid", "prefix", "order"),
    [("videomae", (4, 4, 4), 0, "thw"), ("timesformer", (8, 4, 4), 1, "hwt"), ("vivit", (4, 4, 4), 1, "thw")],
)
def test_published_transformers(name: str, grid: tuple[int, int, int], prefix: int, order: str) -> None:
    places = torch.arange(grid[0] * grid[1] * grid[2]).reshape([grid["thw".index(axis)] for axis in order])
    expected = places.permute([order.index(axis) for axis in "thw"]).flatten() + prefix
    found = find_tokens(published(name).eval(), torch.randn(1, 8, 3, 64, 64), "b t c h w", len(expected) + prefix)
    assert found is not None and found.grid == grid and found.order == expected.tolist()


@pytest.mark.filterwarnings("default")
def test_registers_of_a_published_picture_transformer() -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model("vit_small_patch14_reg4_dinov2", pretrained=False, num_classes=5, img_size=56).eval()
    found = find_tokens(net, torch.randn(1, 3, 56, 56), "b c h w", 16 + 5)
    assert found is not None and found.grid == (1, 4, 4) and found.order == list(range(5, 21))


def test_a_full_device_is_not_taken_for_a_network_that_cannot_be_measured() -> None:
    net = Transformer()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    net.patches.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        find_tokens(net, video(), "b c t h w", T * H * W)
