"""The lists that people choose from."""

import warnings

import torch
from torch import Tensor, nn

from vidcam import Model
from vidcam.data.preprocessing import Preprocessing
from vidcam.models.build import MODELS
from vidcam.models.inspection import list_layers, list_models


def test_every_model_is_listed() -> None:
    rows = list_models()
    assert [row["model"] for row in rows] == list(MODELS)
    assert all(row["what it is"] for row in rows)


def test_layers_of_a_known_network() -> None:
    """Numbers of facts: at the last layer of R(2+1)D the whole clip is seen."""
    steps: list[tuple[int, int | None]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # geometry does not depend on weights: nobody is warned
        rows = {row["layer"]: row for row in list_layers("r2plus1d_18", progress=lambda *step: steps.append(step))}
    assert list(rows) == ["stem", "layer1", "layer2", "layer3 (when)", "layer4 (default)"]
    assert rows["layer4 (default)"] == {
        "layer": "layer4 (default)",
        "grid": [2, 7, 7],
        "stride": ["8", "16", "16"],
        "sees": ["16", "112", "112"],
    }
    assert rows["stem"]["grid"] == [16, 56, 56] and rows["stem"]["sees"] == ["3", "7", "7"]
    assert steps[-1] == (len(rows), len(rows))


def test_layers_of_a_user_s_network_are_measured() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv3d(3, 4, 3, (1, 2, 2), 1), nn.Conv3d(4, 5, 3, 2, 1)
            self.pool, self.fc = nn.AdaptiveAvgPool3d(1), nn.Linear(5, 2)
            self.unused = nn.Conv3d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.pool(self.second(self.first(x))).flatten(1))

    net = Net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    model = Model(net, layer="second", layout="b c t h w", frames=8, preprocessing=Preprocessing(resize=(24, 32)))
    rows = {row["layer"]: row for row in list_layers(model)}
    assert list(rows) == ["first", "second (default)"]
    assert rows["first"]["grid"] == [8, 12, 16] and rows["second (default)"]["grid"] == [4, 6, 8]
    assert rows["second (default)"]["stride"] == ["2", "4", "4"]
    assert rows["second (default)"]["sees"] == ["5", "7", "7"]
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
