"""A network of one's own, with its declaration: what stands between the two lines is all that it costs."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, OptionError
from vidcam.models.build import MODELS, load_model
from vidcam.models.checkpoint import read_checkpoint, write_checkpoint
from vidcam.models.inputs import Input
from vidcam.models.inspection import list_layers
from vidcam.models.model import Model
from vidcam.models.recipe import Recipe, UntrainedWarning


# ---------------------------------------------------------------------------------------------------------------------
class Own(nn.Module):
    """Two convolutions and a linear head: (B, 3, T, H, W) -> (B, K)."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.near = nn.Conv3d(3, width, 3, (1, 2, 2), padding=1)
        self.far = nn.Conv3d(width, width, 3, 2, padding=1)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.far(self.near(x).relu()).relu().mean((2, 3, 4)))


MINE = {
    "own": Recipe(
        about="two convolutions: 8 frames at 10 per second",
        network=Own,
        model=lambda net, options: Model(net, "far", when="near", preprocessing=Preprocessing((32, 48))),
        options={"classes": 2, "width": 4, "frames": 8, "frame_rate": 10.0, "size": None, "seed": 0},
        head="fc",
    )
}
# ---------------------------------------------------------------------------------------------------------------------


class Pathways(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.slow, self.fast = nn.Conv3d(3, 4, 3, (1, 2, 2), 1), nn.Conv3d(3, 4, (5, 3, 3), (1, 4, 4), (2, 1, 1))
        self.fc = nn.Linear(8, classes)

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        means = [self.slow(slow).mean((2, 3, 4)), self.fast(fast).mean((2, 3, 4))]
        return self.fc(torch.cat(means, 1))


def pathways(net: Pathways, chosen: Any) -> Model:
    small = Preprocessing((16, 16))
    inputs = {"slow": Input(small, every=chosen["pace"]), "fast": Input(small)}
    return Model(net, "slow", "b c t h w", inputs=inputs, sees={"fast": "fast"})


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "own", MINE["own"])
    options = {"classes": 3, "frames": 16, "size": None, "pace": 4}
    files = {"near": "weights of the first part", "far": "of the second"}
    monkeypatch.setitem(MODELS, "pathways", Recipe("slow and fast", Pathways, pathways, options, head="fc"))
    monkeypatch.setitem(MODELS, "parts", Recipe("in parts", Own, MINE["own"].model, MINE["own"].options, files=files))


def untrained(name: str, **options: Any) -> Model:
    with pytest.warns(UntrainedWarning, match=f"{name} is untrained") as caught:
        model = load_model(name, weights=None, options=options)
    assert len(caught) == 1 and caught[0].filename == __file__
    return model


def test_it_is_a_model_like_all_others() -> None:
    model = untrained("own", classes=5, size=24)
    assert repr(model) == "Model(own, far, 8 frames at 10 per second, 5 classes, weights none)"
    assert model.preprocessing.resize == (24, 24) and not model.net.training and model.options["width"] == 4
    assert model.digest == untrained("own", classes=5).digest != untrained("own", classes=5, seed=1).digest
    assert model.net(model.batch([[torch.rand(3, 24, 24)] * 8])).shape == (1, 5)
    rows = {row["layer"]: row for row in list_layers(model)}
    assert rows["far (default)"]["stride"] == ["2", "4", "4"] and rows["near (when)"]["sees"] == ["3", "3", "3"]


def test_its_checkpoints_tell_the_classes(tmp_path: Path) -> None:
    model = untrained("own", classes=7, width=3)
    path = write_checkpoint(model, tmp_path / "own.safetensors")
    torch.save({"model": model.net.state_dict()}, tmp_path / "plain.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_model(None, checkpoint=path).digest == model.digest
        again = load_model("own", checkpoint=tmp_path / "plain.pth", options={"width": 3})
    assert again.digest == model.digest and again.options["classes"] == 7 and again.weights == "checkpoint plain.pth"


def test_mistakes_are_the_usual_ones() -> None:
    with pytest.raises(ModelError, match="own has no weights 'DEFAULT' to download; give a checkpoint, or weights"):
        load_model("own")
    with pytest.raises(OptionError, match="unknown option of own 'widht'; did you mean 'width'"):
        load_model("own", options={"widht": 3})
    with pytest.raises(OptionError, match="frames must be from 1 to"):
        load_model("own", weights=None, options={"frames": 0})
    with pytest.raises(TypeError, match="unexpected keyword argument 'checkpiont'"):
        load_model("own", checkpiont="a.pth")  # type: ignore[arg-type]


def test_files_are_parts_of_the_network_by_name(tmp_path: Path) -> None:
    model = untrained("own", seed=3)
    for part in ("near", "far"):
        torch.save(model.net.get_submodule(part).state_dict(), tmp_path / f"{part}.pth")
    again = load_model("parts", near=tmp_path / "near.pth", far=tmp_path / "far.pth")
    assert torch.equal(again.net.far.weight, model.net.far.weight)
    assert torch.equal(again.net.near.weight, model.net.near.weight)
    assert again.weights == "checkpoint near.pth and checkpoint far.pth"
    with pytest.raises(ModelError, match="own takes no near= or far=, which are files of parts; give checkpoint="):
        load_model("own", near=tmp_path / "near.pth", far=None)
    with pytest.raises(ModelError, match=r"far\.pth does not fit parts's near network; .*has shape"):
        load_model("parts", near=tmp_path / "far.pth")


def test_slow_and_fast_pathways(tmp_path: Path) -> None:
    model = untrained("pathways", size=(8, 12))
    assert [given.preprocessing.resize for given in model.inputs.values()] == [(8, 12)] * 2
    assert repr(model) == "Model(pathways, slow, 16 frames, inputs slow and fast, 3 classes, weights none)"
    x = model.batch([[{name: torch.rand(3, 8, 12) for name in model.inputs}] * 16])
    assert x["slow"].shape == (1, 3, 4, 8, 12) and x["fast"].shape == (1, 3, 16, 8, 12)
    path = write_checkpoint(model, tmp_path / "pathways.safetensors")
    again = load_model(None, checkpoint=path)
    assert torch.equal(again.net(**x), model.net(**x)) and again.inputs == model.inputs
    again = load_model(None, checkpoint=path, options={"frames": 32})
    assert again.frames == 32 and again.inputs == model.inputs
    rows = {row["layer"]: row for row in list_layers(model)}
    assert rows["slow (default)"]["grid"] == [4, 4, 6] and rows["slow (default)"]["sees"] == ["3", "3", "3"]
    assert rows["fast"]["stride"] == ["1", "4", "4"] and rows["fast"]["sees"] == ["5", "3", "3"]


def brighter(frames: Tensor) -> Tensor:
    return frames + 1


def other_pathways(net: Pathways, chosen: Any) -> Model:
    """What a user may have changed since: each input its own pixels, pace and function."""
    model = pathways(net, chosen)
    far, near = Preprocessing((8, 12), mean=(0.1,) * 3), Preprocessing(20, crop=(16, 16), std=(0.5,) * 3)
    return replace(
        model, preprocessing=far, inputs={"slow": Input(far, every=8), "fast": Input(near, every=2, make=brighter)}
    )


@pytest.fixture
def changed(tmp_path: Path) -> tuple[Model, Path]:
    """A model whose inputs are not those of its recipe, but for what the fast one is made by."""
    model = other_pathways(Pathways(3), {"pace": 4})
    model = replace(model, name="pathways", options={"classes": 3, "frames": 16, "size": None, "pace": 4})
    return model, write_checkpoint(model, tmp_path / "changed.safetensors")


def declare(monkeypatch: pytest.MonkeyPatch, **fast: Any) -> None:
    """Let the recipe declare the fast input otherwise."""

    def declared(net: Pathways, chosen: Any) -> Model:
        model = pathways(net, chosen)
        return replace(model, inputs={**model.inputs, "fast": replace(model.inputs["fast"], **fast)})

    monkeypatch.setitem(MODELS, "pathways", replace(MODELS["pathways"], model=declared))


def test_a_checkpoint_keeps_every_input(changed: tuple[Model, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = changed
    declare(monkeypatch, make=brighter)
    again = load_model(None, checkpoint=path)
    assert again.inputs == model.inputs and again.inputs["fast"].preprocessing.crop == (16, 16)
    assert again.preprocessing == model.preprocessing == again.inputs["slow"].preprocessing
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    x, same = (each.batch([[each.prepare(pixels)] * 16]) for each in (model, again))
    assert x.keys() == same.keys() and all(torch.equal(x[name], same[name]) for name in x)


def test_inputs_that_are_chosen_anew_are_not_the_checkpoint_s(
    changed: tuple[Model, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = changed
    declare(monkeypatch, make=brighter)
    resized = load_model(None, checkpoint=path, options={"size": 24}).inputs.values()
    assert [(given.preprocessing.resize, given.every) for given in resized] == [((24, 24), 8), ((24, 24), 2)]
    paced = load_model(None, checkpoint=path, options={"pace": 2}).inputs.values()
    assert [(given.preprocessing.resize, given.every) for given in paced] == [((8, 12), 2), (20, 1)]


def test_what_an_input_is_made_by_is_not_kept_but_compared(
    changed: tuple[Model, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = changed
    kept = r"changed\.safetensors is of inputs slow and fast \(made by brighter\), but pathways has"
    with pytest.raises(ModelError, match=rf"{kept} inputs slow and fast$"):
        load_model(None, checkpoint=path)
    declare(monkeypatch, make=nn.Identity())
    with pytest.raises(ModelError, match=rf"{kept} inputs slow and fast \(made by Identity\)$"):
        load_model(None, checkpoint=path)
    alone = replace(MODELS["pathways"], model=lambda net, _: Model(net, "slow"))
    monkeypatch.setitem(MODELS, "pathways", alone)
    with pytest.raises(ModelError, match=rf"{kept} no named inputs$"):
        load_model(None, checkpoint=path)


@pytest.mark.parametrize("inputs", [3, [], {"slow": 3}, {"slow": {"make": None}}])
def test_damaged_inputs(changed: tuple[Model, Path], inputs: Any) -> None:
    model, path = changed
    declared = {"slow": {"make": None, "every": 1}, "fast": {"make": None, "every": "two"}}
    for damaged in (inputs, declared):
        write_checkpoint(model, path, force=True)
        checkpoint = read_checkpoint(path)
        text = json.dumps(checkpoint.description | {"inputs": damaged})
        save_file(checkpoint.state, path, metadata={"vidcam": text})
        with pytest.raises(ModelError, match=r"damaged description|but pathways has"):
            load_model(None, checkpoint=path)
