"""The lists that people choose from."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vidcam import Model
from vidcam.data.preprocessing import Preprocessing
from vidcam.models.build import MODELS, load_model
from vidcam.models.inspection import list_layers, list_models, list_options


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
    own = ["layer1", "layer2", "layer3 (when)", "layer4 (default)"]
    assert [name for name, row in rows.items() if row["whole"]] == own  # the stem has the grid of layer1
    assert len({tuple(row["grid"]) for row in rows.values()}) == len(rows)
    assert rows["layer4 (default)"] == {
        "layer": "layer4 (default)",
        "grid": [2, 7, 7],
        "stride": ["8", "16", "16"],
        "sees": ["16", "112", "112"],
        "gradient": True,
        "whole": True,
    }
    assert rows["layer1"]["grid"] == [16, 56, 56] and rows["layer1"]["sees"] == ["11", "23", "23"]
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


class Stack(nn.Module):
    """A list of convolutions, of which the first two have one grid, and something that goes past the last one."""

    def __init__(self, *, past: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [nn.Conv3d(3, 10, 3, (1, 2, 2), 1), nn.Conv3d(10, 11, 3, 1, 1), nn.Conv3d(11, 12, 3, 2, 1)]
        )
        self.fc, self.past = nn.Linear(12 + 11 * past, 2), past

    def forward(self, x: Tensor) -> Tensor:
        x = early = self.blocks[1](self.blocks[0](x).relu()).relu()
        x = self.blocks[2](x).relu().mean((2, 3, 4))
        return self.fc(torch.cat([x, early.mean((2, 3, 4))], 1) if self.past else x)


def stack(**choices: bool) -> Model:
    torch.manual_seed(0)
    size = Preprocessing(resize=(24, 32))
    return Model(Stack(**choices).eval(), layer="blocks.2", frames=8, preprocessing=size)


def test_lists_of_modules_are_walked() -> None:
    """Extents: 3 and 3 + 2 frames, 3 and 3 + 2 * 2 pixels; then 5 + 2 and 7 + 2 * 2."""
    net, steps = stack(), list[tuple[int, int | None]]()
    assert list_layers(net, progress=lambda *step: steps.append(step)) == [
        {
            "layer": "blocks.1",
            "grid": [8, 12, 16],
            "stride": ["1", "2", "2"],
            "sees": ["5", "7", "7"],
            "gradient": True,
            "whole": True,
        },
        {
            "layer": "blocks.2 (default)",
            "grid": [4, 6, 8],
            "stride": ["2", "4", "4"],
            "sees": ["7", "11", "11"],
            "gradient": True,
            "whole": True,
        },
    ]
    assert steps == [(1, 2), (2, 2)]


def test_what_holds_only_a_part_of_the_answer_is_said_so() -> None:
    rows = {row["layer"]: row["whole"] for row in list_layers(stack(past=True))}
    assert rows == {"blocks.1": True, "blocks.2 (default)": False}


def test_the_model_s_own_layers_stand_for_their_grids() -> None:
    model = replace(stack(), layer="blocks.0", when="blocks.2")
    assert [row["layer"] for row in list_layers(model)] == ["blocks.0 (default)", "blocks.2 (when)"]
    model = replace(stack(), when="blocks.0", layer="blocks.1")
    assert [row["layer"] for row in list_layers(model)] == ["blocks.0 (when)", "blocks.1 (default)", "blocks.2"]


class Transformer(nn.Module):
    """Tubes of 2 frames and 8 x 8 pixels, a class token, two blocks in a list, and a head that reads that token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv3d(3, 16, (2, 8, 8), (2, 8, 8))
        self.token, self.places = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.randn(1, 13, 16))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True) for _ in range(2))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


@pytest.mark.parametrize("layer", ["blocks.0", "embed"])
def test_a_transformer(layer: str) -> None:
    torch.manual_seed(0)
    model = Model(Transformer().eval(), layer=layer, frames=4, preprocessing=Preprocessing(resize=(16, 24)))
    (row,) = list_layers(model)
    assert row["layer"] == f"{layer} (default)" and row["grid"] == [2, 2, 3] and row["gradient"] and row["whole"]
    assert row["stride"] == ["2", "8", "8"] and row["sees"] == (
        ["2", "8", "8"] if layer == "embed" else ["4", "16", "24"]
    )
    model = replace(model, layer="blocks.1")
    (row,) = list_layers(model)
    assert row["layer"] == "blocks.1 (default)" and not row["gradient"]  # of the class token alone


def test_options_of_any_model(tmp_path: Path) -> None:
    own = {row["option"]: row["default"] for row in list_options("r3d_18")}
    assert own == dict(MODELS["r3d_18"].options)
    file = tmp_path / "own.py"
    file.write_text("def make(width=3, *, depth=None):\n    raise AssertionError\n")
    own = {row["option"]: row["default"] for row in list_options(f"{file}:make")}
    assert own["width"] == 3 and {"depth", "frames", "size", "layer"} <= set(own)
    assert "frames" in {row["option"] for row in list_options("timm:resnet18")}


def test_a_file_s_network_is_walked(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef make(width=4):\n    return nn.Sequential(nn.Conv3d(3, width, 3, (1, 4, 4), 1), "
        "nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(width, 2))\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = load_model(f"{tmp_path / 'own.py'}:make", options={"frames": 8, "size": (32, 48)})
    rows = list_layers(model)
    assert [row["grid"] for row in rows] == [[8, 8, 12]] and rows[0]["layer"].endswith("(default)") and model.concluded


@pytest.mark.slow
def test_real_networks() -> None:
    rows = {row["layer"]: row for row in list_layers("r3d_18")}
    assert {name: row["grid"] for name, row in rows.items()} == {
        "layer1": [16, 56, 56],
        "layer2": [8, 28, 28],
        "layer3 (when)": [4, 14, 14],
        "layer4 (default)": [2, 7, 7],
    }
    rows = {row["layer"]: row for row in list_layers("mvit_v2_s") if row["whole"]}
    assert [row["grid"] for row in rows.values()] == [[8, 56, 56], [8, 28, 28], [8, 14, 14], [8, 7, 7]]
    assert [row["stride"] for row in rows.values()] == [["2", str(n), str(n)] for n in (4, 8, 16, 32)]
