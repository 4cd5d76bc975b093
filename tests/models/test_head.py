"""The head: which layer it is, and a fresh one for other classes, whatever kind of layer it is."""

import pytest
import torch
import torchvision
from torch import nn

from vidcam.errors import ModelError
from vidcam.models.cnn_rnn import CnnRnn
from vidcam.models.head import find_head, renew_head
from vidcam.models.mini import MiniNet


def test_a_renewed_head_is_linear_and_repeatable() -> None:
    one, other = MiniNet(3), MiniNet(3)
    renew_head(one, 7, seed=1)
    renew_head(other, 7, seed=1)
    assert one.fc.out_features == 7 and torch.equal(one.fc.weight, other.fc.weight)


def test_the_layer_whose_rows_are_the_classes() -> None:
    assert find_head(MiniNet(3)) == "fc"
    assert find_head(CnnRnn(3, backbone="squeezenet1_1", attention=True, hidden=4)) == "head"
    assert find_head(torchvision.models.video.s3d(num_classes=3)) == "classifier.1"
    assert find_head(nn.Sequential(nn.ReLU())) is None


@pytest.mark.parametrize(
    ("old", "fresh"),
    [
        (nn.Linear(4, 3), lambda: nn.Linear(4, 7)),
        (nn.Linear(4, 3, bias=False), lambda: nn.Linear(4, 7, bias=False)),
        (nn.Conv3d(4, 3, (1, 2, 1), (1, 2, 3)), lambda: nn.Conv3d(4, 7, (1, 2, 1), (1, 2, 3))),
        (nn.Conv1d(4, 3, 1, bias=False), lambda: nn.Conv1d(4, 7, 1, bias=False)),
    ],
)
def test_it_is_what_torch_would_make_with_that_seed(old: nn.Module, fresh: object) -> None:
    net = nn.Sequential(nn.Sequential(nn.Identity(), old.requires_grad_(False)))
    before = torch.get_rng_state()
    renew_head(net, 7, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    wanted = fresh()  # type: ignore[operator]
    assert repr(net[0][1]) == repr(wanted) and len(old.weight) == 3
    state = net[0][1].state_dict()
    assert state.keys() == wanted.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in wanted.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_any_module_with_a_weight_can_be_named() -> None:
    class Scaled(nn.Linear):
        """Rows are the classes, and there is a parameter more."""

        def reset_parameters(self) -> None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    net = nn.Sequential(Scaled(4, 3), nn.LayerNorm(3))
    renew_head(net, 5, head="0")
    assert net[0](torch.ones(1, 4)).tolist() == [[4.0] * 5]


def test_a_network_without_such_a_layer() -> None:
    with pytest.raises(ModelError, match="Sequential does not end with a linear layer"):
        renew_head(nn.Sequential(nn.Conv3d(3, 4, 1), nn.PReLU()), 3)
