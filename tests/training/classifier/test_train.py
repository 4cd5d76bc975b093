"""Training end to end on a folder of tiny videos."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from vidcam.data.manifest import Row, read_manifest, write_manifest
from vidcam.errors import ModelError, OptionError
from vidcam.explaining.explain import explain
from vidcam.models.build import load_model
from vidcam.models.checkpoint import read_checkpoint, write_checkpoint
from vidcam.models.recipe import UntrainedWarning
from vidcam.training.classifier.module import BEST, Classifier, optimizer
from vidcam.training.classifier.settings import ClassifierSettings
from vidcam.training.classifier.testing import test as run_again
from vidcam.training.classifier.train import starting_model, train
from vidcam.training.run import LAST
from vidcam.training.settings import Machine


def test_from_manifest_to_explanation(quick: dict[str, Any], videos: list[Row]) -> None:
    report = train(**quick)
    folder = quick["output"]
    assert {path.name for path in folder.iterdir()} >= {BEST, LAST, "report.json", "confusion.png", "roc.png"}
    assert report.labels == ("left", "right") and report.split == "test" and not report.trained_on
    assert report.per_clip.count == 8 and report.per_video.count == 4
    told = read_checkpoint(folder / BEST).description
    assert told["splits"] == read_manifest(quick["manifest"]).digests
    assert told["training"]["best"] == report.best

    again = run_again(quick["manifest"], checkpoint=folder / BEST, accelerator="cpu", progress=False)
    told_before = json.loads((folder / "report.json").read_text())
    assert told_before == json.loads(json.dumps(again.as_dict()))

    model = load_model(None, checkpoint=folder / BEST)
    assert (model.name, model.frames, model.frame_rate) == ("r2plus1d_mini", 8, 15.0)
    explanation = explain(model, videos[8].path)
    assert explanation.heat.shape[0] > 0


def test_a_report_of_training_data_says_so(quick: dict[str, Any]) -> None:
    train(**quick)
    found = run_again(
        quick["manifest"], checkpoint=quick["output"] / BEST, split="train", accelerator="cpu", progress=False
    )
    assert found.trained_on


def test_it_learns(quick: dict[str, Any], videos: list[Row], tmp_path: Path) -> None:
    """It learns twelve videos by heart, which a network that gets wrong labels or no gradient does not.

    Without other videos the last epoch counts: with them the best is the first that happens to guess those.
    """
    write_manifest([row for row in videos if row.split == "train"], tmp_path / "train.csv")
    run = quick | {"manifest": tmp_path / "train.csv", "epochs": 20, "learning_rate": 3e-3, "augment": None}
    assert train(**run, test_split="train").per_video.top1 >= 11 / 12


@pytest.mark.parametrize("freeze", [["backbone"], ["stem", "layer1"]])
def test_frozen_parts_stay(quick: dict[str, Any], freeze: list[str]) -> None:
    train(**quick | {"freeze": freeze})
    start = starting_model(settings(quick), ("left", "right")).net.state_dict()
    changed = {
        key.split(".")[0]
        for key, value in load_file(quick["output"] / BEST).items()
        if not torch.equal(value, start[key])
    }
    parts = {"stem", "layer1", "layer2", "layer3", "layer4", "fc"}
    assert changed == ({"fc"} if freeze == ["backbone"] else parts - set(freeze))  # batch norm statistics included


def settings(arguments: dict[str, Any]) -> ClassifierSettings:
    """The settings that `train` makes of arguments, of which the splits are named."""
    names = {name: p.default for name, p in inspect.signature(train).parameters.items()}
    chosen = names | {"train_split": "train"} | arguments
    return ClassifierSettings(**{name: chosen[name] for name in inspect.signature(ClassifierSettings).parameters})


def test_every_setting_is_an_argument() -> None:
    arguments = set(inspect.signature(train).parameters)
    assert set(inspect.signature(ClassifierSettings).parameters) <= arguments
    assert set(inspect.signature(Machine).parameters) - {"log_folder"} <= arguments


def test_early_stopping_stops_and_stays_stopped(quick: dict[str, Any]) -> None:
    """With a learning rate of nearly nothing no epoch is better than the first."""
    run = quick | {"learning_rate": 1e-12, "early_stopping": 2, "epochs": 9, "schedule": "plateau"}
    train(**run)
    assert torch.load(quick["output"] / LAST, weights_only=True)["epoch"] == 2
    train(**run | {"resume": True})
    assert torch.load(quick["output"] / LAST, weights_only=True)["epoch"] == 2


def test_without_validation_the_last_epoch_is_kept(quick: dict[str, Any]) -> None:
    report = train(**quick | {"validation_split": "none", "epochs": 2})
    assert report.best == {"epoch": 1}


def test_a_checkpoint_for_other_labels_gets_a_new_head(
    quick: dict[str, Any], videos: list[Row], tmp_path: Path
) -> None:
    train(**quick)
    rows = [Row(row.path, f"class {i % 3}", "train" if i < 9 else "test") for i, row in enumerate(videos)]
    write_manifest(rows, tmp_path / "three.csv")
    other = {"manifest": tmp_path / "three.csv", "output": tmp_path / "three", "checkpoint": quick["output"] / BEST}
    run = {key: value for key, value in quick.items() if key not in ("model", "options")} | other
    with pytest.warns(UserWarning, match=r"the last layer is made anew: 2 classes are not those of the manifest \(3\)"):
        report = train(**run | {"freeze": "backbone", "learning_rate": 1e-12})
    assert report.model == "r2plus1d_mini" and len(report.confusion) == 3
    before, after = load_file(quick["output"] / BEST), load_file(tmp_path / "three" / BEST)
    assert torch.equal(before["layer1.body.0.weight"], after["layer1.body.0.weight"])
    assert after["fc.weight"].shape == (3, 96)
    assert load_model(None, checkpoint=tmp_path / "three" / BEST).labels == ("class 0", "class 1", "class 2")


def test_an_s3d_checkpoint_for_other_labels_can_be_trained_further(quick: dict[str, Any], tmp_path: Path) -> None:
    """Its head is a convolution."""
    with pytest.warns(UntrainedWarning):
        five = load_model("s3d", weights=None, labels=list("abcde"), options={"classes": 5, "frames": 16})
    path = write_checkpoint(five, tmp_path / "five.safetensors")
    chosen = settings(quick | {"model": "s3d", "options": {}, "checkpoint": str(path), "freeze": ("backbone",)})
    with pytest.warns(UserWarning, match="the last layer is made anew: 5 classes"):
        model = starting_model(chosen, ("left", "right"))
    assert model.labels == ("left", "right") and model.options["classes"] == 2 and model.frames == 16
    before = {key: value.clone() for key, value in model.net.state_dict().items()}
    assert before["classifier.1.weight"].shape == (2, 1024, 1, 1, 1)
    module = Classifier(model, chosen).train()
    optimizer(model.net, chosen).step(lambda: backward(module, torch.rand(1, 3, 16, 224, 224)))
    changed = {key for key, value in model.net.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"classifier.1.weight", "classifier.1.bias"}
    assert all(
        torch.equal(before[key], value) for key, value in five.net.state_dict().items() if "classifier" not in key
    )


def backward(module: Classifier, x: torch.Tensor) -> torch.Tensor:
    loss = module.loss(module(x), torch.tensor([1]))
    loss.backward()
    return loss


def test_broken_videos_are_named(quick: dict[str, Any], videos: list[Row], tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    worse = tmp_path / "worse.mp4"
    worse.write_bytes(b"nor this")
    rows = [*videos, Row(bad, "left", "test"), Row(worse, "right", "train")]
    write_manifest(rows, tmp_path / "manifest.csv")
    report = train(**quick | {"manifest": tmp_path / "manifest.csv"})
    assert [Path(path).name for path in report.skipped] == ["bad.mp4"]
    assert [Path(path).name for path in report.skipped_in_training] == ["worse.mp4"]
    assert report.per_video.count == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "r2plus1d_mimi"}, "unknown model 'r2plus1d_mimi'; did you mean 'r2plus1d_mini'"),
        ({"model": "sfmlearner", "options": {}}, "sfmlearner does not learn from classes: use train_odometry"),
        ({"options": {"frame": 8}}, "unknown option of r2plus1d_mini 'frame'; did you mean 'frames'"),
        ({"train_split": "training"}, "unknown split 'training'; did you mean 'train'"),
        ({"test_split": "tset"}, "unknown split 'tset'; did you mean 'test'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"logger": "csw"}, "unknown logger 'csw'; did you mean 'csv'"),
        ({"augment": {"flipp": 0}}, "unknown augmentation 'flipp'; did you mean 'flip'"),
        ({"freeze": "layer9"}, "unknown part to freeze 'layer9'; did you mean 'layer"),
        ({"freeze": ["backbone", "fc"]}, "nothing to train: all parameters of r2plus1d_mini are frozen"),
        ({"epochs": 0}, "epochs must be at least 1; given 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive; given 0.0"),
        ({"seed": 2**63}, "seed must be from 0 to 9223372036854775807; given 9223372036854775808"),
        ({"devices": 9999}, r"devices must be at most \d+ on this CPU; given 9999"),
        (
            {"validation_split": "none", "early_stopping": 1},
            "early_stopping needs validation_split=NAME; .* has: validation, test",
        ),
        ({"validation_split": "train"}, "validation_split must not be the split that is learned, 'train'"),
        ({"strategy": "dpp"}, "strategy must leave each process all weights.*given dpp"),
        ({"weights": "KINETICS400_V1"}, "r2plus1d_mini has no weights 'KINETICS400_V1'"),
        ({"learning_rate": 1e30, "epochs": 3}, "the loss is nan in epoch .; lower the learning rate"),
    ],
)
def test_wrong_choices_are_one_line(quick: dict[str, Any], wrong: dict[str, Any], message: str) -> None:
    with pytest.raises((OptionError, ModelError), match=message) as caught:
        train(**quick | wrong)
    assert "\n" not in str(caught.value)


def test_one_class_to_learn_is_refused(quick: dict[str, Any], videos: list[Row], tmp_path: Path) -> None:
    rows = [row for row in videos if row.label == "left" or row.split == "test"]
    write_manifest(rows, tmp_path / "manifest.csv")
    with pytest.raises(OptionError, match=r"manifest.csv: split 'train' has one class only, 'left'"):
        train(**quick | {"manifest": tmp_path / "manifest.csv"})


def test_labels_and_models_that_do_not_fit_are_refused(
    quick: dict[str, Any], videos: list[Row], tmp_path: Path
) -> None:
    train(**quick)
    checkpoint = quick["output"] / BEST
    with pytest.raises(ModelError, match=r"checkpoint.*r2plus1d_mini.*cnn_lstm") as caught:
        train(**quick | {"checkpoint": checkpoint, "model": "cnn_lstm", "options": {}, "output": tmp_path / "other"})
    assert "\n" not in str(caught.value)
    write_manifest([Row(videos[0].path, "lift", "test"), *videos[1:]], tmp_path / "manifest.csv")
    with pytest.raises(OptionError, match=r"manifest\.csv: line 2, .*unknown label 'lift'; did you mean 'left'"):
        run_again(tmp_path / "manifest.csv", checkpoint=checkpoint, progress=False, accelerator="cpu")


@pytest.mark.shared
def test_real_videos_go_all_the_way(quick: dict[str, Any], data: Path, tmp_path: Path) -> None:
    """HMDB51's videos, whose containers have odd timestamps, from manifest to report."""
    paths = sorted((data / "hmdb51" / "videos").glob("*/*.avi"))
    write_manifest([Row(path, path.parent.name, "train") for path in paths], tmp_path / "manifest.csv")
    report = train(**quick | {"manifest": tmp_path / "manifest.csv", "workers": 2})
    assert report.per_video.count == len(paths) and report.trained_on and not report.skipped
