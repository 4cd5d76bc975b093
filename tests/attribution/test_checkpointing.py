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
