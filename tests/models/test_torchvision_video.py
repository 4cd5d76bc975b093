"""torchvision's networks: built the same each time, and looking where the table says."""

import warnings

import pytest
import torch
import torchvision

from vidcam.attribution.capturing import capture
from vidcam.attribution.layers import output_shapes, read_grid
from vidcam.attribution.receptive_field import measure_axes
from vidcam.attribution.scores import class_score
from vidcam.attribution.untouched import untouched
from vidcam.models.build import MODELS, load_model
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning

NAMES = [name for name in MODELS if name in torchvision.models.list_models(torchvision.models.video)]
SMALL = ["r3d_18", "mc3_18", "r2plus1d_18", "s3d"]
BUILT = [name if name in SMALL else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def untrained(name: str) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        return load_model(name, weights=None)


def test_the_nine_networks_are_there() -> None:
    transformers = ["mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b"]
    assert sorted(NAMES) == sorted([*SMALL, *transformers])


@pytest.mark.parametrize("name", BUILT)
def test_built_without_weights(name: str) -> None:
    before = torch.get_rng_state()
    with pytest.warns(UntrainedWarning) as caught:
        model = load_model(name, weights=None)
    assert len(caught) == 1
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in model.net.modules())
    assert len(model.labels) == 400 and model.name == name and model.weights == "none"
    torch.manual_seed(99)
    assert untrained(name).digest == model.digest


@pytest.mark.parametrize("name", BUILT)
def test_preprocessing_is_the_preset_s(name: str) -> None:
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    ours = untrained(name).preprocessing
    assert (list(ours.crop or ()), list(ours.mean), list(ours.std)) == (preset.crop_size, preset.mean, preset.std)
    assert not ours.antialias


@pytest.mark.parametrize("name", BUILT)
def test_the_default_layers_have_the_grid_that_the_entry_says(name: str) -> None:
    """The deep layer speaks for the score, and reads as its layout says."""
    model = untrained(name)
    frames = 16 if name == "s3d" else model.frames  # shorter than its own: quicker
    x = torch.rand(1, 3, frames, *model.preprocessing.view(112, 112).size)
    layers = [layer for layer in (model.layer, model.when) if layer]
    captured = capture(model.net, x, layers=layers, scores=[class_score(3)])
    for layer in layers:
        given = captured.grids.get(layer)
        tensor = captured.activations[layer]
        grid = given or (model.grid(tensor.shape[1]) if callable(model.grid) else model.grid)
        layout = model.layout if layer == model.layer and model.layout else "b c t h w"
        cells = read_grid(tensor, layout, batch=1, grid=grid)
        gradient = read_grid(captured.gradients[0][layer], layout, batch=1, grid=grid)
        assert cells.ndim == 5 and gradient.any()
        for axis, slots, length in zip(model.axes[layer], cells.shape[2:], x.shape[2:], strict=True):
            assert abs(slots * axis.stride - length) < axis.stride
            assert 0 <= axis.center < axis.stride


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_the_table_is_what_is_measured(name: str) -> None:
    """In time, and at the first layers in space too; all of it is in the slow test."""
    check_axes(untrained(name), {"stem": "thw", "layer1": "thw", "layer4": "t"}, frames=16)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_all_of_the_table_is_what_is_measured(name: str) -> None:
    model = untrained(name)
    check_axes(model, dict.fromkeys(model.axes, "thw"), frames=model.frames)


def check_axes(model: Model, layers: dict[str, str], *, frames: int) -> None:
    size = model.preprocessing.view(112, 112).size
    for layer, axes in layers.items():
        told = [axis for name, axis in zip("thw", model.axes[layer], strict=True) if name in axes]
        found = measure_axes(model.net, (3, frames, *size), layer, axes=axes)
        assert list(found) == told, (model.name, layer)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s", "swin3d_t"])
def test_grids_of_transformers_are_as_wide_as_their_strides_say(name: str) -> None:
    model = untrained(name)
    x = torch.rand(1, 3, model.frames, *model.preprocessing.view(224, 224).size)
    with untouched(model.net):
        shapes = output_shapes(model.net, x, list(model.axes))
    assert len(shapes) > 4
    for layer, (shape, grid) in shapes.items():
        if grid is None and len(shape) == 3:
            assert callable(model.grid)
            grid = model.grid(shape[1])
        sizes = grid or shape[1:4]
        for axis, slots, length in zip(model.axes[layer], sizes, x.shape[2:], strict=True):
            assert slots * axis.stride == length, layer


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_map_of_every_network(name: str) -> None:
    import vidcam

    model = untrained(name)
    x = torch.rand(1, 3, model.frames, *model.preprocessing.view(224, 224).size)
    heat = vidcam.cam(model.net, x, layer=model.layer, target=0, layout=model.layout, grid=model.grid)
    assert heat.ndim == 4 and torch.isfinite(heat).all()
