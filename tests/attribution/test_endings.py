"""Endings: what goes into a final softmax or sigmoid is explained, however it is written."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidcam.attribution.capturing import capture
from vidcam.attribution.endings import BeforeEnding
from vidcam.attribution.methods import METHODS, cam
from vidcam.attribution.scores import class_score, minus, probabilities

X = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(5))

WRITTEN: dict[str, tuple[Callable[[Tensor], Any], str | None]] = {
    "nothing": (lambda z: z, None),
    "module": (nn.Softmax(dim=1), "softmax"),
    "functional": (lambda z: functional.softmax(z, dim=1), "softmax"),
    "method": (lambda z: z.softmax(1), "softmax"),
    "log_softmax": (lambda z: torch.log_softmax(z, 1), "log_softmax"),
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "sigmoid module": (nn.Sigmoid(), "sigmoid"),
    "reshaped": (lambda z: z[..., None].softmax(1).flatten(1), "softmax"),
    "in a dictionary": (lambda z: {"logits": z.softmax(1), "aux": z.sum(1)}, "softmax"),
    "not the last": (lambda z: z.softmax(1) * 2, None),
}


class Net(nn.Module):
    """Ends as it is told; the score is large, so that a probability says next to nothing."""

    def __init__(self, ending: Callable[[Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.deep, self.head, self.ending = nn.Conv3d(3, 6, 3, 2, 1), nn.Linear(6, 4), ending
        nn.init.constant_(self.head.bias, 0)
        self.head.bias.data[1] = 30

    def forward(self, x: Tensor) -> Any:
        maps = self.deep(x).relu()
        gate = maps.mean((3, 4)).mean(1).softmax(1)  # a softmax on the way is no ending
        return self.ending(self.head((maps.mean((3, 4)) * gate[:, None]).sum(2)))


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("method", ["grad_cam", "counterfactual", "smooth_grad_cam_pp"])
def test_the_map_is_that_of_what_goes_in(written: str, method: str) -> None:
    ending, kind = WRITTEN[written]
    found = cam(Net(ending), X, layer="deep", target=1, method=method) if written != "not the last" else None
    captured = capture(Net(ending), X, layers=["deep"], scores=[class_score(1)])
    assert captured.ending_of(class_score(1).answer(captured.output)) == kind
    if found is not None:
        torch.testing.assert_close(found, cam(Net(lambda z: z), X, layer="deep", target=1, method=method))
        assert found.max() > 1e-3 or method == "counterfactual"


def test_a_score_of_ones_own_gets_what_the_network_returns() -> None:
    net = Net(nn.Softmax(dim=1))
    captured = capture(net, X, layers=["deep"], scores=[lambda p: p[:, 1], class_score(1), minus(class_score(1))])
    assert captured.scores[0].max() <= 1 and captured.scores[1].min() > 20
    torch.testing.assert_close(captured.scores[2], -captured.scores[1])
    assert captured.gradients[0]["deep"].abs().max() < 1e-6 < captured.gradients[1]["deep"].abs().max()
    torch.testing.assert_close(captured.output.sum(1), torch.ones(2))
    assert isinstance(minus(class_score(1)), BeforeEnding)


def test_no_method_is_left_with_a_map_that_dies() -> None:
    """The same numbers with and without a softmax behind, for every method that looks at a score."""
    for name in (name for name, each in METHODS.items() if each.uses_score and name != "cam"):
        one, other = (cam(Net(end), X, layer="deep", target=0, method=name) for end in (nn.Softmax(1), lambda z: z))
        torch.testing.assert_close(one, other)


def test_probabilities_of_each_activation_by_hand() -> None:
    values = torch.tensor([[0.0, 1.0986123]])
    torch.testing.assert_close(probabilities(values, "softmax"), torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(probabilities(values, "sigmoid"), torch.tensor([[0.5, 0.75]]))
    torch.testing.assert_close(probabilities(values, "none"), values)
    torch.testing.assert_close(probabilities(torch.tensor([[0.25, 0.75]])), torch.tensor([[0.25, 0.75]]))


OTHERS: dict[str, Callable[[Tensor], Any]] = {
    "attention beside": lambda z: {"logits": z, "attention": z[:, :3].softmax(1)},
    "probabilities beside": lambda z: {"logits": z, "probs": z.softmax(1)},
    "changed in place": lambda z: z.softmax(1).detach().clone().mul_(100) + 0 * z,
}


@pytest.mark.parametrize("written", OTHERS)
def test_what_is_no_ending_of_the_answer(written: str) -> None:
    captured = capture(Net(OTHERS[written]), X, layers=["deep"], scores=[class_score(1)])
    answer = class_score(1).answer(captured.output)
    assert captured.ending_of(answer) is None
    torch.testing.assert_close(captured.scores[0], answer[:, 1])


def test_a_transposed_view_of_a_softmax_is_not_scrambled() -> None:
    found = capture(Net(lambda z: z.T.softmax(0).T), X, layers=["deep"], scores=[class_score(0)])
    torch.testing.assert_close(found.scores[0], found.output[:, 0])
    assert found.ending_of(found.output) is None


@pytest.mark.parametrize("end", [lambda z: torch.special.expit(z), lambda z: z.clone().sigmoid_()])
def test_other_names_of_a_sigmoid(end: Callable[[Tensor], Tensor]) -> None:
    found = capture(Net(end), X, layers=["deep"], scores=[class_score(1)])
    assert found.ending_of(found.output) == "sigmoid"


def test_a_softmax_whose_input_is_named() -> None:
    found = cam(Net(lambda z: torch.softmax(input=z, dim=1)), X, layer="deep", target=1)
    torch.testing.assert_close(found, cam(Net(lambda z: z), X, layer="deep", target=1))
