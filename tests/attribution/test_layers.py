"""Layers: found by name, read as a grid cell by cell, and never guessed wrongly."""

import re
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import capture
from vidcam.attribution.containers import first_tensor, map_tensors, named_parts
from vidcam.attribution.layers import find_layer, grid_axes, infer_layout, input_layout, read_grid, token_grid
from vidcam.attribution.methods import cam
from vidcam.errors import LayerError, ModelError

B, C, T, H, W = 2, 3, 2, 2, 4
GRID = torch.arange(float(B * C * T * H * W)).reshape(B, C, T, H, W)


def folded(layout: str) -> Tensor:
    """The grid in another layout, by transposing and reshaping alone."""
    batches_and_times = GRID.transpose(1, 2).flatten(0, 1)  # (b t) c h w
    tokens = GRID.flatten(2).transpose(1, 2)  # b (t h w) c
    class_token = torch.full((B, 1, C), -1.0)
    return {
        "b c t h w": GRID,
        "b t h w c": GRID.permute(0, 2, 3, 4, 1),
        "b t c h w": GRID.permute(0, 2, 1, 3, 4),
        "(b t) c h w": batches_and_times,
        "(b t) h w c": batches_and_times.permute(0, 2, 3, 1),
        "(t b) c h w": GRID.permute(2, 0, 1, 3, 4).flatten(0, 1),
        "b (t h w) c": tokens,
        "b c (t h w)": GRID.flatten(2),
        "class": torch.cat([class_token, tokens], dim=1),
    }[layout]


LAYOUTS = ["b c t h w", "b t h w c", "b t c h w", "(b t) c h w", "(b t) h w c", "(t b) c h w", "b (t h w) c"]


@pytest.mark.parametrize("layout", [*LAYOUTS, "b c (t h w)"])
def test_every_cell_is_read_where_it_lies(layout: str) -> None:
    assert torch.equal(read_grid(folded(layout), layout, batch=B, grid=(T, H, W)), GRID)


def test_class_token_is_left_out() -> None:
    assert torch.equal(read_grid(folded("class"), "b (t h w) c", batch=B, grid=(T, H, W)), GRID)
    after = torch.cat([torch.full((B, C, 1), -1.0), GRID.flatten(2)], dim=2)
    assert torch.equal(read_grid(after, "b c (t h w)", batch=B, grid=(T, H, W)), GRID)
    frames = GRID.transpose(1, 2).flatten(0, 1).flatten(2).transpose(1, 2)  # (b t) (h w) c
    frames = torch.cat([torch.full((B * T, 1, C), -1.0), frames], dim=1)
    assert torch.equal(read_grid(frames, "(b t) (h w) c", batch=B, grid=(T, H, W)), GRID)


def test_images_and_sequences() -> None:
    image = GRID[:, :, 0]
    assert torch.equal(read_grid(image, "b c h w", batch=B), image)
    assert torch.equal(read_grid(image.permute(0, 2, 3, 1), "b h w c", batch=B), image)
    tokens = image.flatten(2).transpose(1, 2)
    assert torch.equal(read_grid(tokens, "b (h w) c", batch=B, grid=(H, W)), image)
    assert torch.equal(read_grid(tokens, "b (h w) c", batch=B, grid=(1, H, W)), image)
    assert torch.equal(read_grid(GRID[:, :, :, 0, 0], "b c t", batch=B), GRID[:, :, :, 0, 0])


@pytest.mark.parametrize(
    ("layout", "batch", "grid"),
    [
        *(("b c h w", B, None), ("b c t h w", B + 1, None), ("b c t h w", B, (T, H, W + 1)), ("b c t x y", B, None)),
        *(("b c t h", B, None), ("(b t) c h w", B, None), ("b t h w", B, None), ("b c (t h w", B, None)),
    ],
)
def test_a_layout_that_does_not_fit(layout: str, batch: int, grid: tuple[int, ...] | None) -> None:
    with pytest.raises(LayerError, match="does not fit the layout") as caught:
        read_grid(GRID, layout, batch=batch, grid=grid)
    assert "\n" not in str(caught.value) and str((B, C, T, H, W)) in str(caught.value)


@pytest.mark.parametrize("grid", [None, (T, H, W - 1), (T, H, W + 1), (1, H, W), (0, H, W)])
def test_a_wrong_grid_of_tokens(grid: tuple[int, int, int] | None) -> None:
    with pytest.raises(LayerError, match="does not fit"):
        read_grid(folded("b (t h w) c"), "b (t h w) c", batch=B, grid=grid)


@pytest.mark.parametrize("layout", [*LAYOUTS[:5], "b (t h w) c"])
def test_an_empty_batch_is_read(layout: str) -> None:
    tensor = folded(layout)[:0]
    assert read_grid(tensor, layout, batch=0, grid=(T, H, W)).shape == (0, C, T, H, W)


@pytest.mark.parametrize(
    ("shape", "x", "layout"),
    [
        # torchvision's networks
        *(
            ((2, 512, 2, 7, 7), (2, 3, 16, 112, 112), "b c t h w"),
            ((1, 64, 16, 56, 56), (1, 3, 16, 112, 112), "b c t h w"),
        ),
        *(
            ((1, 8, 7, 7, 768), (1, 3, 16, 224, 224), "b t h w c"),
            ((1, 8, 56, 56, 96), (1, 3, 16, 224, 224), "b t h w c"),
        ),
        *(((1, 64, 56, 56), (1, 3, 224, 224), "b c h w"), ((1, 512, 7, 7), (1, 3, 224, 224), "b c h w")),
        *(((2, 512, 1, 1, 1), (2, 3, 16, 112, 112), "b c t h w"), ((1, 256, 4, 13), (1, 9, 128, 416), "b c h w")),
        *(((1, 256, 1, 4), (1, 9, 128, 416), "b c h w"), ((1, 7, 7, 768), (1, 3, 224, 224), "b h w c")),
        # frames folded into the batch, whichever way the input has them
        *(
            ((32, 512, 7, 7), (2, 3, 16, 224, 224), "(b t) c h w"),
            ((32, 512, 7, 7), (2, 16, 3, 224, 224), "(b t) c h w"),
        ),
        *(
            ((32, 7, 7, 768), (2, 16, 3, 224, 224), "(b t) h w c"),
            ((2, 16, 512, 7, 7), (2, 16, 3, 224, 224), "b t c h w"),
        ),
        # from a square, 7 x 8 is no grid, so 8 are the channels
        ((2, 16, 7, 7, 8), (2, 3, 16, 112, 112), "b t h w c"),
        ((1, 16, 55, 55), (1, 3, 224, 224), "b c h w"),
    ],
)
def test_layout_is_told_from_the_shape(shape: tuple[int, ...], x: tuple[int, ...], layout: str) -> None:
    assert infer_layout(shape, torch.empty(x, device="meta")) == layout


@pytest.mark.parametrize(
    ("shape", "x"),
    [
        *(((1, 8, 8, 8, 8), (1, 3, 16, 64, 64)), ((1, 7, 7, 7), (1, 3, 224, 224))),  # as good one way as the other
        ((1, 16, 8, 7, 7), (1, 16, 3, 224, 224)),  # channels or time first, behind an input with time first
        *(((1, 392, 768), (1, 3, 16, 224, 224)), ((1, 393, 768), (1, 3, 16, 224, 224))),  # tokens without a grid
        *(((1, 400), (1, 3, 16, 112, 112)), ((1, 512), (1, 3, 224, 224))),  # no grid at all
        *(((3, 512, 2, 7, 7), (2, 3, 16, 112, 112)), ((8, 512, 7, 7), (2, 3, 16, 112, 112))),  # another batch, or time
        ((2, 512, 7, 7), (2, 3, 16, 112, 112)),  # a clip whose time has gone
        ((2, 16, 64, 7, 7), (2, 3, 16, 112, 112)),  # time before channels, behind channels first
        *(
            ((2, 512, 2, 7, 14), (2, 3, 16, 112, 112)),
            ((2, 64, 2, 20, 7), (2, 3, 16, 112, 224)),
        ),  # height without width
    ],
)
def test_layout_is_not_guessed(shape: tuple[int, ...], x: tuple[int, ...]) -> None:
    with pytest.raises(LayerError, match="give layout="):
        infer_layout(shape, torch.empty(x, device="meta"))


def test_tokens_with_a_grid() -> None:
    x = torch.empty(1, 3, 16, 224, 224, device="meta")
    assert infer_layout((1, 392, 768), x, grid=(8, 7, 7)) == "b (t h w) c"
    assert infer_layout((1, 393, 768), x, grid=(8, 7, 7)) == "b (t h w) c"
    for shape in ((1, 394, 768), (1, 391, 768), (2, 392, 768)):
        with pytest.raises(LayerError):
            infer_layout(shape, x, grid=(8, 7, 7))


def test_input_layout() -> None:
    """An input's axes are told from its shape; channels are 1 or 3."""
    assert input_layout(torch.empty(2, 3, 16, 4, 5)) == input_layout(torch.empty(2, 3, 3, 4, 5)) == "b c t h w"
    assert input_layout(torch.empty(2, 16, 3, 4, 5)) == "b t c h w"
    assert input_layout(torch.empty(2, 3, 4, 5)) == "b c h w"
    with pytest.raises(LayerError, match="cannot tell frames"):
        input_layout(torch.empty(2, 3, 4))


def test_an_input_whose_layout_is_said_is_not_guessed() -> None:
    """Flow of 2 channels, time first: its 8 frames look like channels, so that only what is said tells them."""
    x = torch.empty(2, 8, 2, 16, 24, device="meta")
    assert infer_layout((16, 5, 4, 6), x, given_as="b t c h w") == "(b t) c h w"
    assert infer_layout((2, 8, 9, 4, 6), x, given_as="b t c h w") == "b t c h w"
    with pytest.raises(LayerError, match="reads as none"):
        infer_layout((16, 5, 4, 6), x)


def test_grid_axes() -> None:
    assert grid_axes("b (t h w) c") == grid_axes("b c t h w") == "t h w"
    assert grid_axes("b h w c") == "h w" and grid_axes("b c t") == "t"


def test_find_layer() -> None:
    shared = nn.ReLU()
    net = nn.Sequential(OrderedDict(stem=nn.Conv2d(1, 1, 1), first=shared, again=shared))
    assert find_layer(net, "stem") is net.stem
    assert find_layer(net, "again") is shared  # also under its second name
    for name in ("stems", "", "steam"):
        with pytest.raises(LayerError, match="stem"):
            find_layer(net, name)


Pair = namedtuple("Pair", ["first", "second"])


@dataclass(frozen=True)
class Answer:
    name: str
    values: Tensor


class Output(OrderedDict[str, Any]):
    """A mapping whose keys are attributes as well."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self.__dict__[name] = value


ONE = torch.ones(1)
VALUES: list[Any] = [
    *(ONE, (ONE, (1, 2, 3)), [3, ONE], {"ids": torch.arange(2), "x": ONE}, Pair("a", ONE), Answer("a", ONE)),
    *(Output(x=ONE), [{"deep": (Pair(None, ONE),)}], {3: ONE}),
]


@pytest.mark.parametrize("value", VALUES)
def test_tensors_are_found_and_changed_in_any_structure(value: Any) -> None:
    assert first_tensor(value) is ONE
    changed = map_tensors(value, lambda t: t + 1)
    found = first_tensor(changed)
    assert type(changed) is type(value) and found is not None and found.item() == 2
    assert first_tensor(value) is ONE and ONE.item() == 1  # the original is left alone


def test_everything_else_is_kept() -> None:
    value = {"size": (8, 7, 7), "name": "x", "none": None, "ids": torch.arange(2), "empty": []}
    changed = map_tensors(value, torch.clone)
    assert torch.equal(changed.pop("ids"), torch.arange(2))
    assert changed == {k: v for k, v in value.items() if k != "ids"}
    assert map_tensors(Output(x=ONE), torch.clone).x.item() == 1
    assert map_tensors(torch.Size([2, 3]), torch.clone) == torch.Size([2, 3])
    assert first_tensor({"ids": torch.arange(2)}) is None and named_parts("text") == {}
    assert isinstance(named_parts(Answer("a", ONE)), Mapping)


def test_token_grid() -> None:
    assert token_grid("a", (ONE, (8, 7, 7))) == token_grid("a", (ONE, [8, 7, 7])) == {"a": (8, 7, 7)}
    for output in (ONE, (ONE,), (ONE, ONE), (ONE, (7, 7)), (ONE, (8.0, 7, 7)), (ONE, None)):
        assert token_grid("a", output) == {}


def test_a_full_memory_does_not_read_as_a_layout_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("vidcam.attribution.layers.rearrange", full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        read_grid(torch.zeros(1, 2, 3, 4, 4), "b c t h w", batch=1)


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_layers_keep_their_names_in_what_compiles_or_spreads_a_network(wrap: Any) -> None:
    net = nn.Sequential(OrderedDict(conv=nn.Conv3d(3, 4, 1), pool=nn.AdaptiveAvgPool3d(1), flat=nn.Flatten()))
    assert find_layer(wrap(net), "conv") is net.conv
    with pytest.raises(LayerError, match="unknown layer 'conf'; did you mean"):
        find_layer(wrap(net), "conf")


class Stage(nn.Module):
    """Two paths, as a network of a slow and a fast one has, returned as they are packed."""

    def __init__(self, pack: Callable[..., Any]) -> None:
        super().__init__()
        self.slow, self.fast, self.pack = nn.Conv3d(3, 4, 3, 2, 1), nn.Conv3d(3, 4, 3, (1, 4, 4), 1), pack

    def forward(self, x: Tensor) -> Any:
        return self.pack(self.slow(x), self.fast(x))


class Paths(nn.Module):
    """Reads one or both of what its stage returns."""

    def __init__(self, pack: Callable[..., Any], read: Callable[[Any], Sequence[Tensor]]) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.stage, self.read, self.head = Stage(pack), read, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(sum(part.mean((2, 3, 4)) for part in self.read(self.stage(x))))


CLIP = torch.randn(2, 3, 6, 16, 16, generator=torch.Generator().manual_seed(1))
PACKS: dict[str, tuple[Callable[..., Any], Callable[[Any, int], Tensor], Sequence[str]]] = {
    "list": (lambda a, b: [a, b], lambda o, i: o[i], ("stage[0]", "stage[1]")),
    "dict": (lambda a, b: {"s": a, "f": b}, lambda o, i: o["sf"[i]], ("stage[s]", "stage['f']")),
    "nested": (
        lambda a, b: (None, (a, {"f": b})),
        lambda o, i: (o[1][0], o[1][1]["f"])[i],
        ("stage[1][0]", "stage[1][1]['f']"),
    ),
    "object": (lambda a, b: SimpleNamespace(s=a, f=b), lambda o, i: (o.s, o.f)[i], ("stage[s]", "stage[f]")),
    "mapping": (lambda a, b: MappingProxyType({"s": a, "f": b}), lambda o, i: o["sf"[i]], ("stage[s]", "stage[f]")),
}


def by_hand(net: Paths, index: int) -> Tensor:
    """Grad-CAM of class 1, slot by slot, by plain autograd of one path's output."""
    maps = [net.stage.slow(CLIP), net.stage.fast(CLIP)]
    leaves = [own.detach().requires_grad_() for own in maps]
    score = net.head(sum(own.mean((2, 3, 4)) for own in net.read(net.stage.pack(*leaves))))[:, 1].sum()
    (gradient,) = torch.autograd.grad(score, leaves[index])
    return (gradient.mean((3, 4), keepdim=True) * leaves[index]).sum(1).relu().detach()


@pytest.mark.parametrize("packed", PACKS)
def test_the_output_of_a_layer_that_is_used_or_named_is_the_one_explained(packed: str) -> None:
    pack, part, names = PACKS[packed]
    for index in (0, 1):
        net = Paths(pack, lambda output, index=index: [part(output, index)])
        right = by_hand(net, index)
        for layer in ("stage", names[index]):
            torch.testing.assert_close(cam(net, CLIP, layer=layer, target=1), right)
        with pytest.raises(LayerError, match="does not influence the score"):
            cam(net, CLIP, layer=names[1 - index], target=1)


@pytest.mark.parametrize("packed", PACKS)
def test_outputs_of_a_layer_that_fit_equally_are_named(packed: str) -> None:
    pack, part, names = PACKS[packed]
    net = Paths(pack, lambda output: [part(output, 0), part(output, 1)])
    for layer, index in zip(names, (0, 1), strict=True):
        torch.testing.assert_close(cam(net, CLIP, layer=layer, target=1), by_hand(net, index))
        assert cam(net, CLIP, layer=layer, method="eigen_cam").any()
    shown = [re.escape(name.replace("'", "")) for name in names]
    for method in ("grad_cam", "eigen_cam"):
        with pytest.raises(
            LayerError, match=rf"'{shown[0]}' \(2, 4, 3, 8, 8\), '{shown[1]}' \(2, 4, 6, 4, 4\); name one"
        ):
            cam(net, CLIP, layer="stage", target=1, method=method)
    with pytest.raises(LayerError, match="unknown output 'stage\\[7\\]'"):
        cam(net, CLIP, layer="stage[7]", target=1)


class Pyramid(nn.Module):
    """Returns a map, one that is made of it, and the mean of that."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.second = nn.Conv3d(3, 4, 3, (1, 2, 2), 1), nn.Conv3d(4, 4, 3, (1, 2, 2), 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = self.first(x).relu()
        coarse = self.second(fine).relu_()
        return {"fine": fine, "coarse": coarse, "mean": coarse.mean((2, 3, 4))}


class OfPyramid(nn.Module):
    def __init__(self, *reads: str) -> None:
        super().__init__()
        self.body, self.head, self.reads = Pyramid(), nn.Linear(4, 3), reads

    def forward(self, x: Tensor) -> Tensor:
        maps = self.body(x)
        return self.head(sum(maps[name] if name == "mean" else maps[name].amax((2, 3, 4)) for name in self.reads))


@pytest.mark.parametrize("reads", [("fine", "coarse"), ("coarse",), ("mean",), ("fine", "mean"), ("coarse", "mean")])
@pytest.mark.parametrize("name", ["fine", "coarse"])
def test_what_a_layer_makes_of_one_output_for_another_counts(name: str, reads: tuple[str, ...]) -> None:
    net = OfPyramid(*reads)
    maps = net.body(CLIP)
    score = net.head(sum(maps[own] if own == "mean" else maps[own].amax((2, 3, 4)) for own in reads))[:, 1].sum()
    (gradient,) = torch.autograd.grad(score, maps[name], allow_unused=True)
    flags = [parameter.requires_grad for parameter in net.parameters()]
    if gradient is None:
        with pytest.raises(LayerError, match="does not influence the score"):
            cam(net, CLIP, layer=f"body[{name}]", target=1)
    else:
        right = (gradient.mean((3, 4), keepdim=True) * maps[name]).sum(1).relu().detach()
        torch.testing.assert_close(cam(net, CLIP, layer=f"body[{name}]", target=1), right)
    assert flags == [parameter.requires_grad for parameter in net.parameters()] and all(flags)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_only_map_that_a_layer_returns_is_explained_by_what_is_made_of_it() -> None:
    class Pooled(Pyramid):
        def forward(self, x: Tensor) -> Any:
            fine = self.first(x).relu()
            return fine.mean((2, 3, 4)), fine

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = Pooled(), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x)[0])

    net = Net()
    _, fine = net.body(CLIP)
    weights = net.head.weight[1] / fine[0, 0].numel()
    right = torch.einsum("c,bcthw->bthw", weights, fine).relu().detach()
    for layer in ("body", "body[1]"):
        torch.testing.assert_close(cam(net, CLIP, layer=layer, target=1), right)


@pytest.mark.parametrize(
    ("layers", "behind"),
    [
        (["body[coarse]", "body.first"], {"body[coarse]"}),
        (["body.first", "body[fine]"], {"body[fine]"}),
        (["body.second", "body[coarse]"], {"body[coarse]"}),
        (["body.second", "body[fine]"], set()),
    ],
)
def test_which_layer_comes_behind_another_one_is_known_also_inside_of_it(layers: list[str], behind: set[str]) -> None:
    for order in (layers, layers[::-1]):
        found = capture(OfPyramid("coarse"), CLIP, layers=order, scores=[lambda output: output[:, 1]])
        assert found.behind == behind


class Cell(nn.Module):
    """A ConvLSTM's cell, which returns its states as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Conv2d(3 + 4, 16, 3, padding=1)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        hidden, memory = state
        forget, enter, out, new = self.gates(torch.cat([x, hidden], 1)).chunk(4, 1)
        memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
        hidden = out.sigmoid() * memory.tanh()
        return hidden, (hidden, memory)


class ConvLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = Cell(), nn.Linear(4, 3)

    def states(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        state, all_states = (x.new_zeros(len(x), 4, 16, 16),) * 2, []
        for frame in x.unbind(2):
            _, state = self.cell(frame, state)
            all_states.append(state)
        return all_states

    def forward(self, x: Tensor) -> Tensor:
        return self.head(sum(hidden for hidden, _ in self.states(x)).mean((2, 3)))


@pytest.mark.parametrize(("layer", "which"), [("cell[0]", 0), ("cell[1][1]", 1)])
def test_of_a_recurrent_cell_the_first_frame_is_treated_as_the_others(layer: str, which: int) -> None:
    net = ConvLSTM()
    kept: list[Tensor] = []
    handle = net.cell.register_forward_hook(lambda _m, _a, output: kept.append(output[1][which]))
    score = net(CLIP)[:, 1].sum()
    handle.remove()
    gradients = torch.autograd.grad(score, kept)
    maps = [(g.mean((2, 3), keepdim=True) * a).sum(1).relu() for g, a in zip(gradients, kept, strict=True)]
    torch.testing.assert_close(cam(net, CLIP, layer=layer, target=1), torch.stack(maps, 1).detach())


class States(nn.Module):
    """An LSTM over frames, of whose outputs some are read."""

    def __init__(self, read: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.rnn, self.head, self.read = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2), read

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self.rnn(x.mean((3, 4)).transpose(1, 2))))


@pytest.mark.parametrize("batch", [1, 2, 8])
@pytest.mark.parametrize("read", [lambda o: o[0].mean(1), lambda o: o[0].mean(1) + o[1][0][-1] + o[1][1][-1]])
def test_of_a_recurrent_layer_the_output_over_time_is_taken(batch: int, read: Callable[[Any], Tensor]) -> None:
    net, x = States(read), torch.randn(batch, 3, 6, 4, 4)
    states = net.rnn(x.mean((3, 4)).transpose(1, 2))
    (gradient,) = torch.autograd.grad(net.head(states[0].mean(1))[:, 0].sum(), states[0])
    right = (gradient * states[0]).sum(2).relu()
    for method, expected in (("hires_cam", right), ("eigen_cam", None)):
        found = [cam(net, x, layer=name, target=0, layout="b t c", method=method) for name in ("rnn", "rnn[0]")]
        torch.testing.assert_close(found[0], found[1])
        if expected is not None:
            torch.testing.assert_close(found[0], expected.detach())


@dataclass
class Held:
    deep: Tensor


class Slotted:
    __slots__ = ("deep", "name")

    def __init__(self, deep: Tensor) -> None:
        self.deep, self.name = deep, "x"


class Needing(OrderedDict[str, Any]):
    def __init__(self, given: Any) -> None:
        super().__init__(given)


class Sealed(Mapping[str, Tensor]):
    """A mapping that cannot be copied."""

    def __init__(self, *, deep: Tensor) -> None:
        self._deep = deep

    def __getitem__(self, key: str) -> Tensor:
        return {"deep": self._deep}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(["deep"])

    def __len__(self) -> int:
        return 1


def test_containers_of_all_kinds_are_copied_with_their_tensors_changed() -> None:
    for value in (Slotted(ONE), SimpleNamespace(deep=ONE), Held(ONE), Needing({"deep": ONE}), UserDict(deep=ONE)):
        changed = map_tensors(value, lambda tensor: tensor + 1)
        assert type(changed) is type(value) and changed is not value
        assert first_tensor(changed) == 2 and first_tensor(value) is ONE
    proxy = map_tensors(MappingProxyType({"deep": ONE, "n": 3}), lambda tensor: tensor + 1)
    assert isinstance(proxy, MappingProxyType) and proxy == {"deep": 2, "n": 3}
    assert map_tensors(deque([ONE, 2]), lambda tensor: tensor + 1) == deque([2, 2])
    with pytest.raises(ModelError, match="held by a Sealed, which cannot be copied; pass them in a dict"):
        map_tensors(Sealed(deep=ONE), lambda tensor: tensor + 1)


def test_a_layer_that_padding_made_longer_than_the_input_is_read_where_one_layout_fits() -> None:
    x = torch.randn(1, 3, 16, 32, 32)
    net = nn.Sequential(*[nn.Conv3d(3, 3, (1, 3, 3), (1, 2, 2), padding=1) for _ in range(3)])
    assert net(x).shape == (1, 3, 22, 4, 4)
    assert infer_layout(net(x).shape, x) == "b c t h w"
    assert infer_layout(net(x).movedim(1, -1).shape, x) == "b t h w c"
    with pytest.raises(LayerError, match="reads as none of"):
        infer_layout((1, 3, 40, 4, 4), x)


def test_layers_of_unpadded_convolutions_are_read() -> None:
    """PilotNet's five, 31x98 to 1x18 cells of 66x200; padding would have made the last 9x25."""
    x = out = torch.randn(1, 3, 66, 200)
    for conv in [nn.Conv2d(3, 24, 5, 2), nn.Conv2d(24, 36, 5, 2), nn.Conv2d(36, 48, 5, 2), nn.Conv2d(48, 64, 3)]:
        out = conv(out)
        assert infer_layout(out.shape, x) == "b c h w"
    assert infer_layout((1, 64, 1, 18), x) == "b c h w"
    assert infer_layout((1, 5, 22, 48), x) == "b h w c"
    for shape in ((1, 48, 22, 5), (1, 48, 5, 40), (1, 48, 9, 9)):  # on its side, too wide, square
        with pytest.raises(LayerError, match="reads as none"):
            infer_layout(shape, x)
    assert infer_layout((1, 48, 22, 5), x.mT) == "b c h w"
    assert infer_layout((1, 4, 9, 12), torch.empty(1, 3, 72, 96, device="meta")) == "b c h w"  # padded comes first


def test_a_layer_called_input_is_not_taken_for_the_input() -> None:
    net = nn.Sequential(OrderedDict(input=nn.Conv3d(3, 4, 3, 2, 1), pool=nn.AdaptiveAvgPool3d(1), flat=nn.Flatten()))
    for layer in ("input", net.input):
        with pytest.raises(LayerError, match="'input' is a layer of the network, and means its input as well"):
            cam(net, CLIP, layer=layer, target=0)
    held = nn.Sequential(OrderedDict(net=net))
    for layer in ("net.input", net.input):
        assert cam(held, CLIP, layer=layer, target=0).shape == (2, 3, 8, 8)
    assert cam(held, CLIP, layer="input", target=0).shape == (2, 6, 16, 16)
