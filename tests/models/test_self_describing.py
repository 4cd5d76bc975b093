"""A checkpoint that vidcam wrote rebuilds its model bit for bit, and says what does not fit."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vidcam.errors import MediaError, ModelError, OptionError
from vidcam.models.build import load_model
from vidcam.models.checkpoint import read_checkpoint, write_checkpoint
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning

SMALL: dict[str, Any] = {"classes": 5, "frames": 6, "frame_rate": 12.5, "size": [40, 48], "seed": 3}
RECURRENT = {
    "hidden": 7,
    "cell": "gru",
    "layers": 2,
    "bidirectional": True,
    "dropout": 0.1,
    "backbone": "mobilenet_v3_small",
}
LABELS = ["sit", "stand", "run (fast)", "größe", "wave"]


def changed(name: str, options: dict[str, Any]) -> Model:
    """Build an untrained model whose weights, buffers too, are not those of its seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        model = load_model(name, weights=None, labels=LABELS, options=options)
    for value in model.net.state_dict().values():
        value.add_(torch.rand_like(value) * 0.1 if value.is_floating_point() else 1)
    return model


MODELS = {
    "cnn_lstm_attention": {**SMALL, **RECURRENT, "backbone_input": "minus_128"},
    "r2plus1d_mini": SMALL,
    "mc3_18": SMALL,
}


@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name, tmp_path):
    model, path = changed(name, MODELS[name]), tmp_path / "trained.safetensors"
    model.preprocessing = replace(model.preprocessing, std=(0.3, 0.2, 0.1))
    assert write_checkpoint(model, path, facts={"splits": {"train": "abc"}, "accuracy": 0.5}) == path
    x = torch.rand(2, 3, 6, 40, 48)
    for given in (name, None):
        again = load_model(given, checkpoint=path)  # no warning: it is trained
        outputs = [m.net(x) for m in (model, again)]
        logits, other = (o if isinstance(o, torch.Tensor) else torch.cat([*o], dim=1) for o in outputs)
        assert torch.equal(logits, other) and again.digest == model.digest
        assert list(again.labels) == LABELS and again.name == name and again.net.training is False
        assert (again.frames, again.frame_rate) == (6, 12.5)
        assert again.preprocessing == model.preprocessing and again.preprocessing.resize == (40, 48)
        assert (again.layer, again.layout, again.when) == (model.layer, model.layout, model.when)
        assert again.options == model.options
    description = read_checkpoint(path).description
    assert description["splits"] == {"train": "abc"} and description["accuracy"] == 0.5
    assert {"model", "options", "labels", "frames", "frame_rate", "preprocessing", "vidcam"} <= description.keys()


SPREAD = {"classes": 5, "frames": 6, "sampling": "spread", "clips": 2, "size": [40, 48]}


@pytest.mark.parametrize("name", ["r2plus1d_mini", "mc3_18"])
def test_how_a_network_looks_at_time_is_kept(name, tmp_path):
    path = write_checkpoint(changed(name, SPREAD), tmp_path / "a.safetensors")
    again = load_model(None, checkpoint=path)
    assert (again.frames, again.frame_rate, again.sampling, again.clips) == (6, None, "spread", 2)
    more = load_model(None, checkpoint=path, options={"clips": 5})
    assert (more.sampling, more.clips, more.frame_rate) == ("spread", 5, None)
    other = load_model(None, checkpoint=path, options={"sampling": "windows", "clips": 1})
    assert (other.sampling, other.clips, other.frame_rate) == ("windows", 1, 15)


def test_windows_may_become_spread(tmp_path):
    path = write_checkpoint(
        changed("r2plus1d_mini", {**SPREAD, "sampling": "windows", "clips": 1}), tmp_path / "a.safetensors"
    )
    spread = load_model(None, checkpoint=path, options={"sampling": "spread"})
    assert (spread.sampling, spread.frame_rate) == ("spread", None)
    path = write_checkpoint(changed("r2plus1d_mini", SMALL), tmp_path / "b.safetensors")
    with pytest.raises(OptionError, match=r"frame_rate must be None; given 12.5"):
        load_model(None, checkpoint=path, options={"sampling": "spread"})
    assert load_model(None, checkpoint=path, options={"sampling": "spread", "frame_rate": None}).frame_rate is None


def test_earlier_checkpoints_are_of_windows(written):
    state, told = read_checkpoint(written).state, read_checkpoint(written).description
    told = {name: value for name, value in told.items() if name not in ("sampling", "clips")}
    told["options"] = {name: value for name, value in told["options"].items() if name not in ("sampling", "clips")}
    earlier = written.with_name("earlier.safetensors")
    save_file(state, earlier, metadata={"vidcam": json.dumps(told)})
    model = load_model(None, checkpoint=earlier)
    assert (model.sampling, model.clips, model.frame_rate) == ("windows", 1, 12.5)


@pytest.fixture
def written(tmp_path) -> Path:
    return write_checkpoint(changed("r2plus1d_mini", SMALL), tmp_path / "mini.safetensors")


def test_options_and_labels_may_be_chosen_anew(written):
    model = load_model(None, checkpoint=written, labels=list("abcde"), options={"frames": 9, "size": 24})
    assert (model.frames, model.frame_rate, model.labels) == (9, 12.5, tuple("abcde"))
    assert model.preprocessing.resize == (24, 24)


def test_weights_of_the_backbone_are_not_looked_for_again(tmp_path):
    """The checkpoint has them; the file that they once came from may be gone."""
    model = changed("cnn_lstm", {**SMALL, **RECURRENT})
    state = {f"{key.removeprefix('backbone.')}": v for key, v in model.net.state_dict().items() if key[0] == "b"}
    torch.save(state, source := tmp_path / "backbone.pth")
    first = changed("cnn_lstm", {**SMALL, **RECURRENT, "backbone_weights": source})
    path = write_checkpoint(first, tmp_path / "trained.safetensors")
    source.unlink()
    assert load_model(None, checkpoint=path).digest == first.digest


def test_weights_that_share_memory(tmp_path):
    model = changed("r2plus1d_mini", SMALL)
    model.net.twin = model.net.fc
    write_checkpoint(model, tmp_path / "tied.safetensors")
    state = read_checkpoint(tmp_path / "tied.safetensors").state
    assert torch.equal(state["twin.weight"], state["fc.weight"])


def test_another_number_of_classes_renews_the_head(monkeypatch):
    """Kinetics weights with a user's classes: all but the head is kept."""
    full = changed_kinetics()
    monkeypatch.setattr("vidcam.models.torchvision_video.trained", lambda *_: full)
    kept = {key: value.clone() for key, value in full.state_dict().items() if not key.startswith("fc.")}
    with pytest.warns(UntrainedWarning, match="mc3_18 has a new head for 5 classes"):
        model = load_model("mc3_18", options={"classes": 5})
    assert model.net.fc.out_features == 5 and model.labels == () and model.options["classes"] == 5
    assert all(torch.equal(model.net.state_dict()[key], value) for key, value in kept.items())


def changed_kinetics() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        return load_model("mc3_18", weights=None).net


def test_a_file_is_replaced_only_by_force(written):
    model = load_model(None, checkpoint=written)
    with pytest.raises(MediaError, match="exists"):
        write_checkpoint(model, written)
    assert write_checkpoint(model, written, force=True) == written
    with pytest.raises(ModelError, match=r"must end with .safetensors; given 'mini.pth'"):
        write_checkpoint(model, written.with_suffix(".pth"))


def test_a_checkpoint_of_another_model(written):
    with pytest.raises(ModelError, match=r"mini.safetensors is of r2plus1d_mini, not of cnn_lstm$"):
        load_model("cnn_lstm", checkpoint=written)


def test_no_name_anywhere(written, tmp_path):
    save_file(read_checkpoint(written).state, tmp_path / "plain.safetensors")
    with pytest.raises(ModelError, match=r"^no model is named, and .*plain.safetensors does not name one$"):
        load_model(None, checkpoint=tmp_path / "plain.safetensors")
    with pytest.raises(ModelError, match=r"^no model is named$"):
        load_model(None)
    named = load_model("r2plus1d_mini", checkpoint=tmp_path / "plain.safetensors")  # classes are read off the head
    assert named.options["classes"] == 5 and named.frames == 32


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"model": "r2plus1d_mine"}, ModelError, "unknown model 'r2plus1d_mine'; did you mean 'r2plus1d_mini'"),
        ({"model": []}, ModelError, "has a damaged description"),
        ({"options": 3}, ModelError, "has a damaged description"),
        ({"labels": 3}, ModelError, "has a damaged description"),
        ({"labels": ["a", "a", "b", "c", "d"]}, ModelError, "has a damaged description"),
        ({"preprocessing": {"rezise": 3}}, ModelError, "has a damaged description"),
        ({"frame_rate": "fast"}, ModelError, "has a damaged description"),
        ({"frame_rate": float("inf")}, ModelError, "has a damaged description"),
        ({"frames": 10**9}, ModelError, "has a damaged description"),
        ({"frames": 2.5}, ModelError, "has a damaged description"),
        ({"frames": None}, ModelError, "has a damaged description"),
        ({"labels": "abcde"}, ModelError, "has a damaged description"),
        ({"labels": ["a", "b"]}, ModelError, "has a damaged description"),
        ({"preprocessing": {"resize": [10**6, 4]}}, ModelError, "has a damaged description"),
        ({"preprocessing": {"mean": [float("nan")] * 3}}, ModelError, "has a damaged description"),
        ({"options": {"frames": 10**9}}, OptionError, "frames must be from 1 to 16384; given 1000000000"),
        ({"options": {"frame_rate": float("inf")}}, OptionError, "frame_rate must be from 0.0001 to 1000; given inf"),
        ({"options": {"clases": 5}}, OptionError, "unknown option of r2plus1d_mini 'clases'; did you mean 'classes'"),
    ],
)
def test_a_damaged_description_is_one_line(written, change, error, says):
    checkpoint = read_checkpoint(written)
    text = json.dumps(checkpoint.description | change)
    save_file(checkpoint.state, written, metadata={"vidcam": text})
    with pytest.raises(error) as caught:
        load_model(None, checkpoint=written)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_text_that_is_no_json(written):
    save_file(read_checkpoint(written).state, written, metadata={"vidcam": "{"})
    with pytest.raises(ModelError, match=r"has a damaged description \(JSONDecodeError\)"):
        load_model(None, checkpoint=written)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("demo", {"classes": 3}, "unknown option of demo 'classes'; possible: none"),
        ("mvit_v2_s", {"frames": 8}, "unknown option of mvit_v2_s 'frames'; did you mean 'frame_rate'?"),
        ("r3d_18", {"frame_rat": 8}, "unknown option of r3d_18 'frame_rat'; did you mean 'frame_rate'"),
    ],
)
def test_unknown_options(name, options, says):
    with pytest.raises(OptionError) as caught:
        load_model(name, weights=None, options=options)
    assert str(caught.value).startswith(says)


def test_unknown_model():
    with pytest.raises(ModelError, match="unknown model 'cnn_lstn'; did you mean 'cnn_lstm'"):
        load_model("cnn_lstn", weights=None)
