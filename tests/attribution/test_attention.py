"""What attention lets through, by hand and by an independent derivation."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.attention import contribution, find_context
from vidcam.attribution.scores import class_score
from vidcam.errors import LayerError


class Pool(nn.Module):
    """Weigh states (B, T, D) by their first number."""

    def forward(self, states: Tensor, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        weights = (scale * states[..., 0]).softmax(1)
        return (weights[..., None] * states).sum(1), weights


class Head(nn.Module):
    """Attention over what it is given, (B, T, 2), and a linear layer; the query path is the weights themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool()
        self.fc = nn.Linear(2, 2)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[1.0, 2.0], [-3.0, 1.0]]))
            self.fc.bias.copy_(torch.tensor([0.5, -0.25]))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        context, weights = self.pool(x, scale=1.0)
        return {"logits": self.fc(context), "weights": weights}


class Inline(nn.Module):
    """The same, but no module of its own returns the context."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        weights = x[..., 0].softmax(1)
        return {"logits": self.fc((weights[..., None] * x).sum(1)), "weights": weights}


def weights_of(output: dict[str, Tensor]) -> Tensor:
    return output["weights"]


def test_contribution_by_hand() -> None:
    """Softmax of (0, ln 3) is (1/4, 3/4); for class 0 the context's derivative is (1, 2), for class 1 (-3, 1)."""
    log3 = float(torch.tensor(3.0).log())
    x = torch.tensor([[[0.0, 4.0], [log3, -2.0]]])
    found = [
        contribution(Head(), x, layer="pool", attention=weights_of, score=class_score(target))[0] for target in (0, 1)
    ]
    torch.testing.assert_close(found[0], torch.tensor([0.25 * 2 * 4, 0.75 * (log3 - 4)]))
    torch.testing.assert_close(found[1], torch.tensor([0.25 * 4, 0.75 * (-3 * log3 - 2)]))


def test_contributions_add_up_to_the_score_less_its_bias() -> None:
    net, x = Head().double(), torch.randn(3, 7, 2, dtype=torch.float64)
    found = contribution(net, x, layer="pool", attention=weights_of, score=class_score(1))
    torch.testing.assert_close(found.sum(1), net(x)["logits"][:, 1] - net.fc.bias[1])
    alone = [contribution(net, one[None], layer="pool", attention=weights_of, score=class_score(1))[0] for one in x]
    torch.testing.assert_close(found, torch.stack(alone))


def test_contribution_is_the_definition_where_the_head_is_not_linear() -> None:
    """The derivative of the score by each state through the context alone, times the state."""
    net, x = Head().double(), torch.randn(2, 5, 2, dtype=torch.float64)
    net.fc = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()  # type: ignore[assignment]
    states = x.clone().requires_grad_()
    fixed = x[..., 0].softmax(1)  # no derivative flows through the weights
    score = net.fc(torch.einsum("bt,btd->bd", fixed, states))[:, 2].sum()
    (by_state,) = torch.autograd.grad(score, states)
    found = contribution(net, x, layer="pool", attention=weights_of, score=class_score(2))
    torch.testing.assert_close(found, (by_state * x).sum(2))


def test_the_context_is_known_by_its_numbers() -> None:
    x = torch.zeros(1, 6, 2)
    assert find_context(Head(), x, weights_of) == "pool"
    assert find_context(nn.Sequential(nn.Identity(), Head()), x, weights_of) == "1.pool"
    assert find_context(Inline(), x, weights_of) is None
    other = find_context(Head(), x, lambda output: output["weights"].flip(1))
    assert other is None, "weights in another order than the states are not this module's"


def test_a_layer_that_returns_something_else_is_refused() -> None:
    with pytest.raises(LayerError, match="layer 'fc' does not return the sum"):
        contribution(Head(), torch.randn(1, 3, 2), layer="fc", attention=weights_of, score=class_score(0))


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(fails: bool) -> None:
    net = Head().train()
    before = copy.deepcopy(net.state_dict())
    if fails:
        with pytest.raises(ZeroDivisionError):
            contribution(net, torch.randn(1, 3, 2), layer="pool", attention=lambda _: 1 / 0, score=class_score(0))
    else:
        find_context(net, torch.randn(1, 3, 2), weights_of)
        contribution(net, torch.randn(1, 3, 2), layer="pool", attention=weights_of, score=class_score(0))
    assert all(module.training and not module._forward_hooks for module in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


class Mixed(nn.Module):
    """Attention by a product of matrices over states in float32, which a normalization gives under autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.rate, self.norm, self.pool, self.fc = nn.Linear(16, 1), nn.LayerNorm(16), Product(), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        states = self.norm(x)
        weights = (4 * self.rate(states)[..., 0]).softmax(1)
        return {"logits": self.fc(self.pool(states, weights)), "weights": weights}


class Inside(Mixed):
    """The network goes over to bfloat16 on its own."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


class Product(nn.Module):
    def forward(self, states: Tensor, weights: Tensor) -> Tensor:
        return torch.matmul(weights[:, None], states)[:, 0]


def rounded(matmul: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Multiply matrices as TF32 does: float32 with ten bits behind the point."""

    def tf32(x: Tensor) -> Tensor:
        return x + ((x.detach().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32) - x.detach()

    return lambda a, b: matmul(tf32(a), tf32(b))


@pytest.fixture
def noise() -> Tensor:
    return torch.randn(1, 12, 16, generator=torch.Generator().manual_seed(1))


ASKED: dict[str, Any] = {"layer": "pool", "attention": weights_of, "score": class_score(1)}


def close(found: Tensor, right: Tensor, share: float) -> bool:
    return found.dtype == torch.float32 and bool((found - right).abs().max() <= share * right.abs().max())


def test_the_context_is_found_under_autocast(noise: Tensor) -> None:
    net, inside = Mixed(), Inside()
    inside.load_state_dict(net.state_dict())
    right = contribution(net, noise, **ASKED)
    with torch.autocast("cpu", torch.bfloat16):
        assert find_context(net, noise, weights_of) == "pool"
        assert close(contribution(net, noise, **ASKED), right, 0.05)
    assert find_context(inside, noise, weights_of) == "pool"
    assert close(contribution(inside, noise, **ASKED), right, 0.05)


def test_the_context_of_a_network_in_half_precision_is_found(noise: Tensor) -> None:
    net = Mixed()
    right = contribution(net, noise, **ASKED)
    assert find_context(net.bfloat16(), noise.bfloat16(), weights_of) == "pool"
    assert close(contribution(net, noise.bfloat16(), **ASKED), right, 0.05)


def test_the_context_is_found_in_tf32(noise: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Mixed()
    right = contribution(net, noise, **ASKED)
    for name in ("torch.matmul", "torch.Tensor.__matmul__"):
        monkeypatch.setattr(name, rounded(torch.Tensor.matmul))
    assert find_context(net, noise, weights_of) == "pool"
    assert close(contribution(net, noise, **ASKED), right, 0.01)


def test_other_weights_are_not_taken_for_attention_where_products_are_rounded(noise: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert find_context(Mixed(), noise, lambda output: output["weights"].flip(1)) is None
        assert find_context(Mixed(), noise, lambda output: torch.full((1, 12), 1 / 12)) is None
