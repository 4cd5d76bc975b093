"""Networks that recompute in training, compute in half, or change their input: each as its plain twin."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidcam.attribution.methods import METHODS, cam
from vidcam.errors import LayerError

X = torch.randn(2, 3, 6, 12, 12, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    """Two convolutions, perhaps recomputed, of an input that is perhaps halved in place."""

    def __init__(self, *, reentrant: bool | None = None, inplace: bool | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.fc = nn.Conv3d(3, 6, 3, 2, 1), nn.Conv3d(6, 12, 3, 2, 1), nn.Linear(12, 3)
        self.reentrant, self.inplace = reentrant, inplace

    def deep(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu()).relu()

    def forward(self, x: Tensor) -> Tensor:
        if self.inplace is not None:
            x = x.mul_(0.5) if self.inplace else x * 0.5
        maps = self.deep(x) if self.reentrant is None else checkpoint(self.deep, x, use_reentrant=self.reentrant)
        return self.fc(maps.mean((2, 3, 4)))


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("layer", ["a", "b"])
def test_gradient_checkpointing_changes_nothing(reentrant: bool, layer: str) -> None:
    for method in ("grad_cam", "smooth_grad_cam_pp", "hires_cam"):
        found = cam(Net(reentrant=reentrant), X, layer=layer, target=1, method=method)
        assert torch.equal(found, cam(Net(), X, layer=layer, target=1, method=method))
    net = Net(reentrant=reentrant).train()  # and goes on as before
    x = X.clone().requires_grad_()
    net(x).sum().backward()
    assert x.grad is not None and x.grad.any()


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"cam"}))
def test_a_network_that_changes_its_input_in_place(method: str) -> None:
    x = X.clone()
    found = cam(Net(inplace=True), x, layer="b", target=1, method=method)
    assert torch.equal(x, X)
    torch.testing.assert_close(found, cam(Net(inplace=False), X, layer="b", target=1, method=method))


def test_a_recurrent_layer_of_which_another_output_is_used_is_said() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.fc = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Any:
            return self.fc(self.rnn(x.mean((3, 4)).transpose(1, 2))[1][0][-1])

    with pytest.raises(LayerError, match=r"the score depends on 'rnn\[1\]\[0\]' \(1, 2, 4\) alone, without a grid"):
        cam(Last(), X, layer="rnn", target=0, layout="b t c")


class Mixed(nn.Module):
    """A trunk and a head that compute in types of their own, or all under autocast."""

    def __init__(self, trunk: torch.dtype, head: torch.dtype, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.net, self.autocast = Net(), autocast
        self.net.a.to(trunk)
        self.net.b.to(trunk)
        self.net.fc.to(head)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=self.autocast, enabled=self.autocast is not None):
            maps = self.net.deep(x.to(self.net.a.weight.dtype))
            return self.net.fc(maps.mean((2, 3, 4)).to(self.net.fc.weight.dtype))


TYPES = {
    "double": (torch.float64, torch.float64, None),
    "half": (torch.float16, torch.float16, None),
    "bfloat16": (torch.bfloat16, torch.bfloat16, None),
    "half trunk": (torch.float16, torch.float32, None),
    "bfloat16 trunk": (torch.bfloat16, torch.float32, None),
    "double head": (torch.float32, torch.float64, None),
    "autocast": (torch.float32, torch.float32, torch.bfloat16),
    "autocast to half": (torch.float32, torch.float32, torch.float16),
}


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("types", TYPES)
def test_networks_of_several_types_are_explained_as_in_float32(types: str, batch: int) -> None:
    x = torch.randn(batch, 3, 6, 12, 12, generator=torch.Generator().manual_seed(batch))
    plain = Net()
    maps = plain.a(x).detach().requires_grad_()
    (g,) = torch.autograd.grad(plain.fc(plain.b(maps.relu()).relu().mean((2, 3, 4)))[:, 1].sum(), maps)
    right = {
        "grad_cam": (g.mean((3, 4), keepdim=True) * maps).sum(1).relu().detach(),
        "hires_cam": (g * maps).sum(1).relu().detach(),
    }
    for method, heat in right.items():
        found = cam(Mixed(*TYPES[types]), x, layer="net.a", target=1, method=method)
        tolerance = 1e-6 if "double" in types else 0.1 if types in ("bfloat16", "bfloat16 trunk", "autocast") else 0.05
        torch.testing.assert_close(found.float(), heat, rtol=tolerance, atol=tolerance * float(heat.max()))
