"""What a network keeps from call to call: where a run begins, what it leaves, and the user's own tensors and graphs."""

import logging
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam import cam
from vidcam.attribution.capturing import capture
from vidcam.attribution.methods import METHODS
from vidcam.attribution.receptive_field import measure_axes
from vidcam.attribution.scores import class_score
from vidcam.errors import VidcamError

WAYS = (
    *("attribute", "list", "dictionary", "tuple", "part", "replaced buffer", "changed buffer", "changed in place"),
    *("data", "object", "queue", "hidden module", "grown", "array"),
)


class Cell(nn.GRUCell):
    h: Any = None


class Memory(nn.Module):
    """A convolution per frame, whose mean goes through a recurrent cell: (B, 3, T, H, W) -> (B, 3).

    What the last call left is where the next begins.
    """

    def __init__(self, way: str = "attribute", batch: int = 1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.way = way
        self.conv = nn.Conv3d(3, 4, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.cell = Cell(4, 4)
        self.head = nn.Linear(4, 3)
        nn.init.normal_(self.head.weight, std=2)
        zeros = torch.zeros(batch, 4)
        if "buffer" in way:
            self.register_buffer("h", zeros)
        self.spare = [Cell(4, 4)] if way == "hidden module" else None
        start: dict[str, Any] = {"list": [], "dictionary": {}, "object": SimpleNamespace(h=None), "queue": deque()}
        start |= {
            "changed in place": zeros,
            "data": zeros,
            "grown": torch.zeros(batch, 0, 4),
            "array": np.zeros((batch, 4), np.float32),
        }
        self.kept: Any = start.get(way)

    def read(self) -> Tensor | None:
        """The hidden state (B, 4) that the last call left."""
        match self.way:
            case "list" | "queue":
                return self.kept[-1] if self.kept else None
            case "dictionary":
                return self.kept.get("h")
            case "tuple":
                return None if self.kept is None else self.kept[0]
            case "object":
                return self.kept.h
            case "part":
                return self.cell.h
            case "hidden module":
                return self.spare[0].h
            case "replaced buffer" | "changed buffer":
                return self.h
            case "array":
                return torch.from_numpy(self.kept)
            case "grown":
                return self.kept.mean(1) if self.kept.shape[1] else None
            case _:
                return self.kept

    def write(self, h: Tensor) -> None:
        match self.way:
            case "list":
                self.kept.clear()
                self.kept.append(h)
            case "queue":
                self.kept.append(h)
            case "dictionary":
                self.kept["h"] = h
            case "tuple":
                self.kept = (h, h + 1)
            case "object":
                self.kept.h = h
            case "part":
                self.cell.h = h
            case "hidden module":
                self.spare[0].h = h
            case "replaced buffer":
                self.h = h
            case "changed buffer":
                self.h.copy_(h)
            case "changed in place":
                self.kept.copy_(h)
            case "array":
                self.kept[:] = h.detach().numpy()
            case "data":
                self.kept.data.copy_(h)
            case "grown":
                self.kept = torch.cat([self.kept, h[:, None]], 1)
            case _:
                self.kept = h

    def features(self, x: Tensor) -> Tensor:
        """(B, 4, T, H / 2, W / 2)"""
        return self.conv(x)

    def answer(self, features: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features and a hidden state -> the answer and the next hidden state."""
        for t in range(features.shape[2]):
            h = self.cell(features[:, :, t].relu().mean((2, 3)), h)
        assert h is not None
        return self.head(h), h

    def forward(self, x: Tensor) -> Tensor:
        h = self.read()
        # what is overwritten later must not be what the graph holds
        out, h = self.answer(self.features(x), None if h is None else h.clone())
        self.write(h)
        return out


def everything(net: nn.Module) -> list[Any]:
    """All that a network keeps, by identity, and tensors also by value and version."""

    def told(value: Any) -> Any:
        if isinstance(value, Tensor):
            return id(value), value._version, value.detach().tolist(), value.requires_grad, value.grad_fn
        if isinstance(value, np.ndarray):
            return id(value), value.tolist()
        if isinstance(value, list | tuple | deque):
            return id(value), [told(part) for part in value]
        if isinstance(value, dict):
            return id(value), {key: told(part) for key, part in value.items()}
        if isinstance(value, nn.Module):
            return id(value), {key: told(part) for key, part in vars(value).items() if key != "_modules"}
        return (id(value), told(vars(value))) if isinstance(value, SimpleNamespace) else value

    return [(name, told(module)) for name, module in net.named_modules()]


def cut(net: Memory) -> Tensor | None:
    """The hidden state, as the user would detach it between windows."""
    h = net.read()
    return None if h is None else h.detach().clone()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(1, 3, 4, 8, 8)


def by_hand(net: Memory, x: Tensor, target: int) -> tuple[Tensor, Tensor, Tensor]:
    """The answer, the layer's output and its gradient, from where the user left the network; which stays there."""
    leaf = net.features(x).detach().requires_grad_()
    output, _ = net.answer(leaf, cut(net))
    (gradient,) = torch.autograd.grad(output[0, target], leaf)
    return output.detach(), leaf.detach(), gradient


@pytest.mark.parametrize("way", WAYS)
def test_a_run_begins_where_the_user_left_the_network_and_leaves_it_there(way: str, x: Tensor) -> None:
    net = Memory(way).eval()
    for _ in range(2):
        net(torch.randn_like(x))
    output, layer, gradient = by_hand(net, x, 1)
    before = everything(net)
    for _ in range(2):
        found = capture(net, x, layers=["conv"], scores=[class_score(1)])
        assert torch.equal(found.output, output) and torch.equal(found.activations["conv"], layer)
        torch.testing.assert_close(found.gradients[0]["conv"], gradient)
        assert everything(net) == before
    assert not torch.equal(net(x), net(x))  # it does carry a state


@pytest.mark.parametrize("way", WAYS)
def test_what_a_run_leaves_is_known_and_holds_no_graph(way: str, x: Tensor) -> None:
    net, twin = Memory(way).eval(), Memory(way).eval()
    found = capture(net, x, layers=["conv"], scores=[class_score(1)])
    twin(x)
    assert found.left is not None
    with found.inside():
        left = net.read()
        assert left is not None and left.grad_fn is None and torch.equal(left, twin.read())
    assert found.left.names or way == "hidden module"
    found.left.after.put()
    assert torch.equal(net(x), twin(x))


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_leaves_the_network_as_well(way: str, x: Tensor) -> None:
    net = Memory(way).eval()
    net(x)
    before = everything(net)

    def fail(_output: Any) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(VidcamError, match="ZeroDivisionError"):
        capture(net, x, layers=["conv"], scores=[fail])
    with net.head.register_forward_hook(lambda *_: 1 / 0), pytest.raises(VidcamError, match="ZeroDivisionError"):
        capture(net, x, layers=["conv"])
    net.train()
    with pytest.raises(VidcamError, match="channels"):
        capture(net, torch.randn(1, 5, 4, 8, 8), layers=["conv"])  # other channels
    net.eval()
    assert everything(net) == before


@pytest.mark.parametrize("way", WAYS)
def test_a_training_step_in_between_goes_on(way: str, x: Tensor) -> None:
    """The state holds the graph of the user's last call, whose backward comes after the explanation."""
    net, twin = Memory(way).eval(), Memory(way).eval()
    loss, other = net(x).sum(), twin(x).sum()
    output, _, gradient = by_hand(net, x, 2)
    found = capture(net, x, layers=["conv"], scores=[class_score(2)])
    assert torch.equal(found.output, output)
    torch.testing.assert_close(found.gradients[0]["conv"], gradient)
    (loss + net(x).sum()).backward()
    (other + twin(x).sum()).backward()
    for one, right in zip(net.parameters(), twin.parameters(), strict=True):
        assert (one.grad is None) == (right.grad is None)
        assert one.grad is None or torch.equal(one.grad, right.grad)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", ["list", "changed buffer"])
def test_every_method_asks_from_where_the_network_stood(method: str, way: str, x: Tensor) -> None:
    """A second forward, as of noisy copies, begins where the first one did: so is it of a network without a state."""

    class Standing(nn.Module):
        def __init__(self, net: Memory, h: Tensor | None) -> None:
            super().__init__()
            self.conv, self.net, self.h = net.conv, net, h

        def forward(self, x: Tensor) -> Tensor:
            return self.net.answer(self.conv(x), self.h)[0]

    net = Memory(way).eval()
    net(torch.randn_like(x))
    twin, before = Standing(net, cut(net)), everything(net)

    def heat(of: nn.Module) -> Any:
        try:
            return cam(of, x, layer="conv", target=1, method=method)
        except VidcamError as error:  # cam needs a global average
            return str(error)

    found, right = heat(net), heat(twin)
    assert everything(net) == before
    assert found == right if isinstance(found, str) else torch.equal(found, right)


def test_geometry_is_that_of_the_network_without_a_state() -> None:
    class Shifted(nn.Module):
        """Mixes frames, and adds what the last call left, whose size is that of the last input."""

        def __init__(self, *, keeps: bool) -> None:
            super().__init__()
            self.keeps, self.last = keeps, None
            self.deep = nn.Conv3d(3, 4, (3, 5, 5), (2, 2, 2))

        def forward(self, x: Tensor) -> Tensor:
            before, self.last = self.last, x if self.keeps else None
            return self.deep(x if before is None else x + before).mean((2, 3, 4))

    right, found = (measure_axes(Shifted(keeps=keeps), (3, 8, 16, 16), "deep") for keeps in (False, True))
    assert found == right and [axis.extent for axis in found] == [3, 5, 5]


def test_tensors_that_share_memory_still_do() -> None:
    class Window(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)
            self.register_buffer("ring", torch.zeros(4, 3))
            self.newest = self.ring[-1]  # a view

        def forward(self, x: Tensor) -> Tensor:
            self.ring.copy_(torch.cat([self.ring[1:].clone(), x.mean((2, 3, 4))]))
            return self.head(self.newest[None])

    net, x = Window(), torch.randn(1, 3, 2, 4, 4)
    right = net.head(x.mean((2, 3, 4)))
    assert torch.equal(capture(net, x, layers=()).output, right.detach())
    assert not net.ring.any() and net.newest.data_ptr() == net.ring[-1].data_ptr()


def test_what_hooks_write_elsewhere_is_what_the_network_reads(x: Tensor) -> None:
    """Lists and dictionaries are the very ones: a hook may hold them too."""

    class Hooked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv3d(3, 4, 1), nn.Linear(4, 2)
            seen: dict[str, Tensor] = {}
            self.seen = seen
            self.conv.register_forward_hook(lambda _m, _a, output: seen.update(conv=output))

        def forward(self, x: Tensor) -> Tensor:
            self.conv(x)
            return self.head(self.seen["conv"].mean((2, 3, 4)))

    net = Hooked()
    right = net.head(net.conv(x).mean((2, 3, 4))).detach()
    net.seen.clear()
    torch.testing.assert_close(capture(net, x, layers=["conv"], scores=[class_score(0)]).output, right)
    assert net.seen == {}


def test_objects_without_tensors_are_left_alone(x: Tensor) -> None:
    class Logging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.logger = nn.Linear(3, 2), logging.getLogger("of a network")

        def forward(self, x: Tensor) -> Tensor:
            self.logger.addHandler(handler)
            return self.head(x.mean((2, 3, 4)))

    handler, net = logging.NullHandler(), Logging()
    capture(net, x, layers=())
    assert handler in net.logger.handlers
    net.logger.removeHandler(handler)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning", "ignore:.*torch.jit.script:DeprecationWarning")
def test_a_script_keeps_its_state(x: Tensor) -> None:
    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)
            self.register_buffer("h", torch.zeros(1, 3))

        def forward(self, x: Tensor) -> Tensor:
            self.h = 0.5 * self.h + x.mean((2, 3, 4))
            return self.head(self.h)

    net = torch.jit.script(Scripted())
    first = capture(net, x, layers=())
    again = capture(net, x, layers=())
    assert torch.equal(first.output, again.output) and not net.h.any()
    assert first.left is not None and first.left.names == ["h"]
    first.left.after.put()
    assert torch.equal(net.h, x.mean((2, 3, 4)))
