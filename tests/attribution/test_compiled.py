"""Networks that were compiled, traced, exported or quantized: what can be explained is, and the rest is said."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import capture
from vidcam.attribution.layers import INPUT
from vidcam.attribution.methods import cam
from vidcam.attribution.scores import class_score
from vidcam.errors import LayerError

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own, of what it would rather have
X = torch.randn(1, 3, 6, 12, 12, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    """Counts its passes in a buffer that is replaced each time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.deep, self.norm, self.head = nn.Conv3d(3, 6, 3, 2, 1), nn.BatchNorm3d(6), nn.Linear(6, 4)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.passes = self.passes + 1
        return self.head(self.norm(self.deep(x)).relu().mean((2, 3, 4)))


WHOLE: dict[str, Callable[[nn.Module], Any]] = {
    "scripted": torch.jit.script,
    "traced": lambda net: torch.jit.trace(net, X),
    "frozen": lambda net: torch.jit.freeze(torch.jit.script(net)),
    "exported": lambda net: torch.export.export(net, (X,)).module(),
}


@pytest.mark.parametrize("made", WHOLE)
@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "eigen_cam", "smooth_grad_cam_pp"])
def test_of_a_network_in_one_piece_the_input_is_explained_and_layers_are_refused(made: str, method: str) -> None:
    whole, plain = WHOLE[made](Net().eval()), Net().eval()
    flags = [module.training for module in whole.modules() if hasattr(module, "training")]
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    found = cam(whole, X, layer=INPUT, target=1, method=method)
    torch.testing.assert_close(found, cam(plain, X, layer=INPUT, target=1, method=method))
    with pytest.raises(
        LayerError, match=r"""runs in one piece; "input" can be explained|unknown layer 'deep'"""
    ) as refused:
        cam(whole, X, layer="deep", target=1, method=method)
    assert "\n" not in str(refused.value)
    assert [module.training for module in whole.modules() if hasattr(module, "training")] == flags
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("make", [torch.jit.script, lambda part: torch.jit.trace(part, X)])
def test_a_scripted_part_of_a_network_is_a_layer(make: Callable[[nn.Module], Any]) -> None:
    plain, partly = Net().eval(), Net().eval()
    partly.deep = make(partly.deep)
    for method in ("grad_cam", "eigen_cam"):
        found = cam(partly, X, layer="deep", target=1, method=method)
        torch.testing.assert_close(found, cam(plain, X, layer="deep", target=1, method=method))
    expected = capture(plain, X, layers=["norm"], scores=[class_score(1)])
    torch.testing.assert_close(
        capture(partly, X, layers=["norm"], scores=[class_score(1)]).gradients[0], expected.gradients[0]
    )
    assert partly.passes == 0


def test_what_calls_its_modules_is_explained_as_it_was_written() -> None:
    for made in (importlib.import_module("torch.fx").symbolic_trace(Net().eval()), torch.compile(Net().eval())):
        found = cam(made, X, layer="deep", target=1)
        torch.testing.assert_close(found, cam(Net().eval(), X, layer="deep", target=1))


def test_a_quantized_network_has_features_and_no_gradients() -> None:
    net = torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear}, dtype=torch.qint8)
    torch.testing.assert_close(
        cam(net, X, layer="deep", method="eigen_cam"), cam(Net(), X, layer="deep", method="eigen_cam")
    )
    with pytest.raises(LayerError, match="quantized networks have no gradients; methods that need none, as eigen_cam"):
        cam(net, X, layer="deep", target=1)
