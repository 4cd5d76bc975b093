"""SfMLearner by name: its files, its options, and what is refused in one line."""

from pathlib import Path

import pytest
import torch
from torch import nn

from vidcam.attribution.capturing import capture
from vidcam.attribution.receptive_field import measure_axes
from vidcam.errors import ModelError, OptionError
from vidcam.models.build import load_model
from vidcam.models.checkpoint import write_checkpoint
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning
from vidcam.models.sfmlearner.pose_and_depth import DispNetS, PoseExpNet

CAMERA = torch.tensor([[60.0, 0, 48], [0, 60, 32], [0, 0, 1]])
SMALL = {"size": (64, 96)}


def legacy(net: nn.Module, path: Path) -> Path:
    """Write a file as the published ones are: no archive, but one pickle after another."""
    torch.save({"epoch": 7, "state_dict": net.state_dict()}, path, _use_new_zipfile_serialization=False)
    assert not path.read_bytes().startswith(b"PK")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    nets = {"pose": PoseExpNet(4), "masks": PoseExpNet(2, True), "disp": DispNetS(), "other": nn.Conv2d(3, 4, 3)}
    return {name: legacy(net, folder / f"{name}.pth.tar") for name, net in nets.items()}


def same(one: nn.Module, path: Path) -> None:
    state = torch.load(path, weights_only=True)["state_dict"]
    assert one.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in one.state_dict().items())


def test_published_files_load_as_they_are(files: dict[str, Path]) -> None:
    model = load_model("sfmlearner", pose=files["pose"], disp=str(files["disp"]))
    same(model.net.pose, files["pose"])
    same(model.net.disp, files["disp"])
    assert files["pose"].stat().st_size == pytest.approx(6_395_975, rel=2e-3)
    assert files["disp"].stat().st_size == pytest.approx(126_396_039, rel=2e-3)
    assert (model.frames, model.layer, model.layout, model.frame_rate) == (5, "pose.conv5", "b c h w", None)
    assert model.options["references"] == 4 and model.options["explainability"] is False
    assert model.weights == "checkpoint pose.pth.tar and checkpoint disp.pth.tar" and not model.net.training
    assert list(model.scores) == ["loss", "tx", "ty", "tz", "rx", "ry", "rz", "speed", "turn"]
    assert model.preprocessing.resize == (128, 416) and model.preprocessing.antialias
    white = model.preprocessing(torch.full((20, 40, 3), 255, dtype=torch.uint8).numpy())
    assert white.shape == (3, 128, 416) and white.min() == white.max() == 1


def test_a_pose_network_alone_has_no_loss(files: dict[str, Path]) -> None:
    model = load_model("sfmlearner", pose=files["masks"], options=SMALL)
    assert model.net.disp is None and model.frames == 3 and model.options["explainability"] is True
    assert not [layer for layer in model.axes if layer.startswith("disp")]
    net = model.net.seeing(CAMERA)
    clip = torch.rand(1, 3, 3, 64, 96)
    with torch.no_grad():
        found = net(clip)
    assert found.loss is None and found.disparity is None and found.mask.shape == (1, 2, 64, 96)
    with pytest.raises(OptionError, match="'loss' needs a depth network") as caught:
        capture(net, clip, layers=["pose.conv5"], scores=[model.scores["loss"]])
    assert "\n" not in str(caught.value)
    assert capture(net, clip, layers=["pose.conv5"], scores=[model.scores["turn"]]).scores[0].shape == (1,)


def untrained(**options: object) -> Model:
    with pytest.warns(UntrainedWarning, match="sfmlearner is untrained") as caught:
        model = load_model("sfmlearner", weights="none", options={**SMALL, **options})
    assert len(caught) == 1
    return model


def test_untrained_it_is_the_same_for_a_seed() -> None:
    one, other = untrained(seed=1), untrained(seed=2)
    assert one.digest != other.digest and one.digest == untrained(seed=1).digest
    assert one.frames == 3 and one.net.disp is not None and one.weights == "none"


def test_every_layer_of_the_pose_network_and_the_depth_network_reads_as_a_map() -> None:
    model = untrained(explainability=True)
    net, clip = model.net.seeing(CAMERA), torch.rand(1, 3, 3, 128, 128)
    before = model.digest
    found = capture(net, clip, layers=list(model.axes), scores=[model.scores["loss"], model.scores["speed"]])
    assert len(found.activations) == 7 + 5 + 4 + 7 + 7 + 7 + 4
    for name, a in found.activations.items():
        assert a.shape[2] == 128 // model.axes[name][0].stride, name
    of_loss, of_speed = found.gradients
    masks = [name for name in model.axes if name.startswith(("pose.upconv", "pose.predict_mask"))]
    # outside training the loss does not reach back into the masks, or they would mix into the map of conv5
    assert [name for name in model.axes if not of_loss[name].any()] == masks and model.digest == before
    assert of_speed["pose.conv5"].any() and not of_speed["disp.conv5"].any()


@pytest.mark.parametrize("name", ["pose.conv2", "pose.conv4", "disp.conv2"])
def test_the_geometry_is_what_is_measured(name: str) -> None:
    """Measured on the encoders themselves, whose layers behave alike for a picture and for a clip."""
    model = untrained()
    part, _, block = name.partition(".")
    net = model.net.get_submodule(part)
    first = net.get_submodule("conv1")[0].in_channels
    encoder = nn.Sequential(*(net.get_submodule(f"conv{k}") for k in range(1, int(block[-1]) + 1)))
    measured = measure_axes(_Picture(encoder), (first, 1, 128, 128), f"encoder.{int(block[-1]) - 1}", layout="b c h w")
    for one, other in zip(measured, model.axes[name], strict=True):
        assert (one.stride, one.center, one.extent) == pytest.approx((other.stride, other.center, other.extent), abs=1)


class _Picture(nn.Module):
    """Take the only frame of a clip."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(x[:, :, 0])


def test_one_file_of_both_networks(tmp_path: Path) -> None:
    model = untrained(references=4, explainability=True, rotation="quat", loss_weights={"smoothness": 2.0})
    path = write_checkpoint(model, tmp_path / "whole.safetensors")
    for name in (None, "sfmlearner"):
        again = load_model(name, checkpoint=path)
        assert again.digest == model.digest and again.frames == 5 and again.preprocessing == model.preprocessing
        assert again.net.rotation == "quat" and again.net.weights.smoothness == 2 and again.net.pose.explainability
        assert again.options == model.options | {"size": list(model.options["size"])}
    with pytest.raises(ModelError, match="whole sfmlearner, not what pose= takes; give it as checkpoint="):
        load_model("sfmlearner", pose=path)
    with pytest.raises(ModelError, match="either checkpoint=, or pose= and disp="):
        load_model("sfmlearner", checkpoint=path, pose=path)


def test_a_pose_network_alone_goes_into_one_file_too(files: dict[str, Path], tmp_path: Path) -> None:
    model = load_model("sfmlearner", pose=files["pose"])
    again = load_model(None, checkpoint=write_checkpoint(model, tmp_path / "pose.safetensors"))
    assert again.digest == model.digest and again.net.disp is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no weights 'DEFAULT' to download; give pose=FILE, or weights 'none'"),
        ({"pose": "disp"}, r"disp\.pth\.tar is of a depth network .* give it as disp="),
        ({"pose": "pose", "disp": "masks"}, r"masks\.pth\.tar is of a pose network .* give it as pose="),
        ({"pose": "other"}, r"other\.pth\.tar is of no network of sfmlearner; it begins with weight"),
        ({"disp": "disp"}, "needs a pose network beside disp="),
        ({"checkpoint": "pose"}, r"is of a pose network .* give it as pose="),
        ({"pose": "pose", "options": {"references": 2}}, "has 4 reference frames, 2 are asked for"),
        ({"pose": "pose", "options": {"explainability": True}}, "has no explainability branch"),
        ({"pose": "masks", "options": {"explainability": False}}, "has an explainability branch"),
    ],
)
def test_what_is_refused(files: dict[str, Path], given: dict[str, object], said: str) -> None:
    known = {key: files[value] if isinstance(value, str) else value for key, value in given.items()}
    with pytest.raises(ModelError, match=said) as caught:
        load_model("sfmlearner", **known)
    assert "\n" not in str(caught.value)


def test_files_that_lack_layers_or_have_other_shapes(files: dict[str, Path], tmp_path: Path) -> None:
    state = PoseExpNet(2).state_dict()
    torch.save({key: value for key, value in state.items() if key != "conv3.0.bias"}, tmp_path / "lacks.pth")
    with pytest.raises(ModelError, match=r"does not fit sfmlearner's pose network; missing: conv3\.0\.bias"):
        load_model("sfmlearner", pose=tmp_path / "lacks.pth")
    torch.save(state | {"conv1.0.weight": torch.zeros(16, 8, 7, 7)}, tmp_path / "odd.pth")
    with pytest.raises(ModelError, match=r"conv1\.0\.weight has shape \(16, 8, 7, 7\)"):
        load_model("sfmlearner", pose=tmp_path / "odd.pth")
    torch.save(state | {"pose_pred.weight": torch.zeros(24, 256, 1, 1)}, tmp_path / "mixed.pth")
    with pytest.raises(ModelError, match=r"pose_pred\.weight has shape \(24, 256, 1, 1\) instead of \(12"):
        load_model("sfmlearner", pose=tmp_path / "mixed.pth")


def test_choices_that_do_not_exist(files: dict[str, Path]) -> None:
    for options, said in (
        ({"rotation": "eular"}, "did you mean 'euler'"),
        ({"refs": 2}, "did you mean 'references'"),
        ({"loss_weights": {"smooth": 1}}, "photometric, smoothness and explainability"),
    ):
        with pytest.raises(OptionError, match=said):
            load_model("sfmlearner", pose=files["pose"], options=options)


@pytest.mark.parametrize("part", ["pose", "disp"])
def test_other_models_take_no_such_files(files: dict[str, Path], part: str) -> None:
    with pytest.raises(ModelError, match=r"demo takes no pose= or disp=") as caught:
        load_model("demo", **{part: files[part]})
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
def test_intrinsics_move_with_the_weights() -> None:
    net = untrained().net.seeing(CAMERA).cuda()
    assert net.intrinsics.is_cuda and net(torch.rand(1, 3, 3, 64, 96).cuda()).loss.is_cuda
    assert net.seeing(CAMERA).intrinsics.is_cuda
