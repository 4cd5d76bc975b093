"""Rows: every way of going through frames is explained as if time had been folded into the batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import capture
from vidcam.attribution.geometry import Axis
from vidcam.attribution.methods import cam
from vidcam.attribution.rows import _fades, find_rows
from vidcam.attribution.scores import class_score
from vidcam.errors import LayerError

B, T = 8, 6
Cnn = Callable[[Tensor], Tensor]


def chunks(n: int) -> Callable[[Cnn, Tensor], Tensor]:
    """Frames of all samples, n at a time; the last chunk may be shorter."""
    return lambda cnn, x: torch.cat([cnn(part) for part in x.flatten(0, 1).split(n)]).unflatten(0, x.shape[:2])


def loop(order: Callable[[int], Any]) -> Callable[[Cnn, Tensor], Tensor]:
    """A frame of all samples at a time."""

    def run(cnn: Cnn, x: Tensor) -> Tensor:
        maps = {t: cnn(x[:, t]) for t in order(x.shape[1])}
        return torch.stack([maps[t] for t in range(x.shape[1])], 1)

    return run


def shuffled(cnn: Cnn, x: Tensor) -> Tensor:
    """All frames of all samples in some order."""
    order = torch.randperm(x.shape[0] * x.shape[1], generator=torch.Generator().manual_seed(4))
    return cnn(x.flatten(0, 1)[order])[order.argsort()].unflatten(0, x.shape[:2])


WAYS: dict[str, Callable[[Cnn, Tensor], Tensor]] = {
    "(b t)": lambda cnn, x: cnn(x.flatten(0, 1)).unflatten(0, x.shape[:2]),
    "(t b)": lambda cnn, x: cnn(x.transpose(0, 1).flatten(0, 1)).unflatten(0, x.shape[1::-1]).transpose(0, 1),
    "(b t) backwards": lambda cnn, x: cnn(x.flip(1).flatten(0, 1)).unflatten(0, x.shape[:2]).flip(1),
    "shuffled": shuffled,
    "frame by frame": loop(range),
    "backwards": loop(lambda n: reversed(range(n))),
    "the odd ones first": loop(lambda n: [*range(1, n, 2), *range(0, n, 2)]),
    "sample by sample": lambda cnn, x: torch.stack([cnn(clip) for clip in x]),
    "the last sample first": lambda cnn, x: torch.stack([cnn(clip) for clip in x.flip(0)]).flip(0),
    "each by itself": lambda cnn, x: torch.stack([torch.cat([cnn(frame[None]) for frame in clip]) for clip in x]),
    "each by itself, frames outside": lambda cnn, x: torch.stack(
        [torch.cat([cnn(x[b, t][None]) for b in range(len(x))]) for t in range(x.shape[1])], 1
    ),
    "half of the batch": lambda cnn, x: torch.cat(
        [cnn(part.flatten(0, 1)).unflatten(0, part.shape[:2]) for part in x.split(max(1, len(x) // 2))]
    ),
    "half of the time": lambda cnn, x: torch.cat(
        [cnn(part.flatten(0, 1)).unflatten(0, part.shape[:2]) for part in x.split(T // 2, 1)], 1
    ),
    **{f"chunks of {n}": chunks(n) for n in range(1, 9)},
}


class Frames(nn.Module):
    """A convolution of each frame; later frames count for more, and every sample for itself."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.way = WAYS[way]
        self.cnn = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU())
        self.rnn, self.head = nn.GRU(5, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C, H, W)
        return self.head(self.rnn(self.way(self.cnn, x).mean((3, 4)))[0][:, -1])


def by_hand(x: Tensor) -> Tensor:
    """(B, T, h, w) Grad-CAM per frame, by plain autograd of one sample at a time."""
    net, heat = Frames("(b t)").eval(), []
    for clip in x:
        maps = net.cnn(clip).detach().requires_grad_()
        score = net.head(net.rnn(maps.mean((2, 3))[None])[0][:, -1])[0, 1]
        (gradient,) = torch.autograd.grad(score, maps)
        heat.append((gradient.mean((2, 3), keepdim=True) * maps.detach()).sum(1).relu())
    return torch.stack(heat)


@pytest.mark.parametrize("batch", [1, B])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_through_the_frames_is_explained(way: str, batch: int) -> None:
    x = torch.randn(batch, T, 3, 8, 12, generator=torch.Generator().manual_seed(2))
    heat = cam(Frames(way), x, layer="cnn", target=1)
    torch.testing.assert_close(heat, by_hand(x))
    assert len({round(float(frame.sum()), 6) for frame in heat.flatten(0, 1)}) > batch  # a wrong order would be seen


def finite(x: Tensor) -> Tensor:
    assert x.isfinite().all(), "not finite"
    return x


SPREADING: dict[str, Callable[[Tensor], Tensor]] = {
    "clip mean": lambda x: x - x.mean((1, 2, 3, 4), keepdim=True),
    "clip mean and deviation": lambda x: x / x.std((1, 2, 3, 4), keepdim=True) - x.mean((1, 2, 3, 4), keepdim=True),
    "clip maximum": lambda x: x / x.abs().amax((1, 2, 3, 4), keepdim=True),
    "mean over time": lambda x: x - x.mean(1, keepdim=True),
    "layer norm over time": lambda x: nn.functional.layer_norm(x.movedim(1, -1), (x.shape[1],)).movedim(-1, 1),
    "mean of the batch": lambda x: x - x.mean(),
    "batch norm": lambda x: nn.BatchNorm2d(3, track_running_stats=False)(x.flatten(0, 1)).unflatten(0, x.shape[:2]),
    "NaN made numbers": torch.nan_to_num,
    "NaN made the least": lambda x: torch.fmax(x, torch.full_like(x, -2)),
    "whole numbers": lambda x: (x * 9 + 100).to(torch.uint8).float() / 9,
    "a check": finite,
}
"""What networks do to their input that spreads NaN over the clip, hides it, or fails at it."""


class Spreading(Frames):
    def __init__(self, way: str, spread: str) -> None:
        super().__init__(way)
        self.spread = SPREADING[spread]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.spread(x))


@pytest.mark.parametrize("batch", [1, B])
@pytest.mark.parametrize("way", ["(t b)", "shuffled", "backwards", "the last sample first", "chunks of 4"])
@pytest.mark.parametrize("spread", SPREADING)
def test_frames_are_found_where_nan_is_spread_or_hidden_or_fails(spread: str, way: str, batch: int) -> None:
    x = torch.randn(batch, T, 3, 8, 12, generator=torch.Generator().manual_seed(2))
    heat, expected = cam(Spreading(way, spread), x, layer="cnn", target=1), by_hand(SPREADING[spread](x))
    torch.testing.assert_close(heat, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


@pytest.mark.parametrize("frames", [2, 3, 4, 8])
def test_frames_that_are_mixed_are_never_put_in_order(frames: int) -> None:
    for seed in range(20):
        chance = torch.Generator().manual_seed(seed)
        mixed = torch.randn(frames, frames, generator=chance) if seed % 2 else torch.rand(frames, frames)

        class Mixed(Frames):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(torch.einsum("btchw,ts->bschw", x, mixed))  # noqa: B023

        with pytest.raises(LayerError, match=r"rows 0 and . of its output both hold frames 0 to"):
            find_rows(
                Mixed("(t b)" if seed % 3 else "frame by frame"),
                torch.randn(1 + seed % 2, frames, 3, 8, 8),
                "cnn",
                "b t c h w",
            )


@pytest.mark.parametrize("way", ["(t b)", "backwards", "chunks of 4", "sample by sample"])
def test_every_frame_names_its_row_once(way: str) -> None:
    rows = find_rows(Frames(way), torch.randn(3, T, 3, 8, 8), "cnn", "b t c h w")
    assert sorted(rows.order) == list(range(3 * T)) and rows.axis == Axis(1, 0, 1)


def test_a_recurrent_cell_that_is_called_for_every_frame() -> None:
    """Its state holds all frames so far, or all to come: the rows lie where their own frame is."""

    class Cells(nn.Module):
        def __init__(self, step: int) -> None:
            super().__init__()
            self.cell, self.step = nn.GRUCell(3, 4), step

        def forward(self, x: Tensor) -> Tensor:
            state = x.new_zeros(len(x), 4)
            for t in range(x.shape[1])[:: self.step]:
                state = self.cell(x[:, t].mean((2, 3)), state)
            return state

    x = torch.randn(2, T, 3, 4, 4)
    onwards = find_rows(Cells(1), x, "cell", "b t c h w")
    assert onwards.order == [2 * t + b for b in range(2) for t in range(T)] and onwards.axis == Axis(1, 0, float("inf"))
    assert find_rows(Cells(-1), x, "cell", "b t c h w").order == [2 * t + b for b in range(2) for t in range(T)[::-1]]


def test_rows_that_hold_several_frames_lie_at_their_middle() -> None:
    """Three frames stacked as channels, every second time: rows of frames 0 to 2, 2 to 4, 4 to 6."""

    class Stacks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = nn.Conv2d(9, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return sum(self.cnn(x[:, t : t + 3].flatten(1, 2)).mean((2, 3)) for t in range(0, x.shape[1] - 2, 2))

    rows = find_rows(Stacks(), torch.randn(2, 7, 3, 4, 4), "cnn", "b t c h w")
    assert rows.order == [0, 2, 4, 1, 3, 5] and rows.axis == Axis(2, 1, 3)


def clips(n: int, order: int = 1) -> Callable[[Cnn, Tensor], Tensor]:
    """Parts of n frames of all samples at a time, from the first or from the last on."""

    def run(cnn: Cnn, x: Tensor) -> Tensor:
        starts = range(0, x.shape[2], n)[::order]
        return torch.cat([cnn(x[:, :, start : start + n]) for start in starts][::order], 2)

    return run


PARTS: dict[str, Callable[[Cnn, Tensor], Tensor]] = {
    "by twos": clips(2),
    "by fours": clips(4),
    "from the last on": clips(4, -1),
    "each sample's by itself": lambda cnn, x: torch.cat([clips(4)(cnn, clip[None]) for clip in x]),
    "sample by sample": lambda cnn, x: torch.cat([cnn(clip[None]) for clip in x]),
    "in the batch": lambda cnn, x: cnn(torch.cat(x.split(4, 2))).unflatten(0, (-1, len(x))).movedim(0, 2).flatten(2, 3),
    "in the batch, sample by sample": lambda cnn, x: (
        cnn(x.unflatten(2, (-1, 4)).transpose(1, 2).flatten(0, 1))
        .unflatten(0, (len(x), -1))
        .transpose(1, 2)
        .flatten(2, 3)
    ),
}
"""Ways of going through a clip (B, C, 12, H, W) part by part."""


class Parts(nn.Module):
    """A 3D convolution of parts of a clip, of two frames and two rows; later ones count for more."""

    def __init__(self, way: Callable[[Cnn, Tensor], Tensor], *, normalize: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.way, self.normalize = way, normalize
        self.cnn = nn.Sequential(nn.Conv3d(3, 5, 2, 2), nn.ReLU())
        self.rnn, self.head = nn.GRU(5, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean((1, 2, 3, 4), keepdim=True) if self.normalize else x
        return self.head(self.rnn(self.way(self.cnn, x).mean((3, 4)).transpose(1, 2))[0][:, -1])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("way", PARTS)
def test_every_way_through_parts_of_a_clip_is_explained(way: str, batch: int, normalize: bool) -> None:
    """Kernels of two frames do not reach from part to part, so that a part is worth what it is in the whole clip."""
    x = torch.randn(batch, 3, 12, 32, 32, generator=torch.Generator().manual_seed(2))
    whole = Parts(lambda cnn, x: cnn(x), normalize=normalize)
    expected = cam(whole, x, layer="cnn", target=1)
    assert expected.shape == (batch, 6, 16, 16) and expected.any()
    torch.testing.assert_close(cam(Parts(PARTS[way], normalize=normalize), x, layer="cnn", target=1), expected)


def test_parts_of_a_clip_that_overlap_are_refused_and_both_are_named() -> None:
    net = Parts(lambda cnn, x: torch.cat([cnn(x[:, :, start : start + 4]) for start in range(0, 9, 2)], 2))
    with pytest.raises(LayerError, match="its first rows hold frames 0 to 3 and frames 2 to 5"):
        cam(net, torch.randn(2, 3, 12, 32, 32), layer="cnn", target=0)


def test_slots_of_parts_lie_at_equal_bins_of_their_frames() -> None:
    rows = find_rows(Parts(clips(4, -1)), torch.randn(2, 3, 12, 32, 32), "cnn", "b c t h w")
    assert rows.order == [4, 2, 0, 5, 3, 1] and rows.spans == [(0, 3), (4, 7), (8, 11)]
    assert rows.slots("cnn", 2) == Axis(2, 0.5, 4) and rows.axis == Axis(4, 1.5, 4)


class Twice(nn.Module):
    """One network for the frames and for their mirror images, or for whole clips."""

    def __init__(self, *, clips: bool) -> None:
        super().__init__()
        self.clips, self.cnn = clips, nn.Conv3d(3, 4, 3, padding=1) if clips else nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        given = x if self.clips else x.transpose(1, 2).flatten(0, 1)
        both = (self.cnn(given) + self.cnn(given.flip(-1))).flatten(1).mean(1)
        return (both if self.clips else both.unflatten(0, (len(x), -1)).mean(1))[:, None].expand(-1, 2)


@pytest.mark.parametrize("batch", [1, 2])
def test_what_holds_the_same_frames_twice_is_refused_and_both_are_named(batch: int) -> None:
    x = torch.randn(batch, 3, 4, 6, 6)
    say = f"rows 0 and {batch} of its output both hold frames 0 to 3 of sample 0"
    with pytest.raises(LayerError, match=say):
        cam(Twice(clips=True), x, layer="cnn", target=0)
    with pytest.raises(LayerError, match=f"rows 0 and {4 * batch} of its output both hold frame 0 of sample 0"):
        cam(Twice(clips=False), x, layer="cnn", target=0)


def test_rows_that_mix_samples_are_refused() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            for t in range(x.shape[2]):
                y = self.cnn(x[:, :, t] + x[:1, :, t])
            return y.mean((2, 3))

    with pytest.raises(LayerError, match="mix samples or hold no frame"):
        cam(Mixing(), torch.randn(2, 3, 4, 6, 6), layer="cnn", target=0)


def test_looking_leaves_the_network_and_the_input_as_they_were() -> None:
    net, x = Frames("backwards").train(), torch.randn(2, T, 3, 8, 8)
    before, state = x.clone(), {name: value.clone() for name, value in net.state_dict().items()}
    dice = torch.get_rng_state()
    find_rows(net, x, "cnn", "b t c h w")
    assert torch.equal(x, before) and torch.equal(torch.get_rng_state(), dice) and net.cnn.training
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    captured = capture(net, x, layers=["cnn"], scores=[class_score(0)])
    assert captured.calls == {"cnn": T}


def test_a_full_device_is_no_order_of_rows() -> None:
    net = Frames(next(iter(WAYS)))

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    net.rnn.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        find_rows(net, torch.rand(2, T, 3, 8, 8), "cnn", "b t c h w")


class Shifted(nn.Module):
    """Frames in the batch; beside the residuals, channels come in part from the neighbors (Lin et al. 2019)."""

    def __init__(self, frames: int, times: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frames = frames
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(times))
        self.cnn, self.head = nn.Identity(), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.flatten(0, 1))
        for conv in self.convs:
            clips = x.unflatten(0, (-1, self.frames))
            moved = clips.clone()
            moved[:, :-1, :2], moved[:, 1:, 2:4] = clips[:, 1:, :2], clips[:, :-1, 2:4]
            x = x + conv(moved.flatten(0, 1)).relu()
        return self.head(self.cnn(x).mean((2, 3))).unflatten(0, (-1, self.frames)).mean(1)


@pytest.mark.parametrize("frames", [5, 8, 16])
@pytest.mark.parametrize("batch", [1, 2])
def test_frames_that_exchange_channels_with_all_others_are_found(frames: int, batch: int) -> None:
    """Every row holds every frame, and the less of one, the farther it is."""
    order = find_rows(Shifted(frames).eval(), torch.rand(batch, frames, 3, 8, 8), "cnn", "b t c h w")
    assert order.order == list(range(batch * frames)) and order.spans == [(i, i) for i in range(frames)]


def test_changes_by_chance_do_not_fade_with_distance() -> None:
    for seed in range(2000):
        changes = torch.rand(5 + seed % 4, 5 + seed % 4, generator=torch.Generator().manual_seed(seed))
        assert not _fades(changes, changes.argmax(dim=0))
