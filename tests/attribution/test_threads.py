"""Several threads at one network, and at the state of the process."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.attention import contribution, find_context
from vidcam.attribution.capturing import capture
from vidcam.attribution.receptive_field import measure_axes
from vidcam.attribution.scores import class_score
from vidcam.attribution.threads import ProcessState, alone
from vidcam.attribution.untouched import untouched


class Attending(nn.Module):
    """A convolution and attention over its frames, in train mode, with one frozen parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm3d(4)
        self.pool = Pool()
        self.head = nn.Linear(4, 2)
        self.conv.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        context, weights = self.pool(self.norm(self.conv(x)).relu().mean((3, 4)).transpose(1, 2))
        return {"logits": self.head(context), "weights": weights}


class Pool(nn.Module):
    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        weights = states[..., 0].softmax(1)
        return (weights[..., None] * states).sum(1), weights


def weights_of(output: dict[str, Tensor]) -> Tensor:
    return output["weights"]


def at_once(*tasks: Callable[[], Any]) -> list[Any]:
    """Run tasks in threads that begin together."""
    start = threading.Barrier(len(tasks))
    with ThreadPoolExecutor(len(tasks)) as pool:
        started = [pool.submit(lambda task=task: (start.wait(timeout=30), task())[1]) for task in tasks]
        return [task.result(timeout=120) for task in started]


def facts(net: nn.Module) -> list[Any]:
    return [
        [(name, p.requires_grad, p.tolist()) for name, p in net.named_parameters()],
        [(name, b.tolist()) for name, b in net.named_buffers()],
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
        torch.get_rng_state().tolist(),
    ]


def test_threads_that_explain_one_network_get_what_one_gets_and_leave_it_as_it_was() -> None:
    net, score = Attending(), class_score(1)
    inputs = [torch.randn(2, 3, 6, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    before = facts(net)

    def explain(x: Tensor) -> list[Tensor]:
        captured = capture(net, x, layers=["conv"], scores=[score])
        assert find_context(net, x, weights_of) == "pool"
        shares = contribution(net, x, layer="pool", attention=weights_of, score=score)
        return [captured.gradients[0]["conv"], captured.scores[0], shares]

    expected = [explain(x) for x in inputs]
    axes = measure_axes(net, (3, 6, 8, 8), "conv")
    tasks = [lambda x=x: [explain(x) for _ in range(10)] for x in inputs]
    *found, measured = at_once(*tasks, lambda: measure_axes(net, (3, 6, 8, 8), "conv"))
    for own, right in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for one in own for a, b in zip(one, right, strict=True))
    assert measured == axes
    assert facts(net) == before


def test_a_network_and_what_wraps_it_exclude_each_other() -> None:
    inner, order = nn.Linear(1, 1), []
    outer, held, go = nn.Sequential(nn.ReLU(), inner), threading.Event(), threading.Event()

    def first() -> None:
        with untouched(outer):
            held.set()
            assert not go.wait(0.2), "the other thread came in"
            order.append("first")

    def second() -> None:
        held.wait(10)
        with alone(inner):
            order.append("second")
            go.set()

    at_once(first, second)
    assert order == ["first", "second"]


def test_other_networks_do_not_wait() -> None:
    inside = threading.Barrier(2)  # both must be inside at once

    def enter() -> None:
        with untouched(nn.Linear(1, 1)):
            inside.wait(timeout=10)

    at_once(enter, enter)


def test_a_network_may_be_explained_within_its_own_explanation() -> None:
    net = nn.Linear(2, 2)

    def score(output: Tensor) -> Tensor:
        inner = capture(net, torch.ones(1, 2), layers=(), scores=[class_score(0)])
        return output[:, 0] + inner.scores[0]

    assert capture(net, torch.ones(1, 2), layers=(), scores=[score]).scores[0].shape == (1,)


def test_the_next_thread_comes_in_after_an_exception() -> None:
    net = nn.Linear(1, 1)
    with pytest.raises(ZeroDivisionError), untouched(net):
        raise ZeroDivisionError
    at_once(lambda: capture(net, torch.ones(1, 1), layers=(), scores=[class_score(0)]))
    assert net.training and net.weight.requires_grad


def test_state_is_put_back_by_the_last_of_those_that_overlap() -> None:
    """Before, the first to go put it back under the second, who then left for good what it had found."""
    value = ["on"]
    state = ProcessState(lambda: value[0], lambda new: value.__setitem__(0, new), meanwhile="off")
    first, second = ExitStack(), ExitStack()
    first.enter_context(state)
    second.enter_context(state)
    first.close()
    assert value == ["off"]
    second.close()
    assert value == ["on"]


class Drawing(nn.Module):
    """Draws random numbers in eval mode, and lets the other thread come in between."""

    def __init__(self, meet: threading.Barrier) -> None:
        super().__init__()
        self.fc, self.meet = nn.Linear(4, 2), meet

    def forward(self, x: Tensor) -> Tensor:
        self.meet.wait(timeout=10)
        x = nn.functional.dropout(x, training=True)
        self.meet.wait(timeout=10)
        return self.fc(x)


def test_random_numbers_are_put_back_where_two_networks_draw_some() -> None:
    meet, x = threading.Barrier(2), torch.randn(2, 4)
    nets = [Drawing(meet), Drawing(meet)]
    before = torch.get_rng_state()
    at_once(*[lambda net=net: capture(net, x, layers=(), scores=[class_score(0)]) for net in nets])
    assert torch.equal(torch.get_rng_state(), before)
