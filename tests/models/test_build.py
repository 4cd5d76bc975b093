"""Models by name, with weights, checkpoints and labels."""

import json
import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from vidcam.errors import ModelError, OptionError, TargetError
from vidcam.models import mini
from vidcam.models.build import MODELS, load_model, read_labels
from vidcam.models.recipe import UntrainedWarning


@pytest.mark.parametrize("name", ["r3d18", "R3D_18", "demos", ""])
def test_an_unknown_model(name: str) -> None:
    with pytest.raises(ModelError, match="unknown model") as caught:
        load_model(name)
    assert "'r3d_18'" in str(caught.value) or name not in ("r3d18", "R3D_18")


def test_the_demo_is_as_it_is_shipped() -> None:
    model = load_model("demo")
    assert model.weights == "shipped" and not model.net.training
    assert model.labels == mini.LABELS
    for one, other in zip(model.net.parameters(), mini.demo_net().parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("tag", ["none", "None", "NONE", None])
def test_random_weights(tag: str | None) -> None:
    with pytest.warns(UntrainedWarning, match="r3d_18 is untrained") as caught:
        assert load_model("r3d_18", weights=tag).weights == "none"
    assert len(caught) == 1 and "\n" not in str(caught[0].message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": "abc"}, "hidden must be a whole number; given abc"),
        ({"hidden": 2.5}, "hidden must be a whole number; given 2.5"),
        ({"dropout": "abc"}, "dropout must be a number; given abc"),
        ({"bidirectional": 3}, "bidirectional must be true or false; given 3"),
        ({"frame_rate": True}, "frame_rate must be a number; given True"),
        ({"size": "ab"}, "size needs a height and a width of 1 to 8192, or one for both; given ab"),
        ({"size": (0, 3)}, "size needs a height and a width"),
        ({"size": 3.5}, "size needs a height and a width"),
        ({"size": 10**6}, "size must be a number of at most 16384"),
        ({"size": (10**6, 3)}, "size needs a height and a width"),
        ({"frames": 10**9}, "frames must be from 1 to 16384; given 1000000000"),
        ({"frames": "ten"}, "frames must be a number; given ten"),
        ({"frames": 2.5}, "frames must be a whole number; given 2.5"),
        ({"frames": True}, "frames must be a whole number; given True"),
        ({"frame_rate": float("inf")}, "frame_rate must be from 0.0001 to 1000; given inf"),
        ({"frame_rate": float("nan")}, "frame_rate must be from"),
        ({"classes": -1}, "classes must be from 1 to"),
        ({"seed": 2**64}, "seed must be from 0 to"),
        ({"seed": None}, "seed must be a number; given None"),
        ({"hidden": 10**9}, "hidden must be a number of at most"),
    ],
)
@pytest.mark.filterwarnings("ignore::vidcam.models.recipe.UntrainedWarning")
def test_options_that_no_network_can_have_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        load_model("cnn_lstm", weights=None, options=options)
    assert "\n" not in str(caught.value)


def test_an_unknown_tag() -> None:
    with pytest.raises(ModelError, match="'KINETICS400_V1'"):
        load_model("r3d_18", weights="KINETICS_V1")


@pytest.mark.parametrize("error", [URLError("no route to host"), TimeoutError("timed out"), RuntimeError("bad hash")])
def test_without_a_network_it_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(ModelError, match="cannot download the weights KINETICS400_V1 of r3d_18") as caught:
        load_model("r3d_18", weights="KINETICS400_V1")
    assert "\n" not in str(caught.value) and "checkpoint" in str(caught.value)


def test_another_number_of_classes(tmp_path: Path) -> None:
    net = mini.MiniNet(7)
    torch.save({"state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}}, tmp_path / "a.pth")
    model = load_model("demo", checkpoint=tmp_path / "a.pth")
    assert model.net.fc.out_features == 7 and model.labels == ()
    assert torch.equal(model.net.fc.weight, net.fc.weight)
    named = load_model("demo", checkpoint=tmp_path / "a.pth", labels=list("abcdefg"))
    assert named.labels == tuple("abcdefg")


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    save_file(torch.nn.Linear(2, 3).state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"a\.safetensors does not fit demo; missing: .* unexpected: bias, weight"):
        load_model("demo", checkpoint=tmp_path / "a.safetensors")


def test_a_checkpoint_of_torchvisions_kind(tmp_path: Path) -> None:
    """The number of classes is read from the head; Kinetics' names then do not hold."""
    import torchvision

    net = torchvision.models.video.r3d_18(num_classes=5)
    torch.save(net.state_dict(), tmp_path / "mine.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load_model("r3d_18", checkpoint=tmp_path / "mine.pth")
    assert model.net.fc.out_features == 5 and not model.net.training and model.labels == ()
    assert "mine.pth" in model.weights
    assert torch.equal(model.net.layer4[1].conv2[0].weight, net.layer4[1].conv2[0].weight)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "wave\nshoot bow\ngolf\n"),
        ("a.txt", "wave\r\nshoot bow\r\ngolf"),
        ("a.txt", "\ufeffwave\n\n  shoot bow \ngolf\n\n"),
        ("a", "wave\nshoot bow\ngolf\n"),
        ("a.json", '["wave", "shoot bow", "golf"]'),
        ("a.JSON", '["wave", "shoot bow", "golf"]'),
        ("a.json", '{"0": "wave", "2": "golf", "1": "shoot bow"}'),
        ("a.json", '{"wave": 0, "golf": 2, "shoot bow": 1}'),
        ("a.json", '\ufeff["wave", "shoot bow", "golf"]'),
    ],
)
def test_labels(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8"))
    assert read_labels(tmp_path / name) == ("wave", "shoot bow", "golf")


def test_more_than_ten_labels_by_index(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({str(i): f"class {i}" for i in range(12)}, sort_keys=True))
    assert read_labels(tmp_path / "a.json") == tuple(f"class {i}" for i in range(12))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", b"[1, 2"),
        ("a.json", b"[" * 100_000),
        ("a.json", b"5"),
        ("a.json", b"null"),
        ("a.json", b'"wave"'),
        ("a.json", b'[["wave"], ["golf"]]'),
        ("a.json", b'[null, "golf"]'),
        ("a.json", b'{"0": "wave", "2": "golf"}'),
        ("a.json", b'{"1": "wave", "2": "golf"}'),
        ("a.json", b'{"wave": 1, "golf": 1}'),
        ("a.json", b'{"wave": "x", "golf": "y"}'),
        ("a.json", b'{"0": ["wave"]}'),
        ("a.json", b""),
        ("a.txt", b"\xff\xfe\x00w"),
    ],
)
def test_what_are_no_labels(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError, match="labels") as caught:
        load_model("demo", labels=tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "given none"), ("\n\n", "given none"), ("a\nb\na\n", "must differ; 'a' is given more than once")],
)
def test_labels_that_do_not_tell_classes_apart(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ModelError, match=message):
        load_model("demo", labels=tmp_path / "a.txt")


@pytest.mark.parametrize("options", [{"references": [[16]]}, {"references": "two"}, {"explainability": 3}])
def test_options_of_a_kind_that_files_tell(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"the network's .* must be"):
        load_model("sfmlearner", weights=None, options=options)


def test_a_size_that_a_backbone_shrinks_to_nothing_is_one_line() -> None:
    options = {"backbone": "squeezenet1_1", "size": 4}
    with (
        pytest.raises(OptionError, match=r"no network can be built with .*size 4.*too small"),
        pytest.warns(UserWarning),
    ):
        load_model("cnn_lstm", weights=None, options=options)


def test_what_a_model_stumbles_over_is_one_line() -> None:
    options = {"backbone_input": {"mean": 0.5, "std": 0.2}}
    with pytest.raises(OptionError, match=r"no network can be built with .*'mean': 0\.5"), pytest.warns(UserWarning):
        load_model("cnn_lstm", weights=None, options=options)


def test_classes_that_nobody_chose_are_the_default_s() -> None:
    with pytest.warns(UserWarning, match="untrained"):
        model = load_model("r2plus1d_mini", weights=None, options={"classes": None})
    assert model.options["classes"] == model.net.fc.out_features == 4


def test_a_labels_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        load_model("demo", labels=tmp_path / "none.txt")


def test_every_name_has_a_recipe_in_a_line() -> None:
    assert len(MODELS) >= 10
    for name, recipe in MODELS.items():
        assert recipe.about and "\n" not in recipe.about, name


def test_labels_are_checked_by_the_model_too() -> None:
    from vidcam import Model

    with pytest.raises(TargetError, match="'a' comes 2 times"):
        Model(torch.nn.Sequential(torch.nn.Conv3d(3, 2, 1)), layer="0", labels=["a", "b", "a"])
