"""On a GPU, posed by a CPU: nothing mixes devices, numbers are the CPU's own, and the host seldom waits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from posing import Convolving, Posing, posing
from torch import Tensor, nn

from vidcam.attribution.attention import contribution, find_context
from vidcam.attribution.capturing import capture
from vidcam.attribution.methods import METHODS, cam
from vidcam.attribution.receptive_field import effective_centers, measure_axes
from vidcam.attribution.rows import find_rows
from vidcam.attribution.scores import class_score, negative_loss, probabilities
from vidcam.attribution.tokens import find_tokens
from vidcam.attribution.untouched import untouched

GPU = "cuda:0"


class Attending(nn.Module):
    """A convolution for each frame, and a recurrent network whose states are weighed."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())
        self.rnn = nn.LSTM(4, 5, batch_first=True)
        self.pool = Pool()
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(x.transpose(1, 2).flatten(0, 1)).mean((2, 3))
        context, weights = self.pool(self.rnn(maps.unflatten(0, (len(x), -1)))[0])
        return {"logits": self.head(context), "weights": weights}


class Pool(nn.Module):
    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        weights = states[..., 0].softmax(1)
        return (weights[..., None] * states).sum(1), weights


class Transforming(nn.Module):
    """A transformer of one block, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv3d(3, 8, (2, 4, 4), (2, 4, 4))
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        return self.head(self.block(torch.cat([self.first.expand(len(x), -1, -1), tokens], 1)).mean(1))


def clip(frames: int = 6) -> Tensor:
    return torch.rand(2, 3, frames, 16, 16, generator=torch.Generator().manual_seed(0))


def on_both(net: nn.Module, ask: Callable[[Any, Tensor], Any], *, waits: int | None = None) -> Any:
    """Return what a network says on the CPU, after a check that the GPU says the same and waits as seldom as told."""
    expected = ask(net.eval(), clip())
    with posing() as device:
        there, x = net.to(GPU), clip().to(GPU)
        device.clear()
        found = ask(there, x)
        assert waits is None or device.total() <= waits, f"{device.total()} waits:\n{device}"
        same(found, expected)
    return expected


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        assert isinstance(found, Posing)
        torch.testing.assert_close(
            found.held, expected.detach(), rtol=1e-5, atol=1e-7
        )  # the CPU has an LSTM of its own
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        np.testing.assert_array_equal(found, expected)


REFUSED: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "sums": lambda there, here: there + here,
    "sums into the other": lambda there, here: here.add_(there),
    "products": lambda there, here: there @ here,
    "numbers of the host in products": lambda there, here: torch.cat([there, here[0][None]]),
    "numbers of the device": lambda there, here: here + there[0],
    "numpy": lambda there, here: there.numpy(),
    "arrays": lambda there, here: np.asarray(there),
    "generators": lambda there, here: torch.rand(3, generator=torch.Generator(), device=GPU),
    "indices of the device": lambda there, here: here[there.long()],
    "values of the host": lambda there, here: there.index_put_((torch.tensor([0, 1, 2]),), here),
    "what is made without a device": lambda there, here: there * torch.arange(3),
}


@pytest.mark.parametrize("mixes", REFUSED.values(), ids=REFUSED.keys())
def test_what_mixes_devices_is_refused(mixes: Callable[[Tensor, Tensor], Any]) -> None:
    with posing(), pytest.raises((RuntimeError, TypeError), match=r"same device|cuda:0|generator"):
        mixes(torch.tensor([0.0, 1, 2], device=GPU), torch.ones(3))


def test_what_cuda_takes_is_taken() -> None:
    with posing() as device:
        there = torch.tensor([0.0, 1, 2], device=GPU)
        there[torch.tensor([True, False, False])] = torch.tensor(5.0)
        there[1:] = torch.ones(2)
        assert (there[[0, 1]] + 1 + torch.tensor(1.0)).tolist() == [7, 3]
        assert there.device == torch.device(GPU) and torch.zeros_like(there).is_cuda and there.new_zeros(1).is_cuda
        assert device["outside copied to the host"] == 1


WAITS: dict[str, Callable[[Tensor], Any]] = {
    "a number": lambda there: there.sum().item(),
    "a truth": lambda there: bool((there > 0).any()),
    "a list": lambda there: there.tolist(),
    "equality": lambda there: torch.equal(there, there),
    "closeness": lambda there: torch.allclose(there, there),
    "places": lambda there: there.nonzero(),
    "a mask": lambda there: there[there > 0],
    "a list of indices": lambda there: there[[0, 1]],
    "the host": lambda there: there.cpu(),
    "from the host": lambda there: torch.ones(3).to(there),
}


@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS.keys())
def test_what_the_host_waits_for_is_counted(waits: Callable[[Tensor], Any]) -> None:
    with posing() as device:
        there = torch.tensor([0.0, 1, 2], device=GPU)
        device.clear()
        (there + 1)[:2].amax().square_()
        torch.where(there > 0, there, 0).masked_fill_(there > 1, 0)
        assert not device
        waits(there)
        assert device.total() == 1, device


@pytest.mark.gpu
@pytest.mark.parametrize("mixes", REFUSED.values(), ids=REFUSED.keys())
def test_a_real_gpu_refuses_the_same(mixes: Callable[[Tensor, Tensor], Any]) -> None:
    with pytest.raises((RuntimeError, TypeError), match=r"same device|cuda:0|generator"):
        mixes(torch.tensor([0.0, 1, 2], device=GPU), torch.ones(3))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS.keys())
def test_the_host_waits_for_a_real_gpu_as_well(waits: Callable[[Tensor], Any]) -> None:
    there = torch.tensor([0.0, 1, 2], device=GPU)
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.where(there > 0, there, 0).masked_fill_(there > 1, 0)
        with pytest.raises(RuntimeError, match="synchronizing"):
            waits(there)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", METHODS)
def test_every_method(name: str) -> None:
    """A forward and its backward cost four waits at the most, a map three more."""
    method = METHODS[name]
    heat = on_both(
        Convolving(),
        lambda net, x: cam(net, x, layer="last", layout="b c t h w", target=0, method=name),
        waits=7 + 4 * method.forwards,
    )
    assert heat.shape == (2, 3, 4, 4) and heat.any()


@pytest.mark.parametrize("target", [None, [0, 2], negative_loss(torch.tensor([[1.0, 0, 0], [0, 1, 0]]))])
def test_every_kind_of_score(target: Any) -> None:
    on_both(Convolving(), lambda net, x: cam(net, x, layer="first", layout="b c t h w", target=target), waits=6)


def test_networks_of_frames_and_of_tokens() -> None:
    on_both(Attending(), lambda net, x: cam(net, x, layer="backbone", target=1))
    on_both(Transforming(), lambda net, x: cam(net, x, layer="block", target=1))


def test_what_is_measured_of_layers() -> None:
    on_both(
        Convolving(), lambda net, _: [vars(a)[k] for a in measure_axes(net, (3, 6, 16, 16), "last") for k in vars(a)]
    )
    on_both(Convolving(), lambda net, x: list(effective_centers(net, x[:1], "last")))
    on_both(Attending(), lambda net, x: find_rows(net, x, "backbone", "b c t h w").order)
    on_both(Transforming(), lambda net, x: find_tokens(net, x, "b c t h w", 49, "block").order)


def test_what_attention_lets_through() -> None:
    def ask(net: nn.Module, x: Tensor) -> Tensor:
        weights = lambda output: output["weights"]  # noqa: E731
        assert find_context(net, x, weights) == "pool"
        return contribution(net, x, layer="pool", attention=weights, score=class_score(1))

    on_both(Attending(), ask, waits=8)


@pytest.mark.parametrize("values", [[[2.0, 1]], [[0.7, 0.3]], [[3.0]]])
def test_probabilities(values: list[list[float]]) -> None:
    with posing():
        same(probabilities(torch.tensor(values, device=GPU)), probabilities(torch.tensor(values)))


def test_buffers_cost_no_wait_and_are_put_back() -> None:
    norms = nn.Sequential(*(nn.BatchNorm1d(2) for _ in range(20)))
    with posing() as device:
        there = norms.to(GPU)
        device.clear()
        with untouched(there):
            there[3].running_mean.data.add_(1)
            there[4].running_var.add_(1)
        assert device.total() == 0, device
        assert not there[3].running_mean.any() and not (there[4].running_var - 1).any()


def test_a_forward_alone_waits_for_its_score() -> None:
    on_both(
        Convolving(),
        lambda net, x: capture(net, x, layers=(), scores=[class_score(1)], gradients=False).scores[0],
        waits=2,
    )
