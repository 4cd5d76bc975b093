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
    torch.testing.assert_close(
        found.scores[0], capture(Net(lambda z: z), X, layers=[], scores=[class_score(0)]).scores[0]
    )
    assert found.ending_of(found.output) == "softmax"


@pytest.mark.parametrize("end", [lambda z: torch.special.expit(z), lambda z: z.clone().sigmoid_()])
def test_other_names_of_a_sigmoid(end: Callable[[Tensor], Tensor]) -> None:
    found = capture(Net(end), X, layers=["deep"], scores=[class_score(1)])
    assert found.ending_of(found.output) == "sigmoid"


def test_a_softmax_whose_input_is_named() -> None:
    found = cam(Net(lambda z: torch.softmax(input=z, dim=1)), X, layer="deep", target=1)
    torch.testing.assert_close(found, cam(Net(lambda z: z), X, layer="deep", target=1))


def by_hand(z: Tensor) -> Tensor:
    shifted = (z - z.max(1, keepdim=True).values).exp()
    return shifted / shifted.sum(1, keepdim=True)


def under_autocast(z: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return z.softmax(1)


SEEN_BY_NUMBERS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "half": (lambda z: z.half().softmax(1).float(), "softmax"),
    "bfloat16": (lambda z: z.bfloat16().softmax(1).float(), "softmax"),
    "double": (lambda z: z.softmax(1).double(), "softmax"),
    "autocast": (under_autocast, "softmax"),
    "exp of log": (lambda z: z.log_softmax(1).exp(), "softmax"),
    "log of it": (lambda z: z - z.logsumexp(1, keepdim=True), "log_softmax"),
    "by hand": (by_hand, "softmax"),
    "clamped": (lambda z: z.softmax(1).clamp(1e-7, 1 - 1e-7), "softmax"),
    "clamped much": (lambda z: z.softmax(-1).clamp(1e-5, 1 - 1e-5), "softmax"),
    "copied": (lambda z: z.softmax(1).clone(), "softmax"),
    "rows": (lambda z: torch.stack([row.softmax(0) for row in z]), "softmax"),
    "normalized": (lambda z: functional.normalize(z.softmax(1), p=1, dim=1), "softmax"),
    "sigmoid by hand": (lambda z: 1 / (1 + (-z).exp()), "sigmoid"),
    "half sigmoid": (lambda z: z.half().sigmoid().float(), "sigmoid"),
    "logsigmoid": (functional.logsigmoid, "logsigmoid"),
    "in place": (lambda z: z.clone().sigmoid_(), "sigmoid"),
}


@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("written", SEEN_BY_NUMBERS)
def test_endings_however_they_are_written(written: str, batch: int) -> None:
    """With as many samples as classes, in one case. The class is sure, so that a probability's own map is rounding."""
    end, kind = SEEN_BY_NUMBERS[written]
    x = torch.randn(batch, 3, 4, 8, 8, generator=torch.Generator().manual_seed(batch))
    plain = Net(lambda z: z)
    z, activate = plain(x), torch.sigmoid if "sigmoid" in kind else lambda z: z.softmax(1)
    tolerance = 0.02 if "half" in written or "16" in written else 1e-5
    for target in (0, 1):
        found = capture(Net(end), x, layers=["deep"], scores=[class_score(target)])
        assert found.ending_of(found.output) == kind
        torch.testing.assert_close(found.scores[0].float(), z[:, target].detach(), rtol=tolerance, atol=tolerance)
        expected = cam(plain, x, layer="deep", target=target)
        got = cam(Net(end), x, layer="deep", target=target)
        torch.testing.assert_close(got, expected, rtol=0.05, atol=tolerance * float(expected.max()))
        shares = probabilities(found.output, ending=kind)
        torch.testing.assert_close(shares, activate(z).detach(), rtol=tolerance, atol=max(tolerance, 2e-5))


def test_the_mean_of_several_softmaxes_is_explained_at_the_mean_of_what_goes_in() -> None:
    """As over crops: the gradient of the mean probability would die as well."""

    class Crops(Net):
        def forward(self, x: Tensor) -> Any:
            crops = torch.stack([x[..., :4], x[..., 4:], x[..., 2:6]], self.axis)
            scores = self.head(self.deep(crops.flatten(0, 1)).relu().mean((2, 3, 4))).unflatten(0, crops.shape[:2])
            return self.ending(scores).mean(self.axis)

    for axis in (0, 1):
        for kind, end in (("softmax", nn.Softmax(-1)), ("sigmoid", nn.Sigmoid())):
            net, plain = Crops(end), Crops(lambda z: z)
            net.axis = plain.axis = axis
            found = capture(net, X, layers=["deep"], scores=[class_score(1)])
            expected = capture(plain, X, layers=["deep"], scores=[class_score(1)])
            assert found.ending_of(found.output) == f"mean of several {kind}"
            torch.testing.assert_close(found.scores, expected.scores)
            torch.testing.assert_close(found.gradients[0]["deep"], expected.gradients[0]["deep"])
            torch.testing.assert_close(probabilities(found.output, ending=found.ending_of(found.output)), found.output)


def test_of_two_sure_heads_each_keeps_its_own_scores() -> None:
    """Their probabilities are the same numbers; only one was computed from the scores that are asked for."""

    class Heads(Net):
        def forward(self, x: Tensor) -> Any:
            z = self.head(self.deep(x).relu().mean((2, 3, 4)))
            main, aux = 2 * z, 3 * z
            return {"logits": main.softmax(1).clone(), "aux": aux.softmax(1).clone()}

    net = Heads(lambda z: z)
    with torch.no_grad():
        right = 2 * net.head(net.deep(X).relu().mean((2, 3, 4)))[:, 1]
    found = capture(net, X, layers=["deep"], scores=[class_score(1)])
    torch.testing.assert_close(found.scores[0], right)


@pytest.mark.parametrize(
    "end", [lambda z: z, lambda z: z.softmax(1) * 0.9 + 0.025, lambda z: (z.tanh() + 1) / 2, lambda z: z.sigmoid() ** 2]
)
def test_what_is_no_ending_is_taken_for_none(end: Callable[[Tensor], Tensor]) -> None:
    found = capture(Net(end), X, layers=["deep"], scores=[class_score(1)])
    assert found.ending_of(found.output) is None
    torch.testing.assert_close(found.scores[0], found.output[:, 1])
