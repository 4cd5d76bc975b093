"""Which layers all of an answer passes through, in networks of which it is known."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.scores import logits
from vidcam.attribution.trunk import walk


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Net(nn.Module):
    """A stem, two residual blocks, a branch that nobody asks, pooling and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stage = nn.Sequential(Residual(), Residual())
        self.aside, self.pool, self.head = nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stage(self.stem(x))
        return {"aside": self.aside(x), "logits": self.head(self.pool(x).flatten(1))}


def trunk_of(net: nn.Module, x: Any) -> list[str]:
    with walk(net, x, logits) as seen:
        return [passed.name for passed in seen.passed if seen.is_trunk(passed)]


def test_a_block_is_passed_and_what_is_in_it_is_not() -> None:
    assert trunk_of(Net(), torch.rand(1, 3, 8, 8)) == ["stem", "stage.0", "stage", "pool", "head"]


def test_the_gradient_is_that_of_the_answer_alone() -> None:
    net, x = Net().eval(), torch.rand(2, 3, 8, 8)
    with walk(net, x, logits) as seen:
        passed = {each.name: each for each in seen.passed}
        assert not seen.gradient(passed["aside"]).any()
        slope = seen.gradient(passed["stage"])
    assert slope.shape == (2, 4, 8, 8)
    # through mean pooling and a linear layer every cell of a channel has the same, by the head's weights
    assert torch.equal(slope, slope[:, :, :1, :1].expand_as(slope)) and slope.any()


class Frames(nn.Module):
    """Frame by frame, one call each, then the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(torch.stack([self.cnn(frame).mean((2, 3)) for frame in clip.unbind(1)], 1).mean(1))


def test_all_calls_of_a_layer_together() -> None:
    with walk(Frames(), torch.rand(2, 5, 3, 6, 6), logits) as seen:
        cnn = next(each for each in seen.passed if each.name == "cnn")
        assert cnn.shape == (10, 4, 6, 6) and seen.is_trunk(cnn) and seen.gradient(cnn).shape == (10, 4, 6, 6)
        cnn.edges.pop()  # without one frame's call the answer is not held whole
        assert not seen.is_trunk(cnn)


class ClassToken(nn.Module):
    """Two transformer blocks of which the last one's class token alone is read."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(3))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x).flatten(2).mT], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])


def test_behind_the_last_block_only_the_class_token_counts() -> None:
    with walk(ClassToken(), torch.rand(1, 3, 16, 16), logits) as seen:
        reached = {
            each.name: seen.gradient(each).abs().sum(2).count_nonzero()
            for each in seen.passed
            if each.name[:6] == "blocks" and each.name.count(".") == 1
        }
        assert trunk_names(seen) == ["blocks.0", "blocks.1", "blocks.2"]
    assert reached == {"blocks.0": 17, "blocks.1": 17, "blocks.2": 1}


def trunk_names(seen: Any) -> list[str]:
    return [p.name for p in seen.passed if p.name.startswith("blocks") and p.name.count(".") == 1 and seen.is_trunk(p)]


class Streams(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.color, self.flow = nn.Conv2d(3, 4, 3), nn.Conv2d(2, 4, 3)
        self.mix, self.head = nn.Linear(8, 4), nn.Linear(4, 2)

    def forward(self, color: Tensor, flow: Tensor) -> Tensor:
        both = torch.cat([self.color(color).mean((2, 3)), self.flow(flow).mean((2, 3))], 1)
        return self.head(self.mix(both))


def test_a_stream_is_not_all() -> None:
    given = {"color": torch.rand(1, 3, 8, 8), "flow": torch.rand(1, 2, 8, 8)}
    assert trunk_of(Streams(), given) == ["mix", "head"]


class Stateful(Net):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.seen = self.stem(x)  # hangs on the graph
        return super().forward(x)


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(fails: bool) -> None:
    net = Stateful().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    try:
        with walk(net, torch.rand(1, 3, 8, 8), logits):
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training and not hasattr(net, "seen")
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
