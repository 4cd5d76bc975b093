"""What attention lets through, by hand and by an independent derivation."""

import copy

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
