"""Networks that carry a state from call to call, against the loop over windows that their user would write."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam import Explanation, Model, explain, rank
from vidcam.attribution.scores import components
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, OptionError
from vidcam.explaining import explain as explaining
from vidcam.media import VideoWriter, open_video
from vidcam.metrics import deletion
from vidcam.models.inspection import list_layers

SIZE = Preprocessing(resize=(16, 16))
LABELS = ("one", "two", "three")


class Memory(nn.Module):
    """A convolution per frame, whose mean goes through a recurrent cell that goes on from call to call.

    (B, 3, T, H, W) -> (B, 3). It keeps its hidden state in an attribute, a list, a pair, a part or a buffer.
    """

    def __init__(self, way: str = "attribute") -> None:
        super().__init__()
        torch.manual_seed(5)
        self.way, self.kept = way, [] if way == "list" else None
        self.conv = nn.Conv3d(3, 4, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.cell, self.head = nn.LSTMCell(4, 4), nn.Linear(4, 3)
        nn.init.normal_(self.head.weight, std=3)
        self.cell.carried = None  # type: ignore[assignment]
        if way == "buffer":
            self.register_buffer("both", torch.zeros(2, 1, 4))

    def read(self) -> Any:
        if self.way == "list":
            return tuple(self.kept) if self.kept else None
        if self.way == "buffer":
            return tuple(self.both.clone())
        return self.cell.carried if self.way == "part" else self.kept

    def write(self, both: Any) -> None:
        if self.way == "list":
            self.kept[:] = both
        elif self.way == "buffer":
            self.both.copy_(torch.stack(both))
        elif self.way == "part":
            self.cell.carried = both
        else:
            self.kept = both

    def reset(self) -> None:
        """Forget."""
        self.write((torch.zeros(1, 4), torch.zeros(1, 4)))

    def answer(self, features: Tensor, both: Any) -> tuple[Tensor, Any]:
        for t in range(features.shape[2]):
            both = self.cell(features[:, :, t].relu().mean((2, 3)), both)
        return self.head(both[0]), both

    def forward(self, x: Tensor) -> Tensor:
        out, both = self.answer(self.conv(x), self.read())
        self.write(both)
        return out


def loop(
    net: Memory, model: Model, path: Path, target: int, both: Any = None
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Window after window: the answer, Grad-CAM's heat (T, 8, 8) by plain autograd, and the window's frames."""
    with open_video(path) as video:
        frames = [model.prepare(frame.pixels) for frame in video]
    for start in range(0, len(frames), model.frames):
        own = list(range(start, min(start + model.frames, len(frames))))
        taken = own + [own[-1]] * (model.frames - len(own))
        x = torch.stack([frames[i] for i in taken], 1)[None]
        leaf = net.conv(x).detach().requires_grad_()
        out, both = net.answer(leaf, both)
        (gradient,) = torch.autograd.grad(out[0, target], leaf)
        both = tuple(part.detach() for part in both)
        heat = (gradient.mean((3, 4), keepdim=True) * leaf).sum(1).relu()[0].detach()
        yield out.detach()[0], heat, own


def expected(net: Memory, model: Model, path: Path, target: int, both: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) answers and (F, 8, 8) heat; a frame that fills several places gets their weighted mean."""
    answers, maps = [], []
    ramp = np.minimum(np.arange(model.frames) + 1, np.arange(model.frames, 0, -1)).astype(float)
    for out, heat, own in loop(net, model, path, target, both):
        answers.append(out.numpy())
        maps.extend(heat[: len(own) - 1].numpy())
        last = slice(len(own) - 1, None)
        maps.append(np.average(heat[last].numpy(), axis=0, weights=ramp[last]))
    return np.array(answers), np.array(maps)


Make = Callable[..., Path]


@pytest.fixture
def movie(tmp_path: Path) -> Make:
    """Noise that changes; in frames 5 to 6 a white square at rows and columns 0 to 8."""

    def make(count: int = 12) -> Path:
        if (tmp_path / f"{count}.mp4").exists():
            return tmp_path / f"{count}.mp4"
        rng = np.random.default_rng(2)
        with VideoWriter(tmp_path / f"{count}.mp4", width=16, height=16, rate=Fraction(10)) as writer:
            for i in range(count):
                pixels = rng.integers(0, 120, (16, 16, 3), np.uint8)
                if 5 <= i < 7:
                    pixels[:8, :8] = 255
                writer.write(pixels)
        return tmp_path / f"{count}.mp4"

    return make


def carried(net: nn.Module, **changes: Any) -> Model:
    facts = {"layer": "conv", "frames": 4, "labels": LABELS, "preprocessing": SIZE, "state": "carried"}
    return Model(net, **facts | changes)


def agree(found: Explanation, answers: np.ndarray, maps: np.ndarray) -> None:
    likely = torch.from_numpy(answers).softmax(1).numpy()
    np.testing.assert_allclose(found.probabilities, likely, atol=1e-6)
    np.testing.assert_allclose(found.heat, maps, atol=1e-6 * maps.max())
    assert maps.max() > 0


@pytest.mark.parametrize("way", ["attribute", "list", "part", "buffer"])
@pytest.mark.parametrize("count", [12, 14, 3])
def test_a_state_is_carried_as_in_the_user_s_loop(way: str, count: int, movie: Make) -> None:
    net, path = Memory(way).eval(), movie(count)
    model = carried(net)
    for _ in range(2):  # a second time it begins anew
        found = explain(model, path, target="two")
        agree(found, *expected(net, model, path, 1))
    padded = "the last window has" in " ".join(found.notes)
    assert padded == bool(count % 4)
    assert any("carried from window to window" in note for note in found.notes)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_windows_of_few_frames_as_one_by_one(frames: int, movie: Make) -> None:
    net, path = Memory().eval(), movie()
    model = carried(net, frames=frames)
    found = explain(model, path, target=2)
    agree(found, *expected(net, model, path, 2))
    assert found.probabilities.shape == (12 // frames, 3)


def test_single_pictures(movie: Make) -> None:
    class Picture(Memory):
        def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
            features = self.features(x)
            out, both = self.answer(features[:, :, None], self.read())
            self.write(both)
            return out

        def features(self, x: Tensor) -> Tensor:
            return self.plane(x)

        def plane(self, x: Tensor) -> Tensor:
            return self.flat(x)

    net = Picture().eval()
    net.flat = nn.Conv2d(3, 4, 3, 2, 1)
    with torch.no_grad():
        net.flat.weight.copy_(net.conv.weight[:, :, 0])
        net.flat.bias.copy_(net.conv.bias)
    model = carried(net, layer="flat", frames=1, input_layout="b c h w")
    found = explain(model, movie(), target=0)
    agree(found, *expected(net, model, movie(), 0))


@pytest.mark.parametrize("target", [None, "two", ["one", "three"]])
@pytest.mark.parametrize("method", ["grad_cam", "smooth_grad_cam_pp", "eigen_cam", "layer_cam"])
def test_nothing_but_windows_lets_the_state_go_on(method: str, target: Any, movie: Make) -> None:
    """Geometry, centroids, noisy copies, several classes and a second turn: the answers stay those of the loop."""
    net, path = Memory().eval(), movie()
    model = carried(net)
    found = explain(model, path, target=target, method=method, placement=("effective", "effective"))
    answers, _ = expected(net, model, path, 0)
    np.testing.assert_allclose(found.probabilities, torch.from_numpy(answers).softmax(1).numpy(), atol=1e-6)


def test_stacked_frames_move_by_one(movie: Make) -> None:
    """Pairs of frames as channels, each pair once: the state goes on from pair to pair."""

    class Pairs(Memory):
        def __init__(self) -> None:
            super().__init__()
            self.flat = nn.Conv2d(6, 4, 3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            out, both = self.answer(self.flat(x.flatten(1, 2))[:, :, None], self.read())
            self.write(both)
            return out

    net, path = Pairs().eval(), movie()
    found = explain(
        carried(net, layer="flat", layout="b c h w", frames=2, labels=(), scores=components("x", "y", "z")),
        path,
        target="x",
    )
    with open_video(path) as video:
        frames = torch.stack([SIZE(frame.pixels) for frame in video], 1)[None]
    both, answers = None, []
    for start in range(11):
        out, both = net.answer(net.flat(frames[:, :, start : start + 2].flatten(1, 2))[:, :, None], both)
        answers.append(out[0].detach().numpy())
    np.testing.assert_allclose(found.outputs[1:], answers, atol=1e-5)  # a pair's map and answer lie on its second frame


def test_a_state_goes_on_across_a_gap_which_is_said(tmp_path: Path) -> None:
    seconds = [*np.arange(6) / 10, *(5 + np.arange(4) / 10)]
    with VideoWriter(tmp_path / "gap.mp4", width=16, height=16, rate=Fraction(10)) as writer:
        for i, moment in enumerate(seconds):
            writer.write(np.full((16, 16, 3), 20 * i, np.uint8), moment)
    net = Memory().eval()
    found = explain(carried(net, frame_rate=10), tmp_path / "gap.mp4", target=0)
    with open_video(tmp_path / "gap.mp4") as video:
        frames = [SIZE(frame.pixels) for frame in video]
    both = None
    for window, taken in enumerate(([0, 1, 2, 3], [4, 5, 5, 5], [6, 7, 8, 9])):
        out, both = net.answer(net.conv(torch.stack([frames[i] for i in taken], 1)[None]), both)
        np.testing.assert_allclose(found.probabilities[window], out.softmax(1)[0].detach(), atol=1e-6)
    assert any("the network's state was carried across" in note for note in found.notes)


class Late(Memory):
    """Counts its calls, beside its hidden state: class 0 leads in the first three, class 1 from then on."""

    def answer(self, features: Tensor, both: Any) -> tuple[Tensor, Any]:
        count = both[2] + 1 if both else torch.ones(1)
        out, both = super().answer(features, both and both[:2])
        lead = torch.stack([count <= 3, count > 3, count < 0], 1)
        return out + 9 * lead, (*both, count)


def test_a_second_turn_begins_anew_and_passes_by_the_other_windows(movie: Make) -> None:
    net, path = Late().eval(), movie(24)
    model = carried(net, frames=2)
    answers, _ = expected(net, model, path, 0)
    shares = torch.from_numpy(answers).softmax(1)
    winner = int(shares.mean(0).argmax())
    led = (shares.cumsum(0).argmax(1) == winner).tolist()
    assert not all(led) and any(led)  # some windows are run again, others are not
    agree(explain(model, path), *expected(net, model, path, winner))


def test_a_regressor(movie: Make) -> None:
    net, path = Memory().eval(), movie()
    model = carried(net, labels=(), scores=components("x", "y", "z"))
    found = explain(model, path, target="y")
    answers, maps = expected(net, model, path, 1)
    np.testing.assert_allclose(found.outputs, answers.repeat(4, axis=0), atol=1e-5)
    np.testing.assert_allclose(found.heat, maps, atol=1e-6 * maps.max())


@pytest.mark.parametrize("way", ["attribute", "list", "part", "buffer"])
@pytest.mark.parametrize("reset", ["reset", lambda net: net.reset(), None])
def test_where_a_state_begins(way: str, reset: Any, movie: Make) -> None:
    net, path = Memory(way).eval(), movie()
    net(torch.rand(1, 3, 4, 16, 16))  # the user's own call
    left = tuple(part.detach().clone() for part in net.read())
    assert all(part.any() for part in left)
    zeros = (torch.zeros(1, 4), torch.zeros(1, 4))
    model = carried(net, reset=reset)
    found = explain(model, path, target=0)
    agree(found, *expected(net, model, path, 0, left if reset is None else zeros))
    assert any(("as the network stood" if reset is None else "as reset= left it") in note for note in found.notes)
    assert all(torch.equal(one, other) for one, other in zip(net.read(), left, strict=True))


@pytest.mark.parametrize("way", ["attribute", "list", "part", "buffer"])
def test_a_state_begins_as_it_was_when_the_model_was_made(way: str, movie: Make) -> None:
    """Whatever the user ran since then; all that is no state is as it is now."""

    class Scaled(Memory):
        scale = 1.0

        def __init__(self, way: str) -> None:
            super().__init__(way)
            self.norm = nn.BatchNorm3d(4, affine=False)
            self.table = [torch.ones(3)]

        def forward(self, x: Tensor) -> Tensor:
            out, both = self.answer(self.norm(self.conv(x)), self.read())
            self.write(both)
            return out * self.scale * self.table[0]

    net, path = Scaled(way).eval(), movie()
    model = carried(net)
    first = explain(model, path, target=0)
    net.train()
    if way != "buffer":
        net(torch.rand(5, 3, 4, 16, 16)).sum().backward()  # the state has another size now
    else:
        net(torch.rand(1, 3, 4, 16, 16))
    net.eval()
    left = net.read()
    agree_with = explain(carried(Scaled(way).eval()), path, target=0)
    np.testing.assert_array_equal(first.heat, agree_with.heat)
    net.scale, net.table = 2.0, [torch.tensor([3.0, 1.0, 1.0])]
    found = explain(model, path, target=0)
    other = Scaled(way).eval()
    other.norm.load_state_dict(net.norm.state_dict())
    other.scale, other.table = net.scale, net.table
    right = explain(carried(other), path, target=0)
    np.testing.assert_array_equal(found.heat, right.heat)
    np.testing.assert_array_equal(found.probabilities, right.probabilities)
    assert abs(found.probabilities - first.probabilities).max() > 0.01
    assert all(torch.equal(one, other) for one, other in zip(net.read(), left, strict=True))
    assert replace(model, frames=2)._made is model._made  # what opens a source makes a copy of the model


def test_a_state_that_is_not_found_is_refused(movie: Make) -> None:
    class Hidden(Memory):
        def read(self) -> Any:
            return hidden[-1]

        def write(self, both: Any) -> None:
            hidden.append(both)

    hidden: list[Any] = [None]
    with pytest.raises(OptionError, match="changes nothing in the attributes and buffers of its modules"):
        explain(carried(Hidden()), movie())


def test_a_state_in_a_parameter_is_refused(movie: Make) -> None:
    class Parametric(Memory):
        def __init__(self) -> None:
            super().__init__("buffer")
            del self.both
            self.both = nn.Parameter(torch.zeros(2, 1, 4), requires_grad=False)

        def write(self, both: Any) -> None:
            with torch.no_grad():
                self.both.copy_(torch.stack(both))

    with pytest.raises(OptionError, match=r"keeps its state in parameter 'both'.*keep it in a buffer"):
        explain(carried(Parametric()), movie())
    with pytest.raises(ModelError, match="by what it keeps in 'both'"):
        explain(carried(Parametric(), state=None), movie())


def test_answers_that_are_no_numbers_are_the_same(movie: Make) -> None:
    class Beside(Plain):
        def forward(self, x: Tensor) -> Any:
            logits = super().forward(x)
            return {"logits": logits, "beside": torch.tensor([[torch.nan, torch.inf, 1.0]])}

    explain(carried(Beside(), state=None), movie(), target=0)


def test_weights_that_a_call_clips_are_no_state(movie: Make) -> None:
    class Clipping(Plain):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                self.head.weight.clamp_(-0.3, 0.3)
            return super().forward(x)

    found = explain(carried(Clipping(), state=None), movie(), target=0)
    assert len(found.windows) == 5 and not [note for note in found.notes if "keeps" in note]


def test_what_fails_on_noise_needs_a_reset(movie: Make) -> None:
    class Picky(Memory):
        def forward(self, x: Tensor) -> Tensor:
            if x.std() > 0.1:
                raise ValueError("too much contrast\nfor me")
            return super().forward(x)

    with pytest.raises(ModelError, match=r"fails on noise \(too much contrast\); say how its state begins: reset="):
        explain(carried(Picky()), movie())


@pytest.mark.parametrize("frames", [2, 4])
def test_a_fresh_state_begins_with_every_window_whatever_the_batch(frames: int, movie: Make) -> None:
    net, path = Memory().eval(), movie()
    model = carried(net, state="fresh", reset=lambda net: setattr(net, "kept", None), frames=frames)
    net(torch.rand(1, 3, 4, 16, 16))
    found = [explain(model, path, target=1, batch=batch) for batch in (1, 4)]
    with open_video(path) as video:
        frames_of = [model.prepare(frame.pixels) for frame in video]
    hop = frames // 2
    for window, start in enumerate(range(0, 12 - frames + 1, hop)):
        x = torch.stack(frames_of[start : start + frames], 1)[None]
        right = net.answer(net.conv(x), None)[0].softmax(1)[0].detach()
        for each in found:
            np.testing.assert_allclose(each.probabilities[window], right, atol=1e-6)
    np.testing.assert_allclose(found[0].heat, found[1].heat, atol=1e-6)
    assert any("begins" in note or "which began" in note for note in found[0].notes)


@pytest.mark.parametrize("way", ["attribute", "list", "part", "buffer"])
def test_the_user_s_state_and_backward_are_left(way: str, movie: Make) -> None:
    """The same objects, the same numbers, and the graph of a call that was made before."""
    net, path, x = Memory(way).eval(), movie(), torch.rand(1, 3, 4, 16, 16)
    loss = net(x).sum()
    kept = net.both if way == "buffer" else net.read()
    before = [part.tolist() for part in kept]
    for reset in ("reset", None):
        explain(carried(net, reset=reset), path)
        with pytest.raises(ZeroDivisionError):
            explain(carried(net, reset=reset), path, progress=fail_late)
        with pytest.raises(OptionError, match="ZeroDivisionError"):
            explain(carried(net, reset=reset), path, target=lambda _output: 1 / 0)
    now = net.both if way == "buffer" else net.read()
    assert now is kept if way != "list" else all(a is b for a, b in zip(now, kept, strict=True))
    assert [part.tolist() for part in now] == before
    (loss + net(x).sum()).backward()
    assert net.conv.weight.grad is not None and net.conv.weight.grad.any()


def fail_late(done: int, _of: Any) -> None:
    if done == 10:
        raise ZeroDivisionError


@pytest.mark.parametrize("way", ["attribute", "list", "part", "buffer"])
def test_a_window_costs_what_the_first_one_did(way: str, movie: Make) -> None:
    """The graph of each window's answer has as many nodes: no window holds those before it."""
    sizes: list[int] = []

    def score(output: Tensor) -> Tensor:
        nodes, ahead = set(), [output.grad_fn]
        while ahead:
            if (node := ahead.pop()) is not None and node not in nodes:
                nodes.add(node)
                ahead.extend(next_ for next_, _ in node.next_functions)
        sizes.append(len(nodes))
        return output[:, 0]

    net = Memory(way).eval()
    net.reset()
    explain(carried(net, frames=2), movie(24), target=score)
    assert len(sizes) >= 12 and len(set(sizes)) == 1


# Nobody said that there is a state


@pytest.mark.parametrize("way", ["attribute", "list", "part", "buffer"])
def test_a_network_that_answers_otherwise_is_refused(way: str, movie: Make) -> None:
    net = Memory(way).eval()
    names = {"attribute": "'kept'", "list": "'kept'", "part": "'cell.carried'", "buffer": "'both'"}
    with pytest.raises(ModelError) as caught:
        explain(carried(net, state=None), movie())
    said = str(caught.value)
    assert names[way] in said and "state='carried'" in said and "state='fresh'" in said and "\n" not in said
    assert not net.read() or not any(part.any() for part in net.read())
    regressor = carried(net, state=None, scores=components("x", "y", "z"))
    with pytest.raises(ModelError, match="answers otherwise"):
        explain(regressor, movie())
    with pytest.raises(ModelError, match="answers otherwise"):
        rank(carried(net, state=None), movie(), batch=1)


class Difference(nn.Module):
    """Looks at what changed since the last call: twice the same picture is as still as the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv3d(3, 4, 1), None

    def forward(self, x: Tensor) -> Tensor:
        before = x if self.last is None else self.last
        self.last = x
        return (self.conv(x) - self.conv(before)).abs().mean((2, 3, 4))


def test_a_state_that_shows_only_where_something_changes_is_refused(movie: Make) -> None:
    net = Difference()
    x = torch.rand(1, 3, 4, 16, 16)
    assert torch.equal(net(x), net(x))
    net.last = None
    with pytest.raises(ModelError, match="by what it keeps in 'last'"):
        explain(carried(net, state=None, labels=()), movie())


class Sum(nn.Module):
    """Adds up how bright frames are; noise around zero is all dark to it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.sum = nn.Conv3d(3, 2, (1, 16, 16)), torch.zeros(1, 2)
        nn.init.constant_(self.conv.weight, 1 / 768)
        nn.init.constant_(self.conv.bias, -0.18)

    def forward(self, x: Tensor) -> Tensor:
        self.sum = self.sum + self.conv(x).relu().sum((2, 3, 4))
        return self.sum


def test_a_state_in_which_noise_leaves_nothing_is_refused(movie: Make) -> None:
    net = Sum()
    assert not net(torch.randn(1, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))).any()
    assert torch.equal(net.sum, torch.zeros(1, 2))
    with pytest.raises(ModelError, match="by what it keeps in 'sum'"):
        explain(carried(net, state=None, labels=()), movie())


class Plain(nn.Module):
    """Keeps what nothing depends on: its last features, a table by size, and perhaps a record of all of them."""

    def __init__(self, *, records: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv3d(3, 4, (1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.Linear(4, 3)
        self.tables: dict[Any, Tensor] = {}
        self.records: list[Tensor] | None = [] if records else None
        self.last: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.conv(x).relu()
        if x.shape not in self.tables:
            self.tables[x.shape] = torch.ones(1)
        if self.records is not None:
            self.records.append(self.last)
        return self.head(self.last.mean((2, 3, 4)) * self.tables[x.shape])


def test_what_a_network_keeps_without_effect_is_no_state(movie: Make) -> None:
    net = Plain()
    found = explain(carried(net, state=None), movie(), target=0, batch=2)
    assert len(found.windows) == 5  # windows overlap
    assert not [note for note in found.notes if "keeps" in note]
    assert net.last is None and net.tables == {}
    same = explain(carried(net), movie(), target=0)  # as far as windows are the same ones, so is their answer
    np.testing.assert_allclose(same.probabilities, found.probabilities[::2], atol=1e-6)


def test_what_changes_with_every_call_is_said(movie: Make) -> None:
    net = Plain(records=True)
    model = carried(net, state=None)
    for _ in range(2):
        found = explain(model, movie(), target=0)
        assert [note for note in found.notes if "'records' changes with every call" in note]
    assert net.records == []


def test_what_is_told_by_an_attribute_is_that_of_the_window(movie: Make) -> None:
    """An answer and an attention that are read off the network, and not off what it returns."""

    class Told(Plain):
        def forward(self, x: Tensor) -> Tensor:
            self.logits = super().forward(x)
            self.share = self.last.mean((1, 3, 4))
            return x

    net = Told()
    ways = {"output": lambda _: net.logits, "attention": lambda _: net.share}
    for state in (None, "carried"):
        found = explain(carried(net, state=state, **ways), movie(), target=0)
        right = explain(carried(Plain(), state=state), movie(), target=0)
        np.testing.assert_array_equal(found.probabilities, right.probabilities)
        np.testing.assert_array_equal(found.heat, right.heat)
        with open_video(movie()) as video:
            frames = torch.stack([SIZE(frame.pixels) for frame in video], 1)[None]
        np.testing.assert_allclose(found.attention, Told().conv(frames).relu().mean((1, 3, 4))[0].detach(), rtol=1e-5)
    assert not hasattr(net, "share")


# What does not go together


def test_windows_go_one_by_one_and_do_not_overlap(movie: Make) -> None:
    model = carried(Memory())
    with pytest.raises(OptionError, match="one at a time: batch=1; given 8"):
        explain(model, movie(), batch=8)
    with pytest.raises(OptionError, match=r"must not overlap: leave hop_seconds out; given 0.2 s for windows of 0.4 s"):
        explain(model, movie(), hop_seconds=0.2)
    explain(model, movie(), hop_seconds=0.4, batch=1)


def test_slots_that_do_not_fit() -> None:
    with pytest.raises(OptionError, match=r"unknown state 'caried'.*carried"):
        carried(Memory(), state="caried")
    with pytest.raises(OptionError, match="say state='carried' or state='fresh' too"):
        carried(Memory(), state=None, reset="reset")
    with pytest.raises(
        OptionError, match="a method of Memory by its name, or a function of the network; given 'forget'"
    ):
        carried(Memory(), reset="forget")
    with pytest.raises(OptionError, match="given 3"):
        carried(Memory(), reset=3)


def test_a_reset_that_fails_is_one_line(movie: Make) -> None:
    def reset(net: Any) -> None:
        net.kept = 3
        raise KeyError("no such\nstate")

    net = Memory()
    with pytest.raises(ModelError, match="reset= of custom failed: ") as caught:
        explain(carried(net, reset=reset), movie())
    assert "\n" not in str(caught.value) and net.kept is None


def test_what_runs_changed_versions_is_refused_or_begins_anew(movie: Make) -> None:
    net = Memory().eval()
    regressor = carried(net, labels=(), scores=components("x", "y", "z"))
    found = explain(regressor, movie(), target="x")
    with pytest.raises(OptionError, match=r"rank runs changed versions of each window.*state='fresh'"):
        rank(carried(net), movie())
    with pytest.raises(OptionError, match=r"deletion runs changed versions of each window.*state='fresh'"):
        deletion(regressor, movie(), found)
    with pytest.raises(ModelError, match="answers otherwise"):
        deletion(carried(net, state=None, labels=(), scores=regressor.scores), movie(), found)
    x = torch.rand(1, 3, 4, 16, 16)
    assert torch.equal(Memory().eval()(x), net(x))  # nothing is left of all that


def test_a_fresh_state_is_ranked_and_erased_as_that_of_a_network_without(movie: Make) -> None:
    class Forgetful(Memory):
        def read(self) -> Any:
            return None

    results = []
    for net, state in ((Memory().eval(), "fresh"), (Forgetful().eval(), None)):
        ranking = rank(carried(net, state=state), movie(), target=1, shown=(1,), draws=2)
        regressor = carried(net, state=state, labels=(), scores=components("x", "y", "z"))
        found = explain(regressor, movie(), target="x")
        report = deletion(regressor, movie(), found, draws=2, fractions=(0.2,))
        results.append([*ranking.scores.values(), ranking.kept.random, report.changes["x"]["hottest"]])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_state_of_one_sample_is_ranked_one_version_at_a_time(movie: Make) -> None:
    one = rank(carried(Memory("buffer").eval(), state="fresh"), movie(), target=1, shown=(1,), draws=1)
    other = rank(carried(Memory().eval(), state="fresh"), movie(), target=1, shown=(1,), draws=1, batch=4)
    for name, scores in one.scores.items():
        np.testing.assert_allclose(scores, other.scores[name], atol=1e-5)


def test_memory_that_runs_out_leaves_the_state(movie: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    net, real = Memory().eval(), explaining.Plan.capture
    runs: list[int] = []

    def full(self: Any, *args: Any) -> Any:
        captured = real(self, *args)
        runs.append(1)
        if len(runs) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return captured

    monkeypatch.setattr(explaining.Plan, "capture", full)
    with pytest.raises(ModelError, match="no memory"):
        explain(carried(net), movie())
    assert net.kept is None


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("state", ["carried", "fresh", None])
def test_the_callers_gradient_mode_does_not_matter(context: Any, state: Any, movie: Make) -> None:
    net = Memory("buffer").eval() if state else Plain()
    right = explain(carried(net, state=state), movie(), target=1)
    with context():
        found = explain(carried(net, state=state), movie(), target=1)
        if state:  # a state that the user's own loop left, in the same mode
            net.both = net.both.clone()
            again = explain(carried(net, state=state), movie(), target=1)
            np.testing.assert_array_equal(again.heat, right.heat)
    np.testing.assert_array_equal(found.heat, right.heat)
    if state:
        net.both = torch.zeros(2, 1, 4)
    net(torch.rand(1, 3, 4, 16, 16)).sum().backward()


def test_several_threads_explain_one_state(movie: Make) -> None:
    net, paths = Memory("list").eval(), [movie(), movie(14)]
    model = carried(net)
    right = [explain(model, path, target=1) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: explain(model, path, target=1), paths * 4))
    for one, other in zip(found, right * 4, strict=True):
        np.testing.assert_array_equal(one.heat, other.heat)
    assert net.kept == []


def test_layers_are_listed_as_of_a_network_without_a_state(movie: Make) -> None:
    assert list_layers(carried(Memory())) == list_layers(carried(Plain(), state=None))[:1]
