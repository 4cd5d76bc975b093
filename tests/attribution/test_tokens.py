"""Tokens: order, prefix and grid of a transformer are measured, and heat lands where the evidence is planted."""

from itertools import permutations
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import capture
from vidcam.attribution.methods import cam
from vidcam.attribution.receptive_field import effective_centers, measure_axes
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
    found = find_tokens(net, x, "b c t h w", T * H * W + prefix, "blocks.0")
    assert found is not None and found.grid == (T, H, W)
    assert found.order == by_hand(net, x[:1]).flatten().tolist()


@pytest.mark.parametrize(
    "ways", [{"overlap": True}, {"shuffle": True, "prefix": 1}, {"overlap": True, "shuffle": True}]
)
def test_overlapping_patches_and_any_permutation(ways: dict[str, bool]) -> None:
    net, x = Transformer(**ways).eval(), video()
    found = find_tokens(net, x, "b c t h w", T * H * W + ways.get("prefix", 0), "norm")
    assert found is not None and found.grid == (T, H, W)
    assert found.order == by_hand(net, x).flatten().tolist()


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.1", "norm"])
@pytest.mark.parametrize("batch", [1, 8])
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
    for grid in [(3, 4, 5), (5, 4, 3), (3, 5, 4), (5, 3, 4), (60, 1, 1), (1, 6, 10)]:
        for net in (Transformer(), Transformer("hwt", 1), Moving("any")):
            with pytest.raises(LayerError, match="contradicts"):
                cam(net, video(), layer="norm", target=0, grid=grid)
    told = cam(Transformer("hwt"), video(), layer="norm", target=0, grid=(4, 3, 5))
    torch.testing.assert_close(told, cam(Transformer("hwt"), video(), layer="norm", target=0))


def test_pictures_have_tokens_too() -> None:
    class Pictures(Transformer):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x[:, :, None].expand(-1, -1, 2, -1, -1))

    x = torch.randn(1, 3, 8 * H, 8 * W)
    found = find_tokens(Pictures("wht", 1).eval(), x, "b c h w", 1 + H * W, "blocks.1")
    assert found is not None and found.grid == (1, H, W)
    assert found.order == [1 + w * H + h for h in range(H) for w in range(W)]


def test_what_is_mixed_from_the_start_is_not_measured() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.norm = nn.Linear(T * H * W, T * H * W), nn.LayerNorm(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.mix(x[:, :, ::2, ::8, ::8].flatten(2)).transpose(1, 2)).mean(1)

    assert find_tokens(Mixed().eval(), video(), "b c t h w", T * H * W, "norm") is None
    with pytest.raises(LayerError, match="give layout="):
        cam(Mixed(), video(), layer="norm", target=0)
    assert cam(Mixed(), video(), layer="norm", target=0, grid=(T, H, W)).shape == (1, T, H, W)


@pytest.mark.parametrize("seed", range(12))
def test_tokens_that_are_mixed_anyhow_are_never_put_in_order(seed: int) -> None:
    """By weights of every kind, and by attention that learned to look elsewhere only: with no token's own left."""
    chance = torch.Generator().manual_seed(seed)
    cells = (2, 2, 2) if seed % 2 else (T, H, W)
    weights = torch.randn(prod(cells), prod(cells), generator=chance)
    weights = [weights, weights.softmax(1), weights.abs()][seed % 3]

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(16)
            self.patches = nn.Conv3d(3, 16, (2, 8, 8), (2, 8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(weights @ self.patches(x).flatten(2).transpose(1, 2)).mean(1)

    x = torch.randn(1, 3, *(n * cell for n, cell in zip(cells, (2, 8, 8), strict=True)))
    assert find_tokens(Mixed().eval(), x, "b c t h w", prod(cells), "norm") is None


def test_measuring_leaves_the_network_as_it_was() -> None:
    net = Transformer("hwt", 1).train()
    find_tokens(net, video(), "b c t h w", T * H * W + 1, "blocks.1")
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert not any(module._forward_pre_hooks for module in net.modules())


class Moving(Transformer):
    """Tokens that stand elsewhere from the second block on; `attends` is how the network computes attention."""

    def __init__(self, move: str, attends: str = "modules", **ways: Any) -> None:
        super().__init__(**ways)
        cells, prefix = torch.arange(T * H * W).reshape(T, H, W), self.prefix.shape[1]
        moves = {
            "hwt": cells.permute(1, 2, 0),
            "windows of rows": cells.reshape(T // 2, 2, H, W).permute(0, 2, 1, 3),
            "backwards": cells.flip(0),
            "rolled": cells.roll(2, 2),
            "any": torch.randperm(T * H * W, generator=torch.Generator().manual_seed(5)),
            "two": torch.arange(T * H * W).index_fill(0, torch.tensor([7]), 50).index_fill(0, torch.tensor([50]), 7),
        }
        self.moved = [*range(prefix), *(moves[move].flatten() + prefix).tolist()]
        if attends != "modules":
            self.blocks = nn.ModuleList(Block(attends) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).permute(0, *self.order, 1).flatten(1, 3)
        tokens = self.blocks[0](torch.cat([self.prefix.expand(len(x), -1, -1), tokens], 1))[:, self.moved]
        for block in self.blocks[1:]:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1))


class Block(nn.Module):
    """A block of one head, written by hand."""

    def __init__(self, attends: str) -> None:
        super().__init__()
        self.attends, self.qkv, self.mlp = attends, nn.Linear(16, 48), nn.Sequential(nn.Linear(16, 32), nn.GELU())
        self.out, self.norm, self.mixer = (
            nn.Linear(32, 16),
            nn.LayerNorm(16),
            nn.Conv1d(16, 16, 3, padding=1, groups=16),
        )

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm(x)).chunk(3, -1)
        if self.attends == "fused":
            x = x + nn.functional.scaled_dot_product_attention(query, key, value)
        elif self.attends == "by hand":
            x = x + (query @ key.transpose(1, 2) / 4).softmax(-1) @ value
        elif self.attends == "to fewer":
            x = x + (query @ key[:, ::3].transpose(1, 2) / 4).softmax(-1) @ value[:, ::3]
        elif self.attends == "by a convolution":
            x = x + 0.3 * self.mixer(value.transpose(1, 2)).transpose(1, 2)
        return x + self.out(self.mlp(x))


@pytest.mark.parametrize("attends", ["modules", "fused", "by hand", "to fewer", "by a convolution"])
@pytest.mark.parametrize("move", ["hwt", "windows of rows", "backwards", "rolled", "any", "two"])
def test_tokens_that_are_moved_behind_the_first_block(move: str, attends: str) -> None:
    net, x = Moving(move, attends, order="wht", prefix=2).eval(), video(2)
    count = T * H * W + 2
    before = by_hand(net, x[:1]).flatten().tolist()
    found = find_tokens(net, x, "b c t h w", count, "blocks.0")
    assert found is not None and found.order == before
    for layer in ("blocks.1", "norm"):
        found = find_tokens(net, x, "b c t h w", count, layer)
        assert found is not None and found.grid == (T, H, W)
        assert found.order == [net.moved.index(token) for token in before]


@pytest.mark.parametrize("batch", [1, 8])
def test_the_map_is_the_same_wherever_tokens_are_moved(batch: int) -> None:
    x = video(batch)
    for layer in ("blocks.0", "blocks.1", "norm"):
        expected = cam(Transformer(prefix=1), x, layer=layer, target=1, method="hires_cam")
        for move in ("hwt", "any"):
            for grid in (None, (T, H, W)):
                found = cam(Moving(move, prefix=1), x, layer=layer, target=1, method="hires_cam", grid=grid)
                torch.testing.assert_close(found, expected)


def test_an_order_that_is_lost_behind_the_first_block_is_refused() -> None:
    class Lost(Moving):
        def __init__(self) -> None:
            super().__init__("any")
            self.blocks[1] = nn.Sequential(Turned(), nn.Linear(T * H * W, T * H * W), Turned())

    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(1, 2)

    cam(Lost(), video(), layer="blocks.0", target=0)
    with pytest.raises(LayerError, match="do not stand where they stood before the first block, and what they stand"):
        cam(Lost(), video(), layer="norm", target=0, grid=(T, H, W))
    assert cam(Lost(), video(), layer="norm", target=0, layout="b (h w t) c", grid=(H, W, T)).any()


def test_as_many_learned_queries_as_tokens_stand_for_no_place() -> None:
    class Queries(Transformer):
        def __init__(self) -> None:
            super().__init__()
            self.queries = nn.Parameter(torch.randn(1, T * H * W, 16))
            self.decoder = nn.TransformerDecoderLayer(16, 2, 32, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.blocks[0](self.patches(x).flatten(2).transpose(1, 2))
            return self.head(self.decoder(self.queries.expand(len(x), -1, -1), tokens).mean(1))

    assert cam(Queries(), video(), layer="blocks.0", target=0).shape == (1, T, H, W)
    with pytest.raises(LayerError, match="do not stand where they stood"):
        cam(Queries(), video(), layer="decoder", target=0)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize(
    ("size", "stride", "padding", "grid"),
    [
        ((3, 8, 8), (1, 8, 8), (1, 0, 0), (8, 3, 5)),
        ((3, 8, 8), (2, 8, 8), (1, 0, 0), (4, 3, 5)),
        ((3, 7, 7), (2, 4, 4), (1, 3, 3), (4, 6, 10)),
        ((5, 12, 12), (2, 6, 6), (2, 0, 0), (4, 3, 5)),
        ((1, 7, 9), (1, 7, 9), 0, (8, 3, 4)),
    ],
)
def test_patches_that_overlap_in_time_and_space(
    size: tuple[int, ...], stride: tuple[int, ...], padding: Any, grid: tuple[int, ...], batch: int
) -> None:
    net, x = Transformer("wth", 3).eval(), video(batch)
    net.patches = nn.Conv3d(3, 16, size, stride, padding)
    found = find_tokens(net, x, "b c t h w", 3 + prod(grid), "blocks.1")
    assert found is not None and found.grid == grid
    t, h, w = grid
    assert found.order == [3 + (c * t + a) * h + b for a in range(t) for b in range(h) for c in range(w)]


SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def published(name: str) -> nn.Module:
    """A video transformer of Hugging Face's, small and with random weights."""
    hub = pytest.importorskip("transformers")
    if name == "videomae":
        return hub.VideoMAEForVideoClassification(hub.VideoMAEConfig(image_size=64, num_frames=8, **SMALL))
    if name == "timesformer":
        return hub.TimesformerForVideoClassification(hub.TimesformerConfig(image_size=64, num_frames=8, **SMALL))
    if name == "vjepa2":
        size = {"crop_size": 64, "frames_per_clip": 8, "mlp_ratio": 2, "pred_hidden_size": 24}
        predictor = {"pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
        return hub.VJEPA2ForVideoClassification(hub.VJEPA2Config(**size, **predictor, **SMALL))
    tubelets = {"image_size": 64, "num_frames": 8, "tubelet_size": [2, 16, 16]}
    return hub.VivitForVideoClassification(hub.VivitConfig(**tubelets, **SMALL))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("name", "layer", "grid", "prefix", "order"),
    [
        ("videomae", "videomae.encoder.layer.1", (4, 4, 4), 0, "thw"),
        ("timesformer", "timesformer.encoder.layer.1", (8, 4, 4), 1, "hwt"),
        ("vivit", "vivit.layers.1", (4, 4, 4), 1, "thw"),
        ("vjepa2", "vjepa2.encoder.layer.1", (4, 4, 4), 0, "thw"),
    ],
)
def test_published_transformers(name: str, layer: str, grid: tuple[int, int, int], prefix: int, order: str) -> None:
    places = torch.arange(prod(grid)).reshape([grid["thw".index(axis)] for axis in order])
    expected = places.permute([order.index(axis) for axis in "thw"]).flatten() + prefix
    count, x = prod(grid) + prefix, torch.randn(1, 8, 3, 64, 64)
    found = find_tokens(published(name).eval(), x, "b t c h w", count, layer)
    assert found is not None and found.grid == grid and found.order == expected.tolist() and not found.mixed


@pytest.mark.filterwarnings("default")
def test_registers_of_a_published_picture_transformer() -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model("vit_small_patch14_reg4_dinov2", pretrained=False, num_classes=5, img_size=56).eval()
    found = find_tokens(net, torch.randn(1, 3, 56, 56), "b c h w", 16 + 5, "blocks.10")
    assert found is not None and found.grid == (1, 4, 4) and found.order == list(range(5, 21))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("stage", range(4))
def test_a_published_transformer_that_pools_tokens_in_an_order_of_its_own(stage: int) -> None:
    """Hiera's own tokens in order of rows and columns tell which is which."""
    hub = pytest.importorskip("transformers")
    config = hub.HieraConfig(image_size=[64, 64], embed_dim=24, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2])
    net, x = hub.HieraForImageClassification(config).eval(), torch.randn(1, 3, 64, 64)
    layer, side = f"hiera.encoder.stages.{stage}", 16 >> stage
    own = capture(net, x, layers=[layer], gradients=False).activations[layer][0]
    with torch.no_grad():
        in_order = net.hiera(x, output_hidden_states=True).reshaped_hidden_states[stage + 1][0].reshape(side**2, -1)
    found = find_tokens(net, x, "b c h w", side**2, layer)
    assert found is not None and found.grid == (1, side, side)
    torch.testing.assert_close(own[found.order], in_order)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("block", range(5))
def test_a_published_video_transformer_that_pools_tokens_in_an_order_of_its_own(block: int) -> None:
    hiera = pytest.importorskip("hiera")
    patches = {"patch_kernel": (3, 7, 7), "patch_stride": (2, 4, 4), "patch_padding": (1, 3, 3)}
    units = {"q_stride": (1, 2, 2), "mask_unit_size": (1, 8, 8), "q_pool": 2, "sep_pos_embed": True}
    size = {"num_classes": 5, "embed_dim": 24, "num_heads": 1, "stages": (1, 1, 2, 1), "input_size": (16, 64, 64)}
    net, grid = hiera.Hiera(**size, **patches, **units).eval(), (8, *[max(4, 16 >> block)] * 2)
    numbers = torch.arange(prod(grid)).float()[None, :, None]
    found = find_tokens(net, torch.randn(1, 3, 16, 64, 64), "b c t h w", prod(grid), f"blocks.{block}")
    assert found is not None and found.grid == grid
    assert found.order == net.reroll(numbers, block).flatten().int().tolist()


def test_places_that_show_no_mark_behind_the_first_block_are_not_left_out() -> None:
    class Dark(Transformer):
        """The first row is put out behind the embedding, so that only the rows below change at a layer."""

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).permute(0, 2, 3, 4, 1)
            tokens = torch.cat([0 * tokens[:, :, :1], tokens[:, :, 1:]], 2).flatten(1, 3)
            for block in self.blocks:
                tokens = block(tokens)
            return self.head(self.norm(tokens).mean(1))

    found = find_tokens(Dark(), video(), "b c t h w", T * H * W, "blocks.0")
    assert found is not None and found.grid == (T, H, W) and found.order == list(range(T * H * W))


def test_a_full_device_is_not_taken_for_a_network_that_cannot_be_measured() -> None:
    net = Transformer()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    net.patches.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        find_tokens(net, video(), "b c t h w", T * H * W, "blocks.0")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_where_tokens_lie_is_measured_in_their_own_order(order: str, prefix: int) -> None:
    """Cells of 2 frames and 8 x 8 pixels look at these most, wherever their tokens stand."""
    net, x = Transformer(order, prefix).eval(), video()
    tokens = find_tokens(net, x, "b c t h w", T * H * W + prefix, "blocks.0")
    assert tokens is not None
    told = {"layout": "b (t h w) c", "grid": tokens.grid, "tokens": tokens}
    centers = effective_centers(net, x[:1], "blocks.0", **told)
    for found, count, side in zip(centers, (T, H, W), (2, 8, 8), strict=True):
        np.testing.assert_allclose(found, (np.arange(count) + 0.5) * side - 0.5, atol=side / 2)
        assert (np.diff(found) > 0).all()
    bins = [(axis.stride, axis.center) for axis in measure_axes(net, x.shape[1:], "blocks.0", **told)]
    assert bins == [(2, 0.5), (8, 3.5), (8, 3.5)]
