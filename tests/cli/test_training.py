"""check, train, test, explain and rank from the command line, one after the other on a tiny manifest."""

import json
from pathlib import Path

import pytest

from vidcam.__main__ import main
from vidcam.data.synthetic import MOTIONS, motion_clip
from vidcam.media import VideoWriter

pytest.importorskip("lightning")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of two classes, two of each to train on."""
    folder = tmp_path_factory.mktemp("clips")
    lines = ["path,label,split,group"]
    for seed, (label, split) in enumerate(
        [(0, "train"), (1, "train"), (0, "train"), (1, "train"), (0, "test"), (1, "test")]
    ):
        clip = motion_clip(700 + seed, label=label, frames=24, width=64, height=48)
        with VideoWriter(folder / f"{seed}.mp4", width=64, height=48, rate=clip.rate) as writer:
            for frame in clip.pixels:
                writer.write(frame)
        lines.append(f"{seed}.mp4,{MOTIONS[clip.label]},{split},{seed}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def trained(manifest: Path) -> Path:
    """A CNN-LSTM with attention, trained for one epoch."""
    folder = manifest.parent / "trained"
    options = ["backbone=resnet18", "hidden=8", "frames=4", "frame_rate=8", "size=[32,32]"]
    config = manifest.parent / "train.toml"
    config.write_text('model = "cnn_lstm_attention"\nepochs = 3\nbatch = 2\ntest_clips = 1\nlogger = "none"\n')
    given = [part for option in options for part in ("--option", option)]
    flags = ["--config", str(config), "--epochs", "1", "--output", str(folder), "--accelerator", "cpu"]
    assert main(["train", str(manifest), *given, *flags]) == 0
    return folder


def test_check_finds_nothing_or_says_what(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(manifest)]) == 0
    assert capsys.readouterr().out.strip() == "6 videos checked: nothing wrong"
    assert main(["check", str(manifest), "--min-seconds", "5", "--json"]) == 1
    assert "short" in capsys.readouterr().out


def test_train_writes_what_test_repeats(manifest: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads((trained / "report.json").read_text())
    capsys.readouterr()
    arguments = ["--checkpoint", str(trained / "checkpoint.safetensors"), "--accelerator", "cpu", "--json"]
    assert main(["test", str(manifest), *arguments]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["per_video"] == report["per_video"] and again["confusion"] == report["confusion"]
    assert again["labels"] == ["left", "right"]


def test_the_checkpoint_explains_and_ranks(manifest: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, checkpoint = str(manifest.parent / "4.mp4"), str(trained / "checkpoint.safetensors")
    out = manifest.parent / "out"
    assert main(["explain", video, "--checkpoint", checkpoint, "--output", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["frames"] == 24 and facts["target"] in ("left", "right")
    by = ["--by", "attention", "--draws", "2", "--top", "3", "--output", str(out), "--json"]
    assert main(["rank", video, "--checkpoint", checkpoint, *by]) == 0
    ranked = json.loads(capsys.readouterr().out)
    assert len(ranked["frames"]) == 3 and ranked["verdict"] and (out / "ranking.png").is_file()
    scores = [frame["score"] for frame in ranked["frames"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "say"),
    [
        (["train", "{manifest}", "--model", "cnn_lstn"], "cnn_lstm"),
        (["train", "{manifest}", "--option", "hiden=3"], "hidden"),
        (["train", "{manifest}", "--option", "hidden"], "NAME=VALUE"),
        (["train", "{manifest}", "--schedule", "cosin"], "cosine"),
        (["train", "nowhere.csv"], "nowhere.csv"),
        (["test", "{manifest}", "--checkpoint", "nowhere.safetensors"], "nowhere.safetensors"),
        (["rank", "{video}", "--model", "demo", "--by", "attenton"], "attention"),
        (["rank", "{video}", "--model", "demo", "--by", "attention"], "attention"),
        (["rank", "{video}", "--model", "demo", "--top", "0"], "--top"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], say: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"manifest": manifest, "video": manifest.parent / "4.mp4"}
    given = [argument.format(**known) for argument in arguments]
    out = tmp_path / "out"
    given += [] if given[0] == "test" else ["--output", str(out)]
    assert main(given) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()
    assert say in error[-1] and error[-1].startswith("error: ")
    assert len([line for line in error if not line.startswith("warning: ")]) == 1
    assert not out.exists()


def test_frames_of_the_whole_video_are_learned(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, tested and explained alike: the checkpoint tells how it looks at time."""
    folder = manifest.parent / "spread"
    options = ["sampling=spread", "clips=3", "frames=16", "size=[32,32]"]
    given = ["--model", "r2plus1d_mini", *(part for option in options for part in ("--option", option))]
    flags = ["--epochs", "1", "--test-clips", "2", "--logger", "none", "--output", str(folder), "--accelerator", "cpu"]
    assert main(["train", str(manifest), *given, *flags]) == 0
    video, checkpoint = str(manifest.parent / "4.mp4"), str(folder / "checkpoint.safetensors")
    capsys.readouterr()
    out = str(manifest.parent / "spread_out")
    assert main(["explain", video, "--checkpoint", checkpoint, "--output", out, "--json"]) == 0
    assert "note: the network was shown 3 clips of 16 frames, which interleave" in capsys.readouterr().err


def test_another_manifest_is_not_resumed(manifest: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else a run would go on with what it is tested on later."""
    swapped = manifest.parent / "swapped.csv"
    text = manifest.read_text().replace(",train,", ",?,").replace(",test,", ",train,").replace(",?,", ",test,")
    swapped.write_text(text)
    given = ["--config", str(manifest.parent / "train.toml"), "--output", str(trained), "--accelerator", "cpu"]
    options = ["backbone=resnet18", "hidden=8", "frames=4", "frame_rate=8", "size=[32,32]"]
    given += [part for option in options for part in ("--option", option)]
    assert main(["train", str(swapped), *given, "--epochs", "2", "--resume"]) == 1
    assert "cannot resume: the manifest's digests" in capsys.readouterr().err


def test_what_cannot_start_leaves_the_earlier_run(manifest: Path, trained: Path) -> None:
    before = {path.name for path in trained.iterdir()}
    given = ["--model", "r2plus1d_mini", "--output", str(trained), "--force", "--freeze", "nosuchpart"]
    assert main(["train", str(manifest), *given, "--accelerator", "cpu"]) == 1
    assert {path.name for path in trained.iterdir()} == before


def test_test_replaces_nothing_without_force(manifest: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("mine")
    given = ["test", str(manifest), "--checkpoint", str(trained / "checkpoint.safetensors"), "--accelerator", "cpu"]
    assert main([*given, "--output", str(tmp_path)]) == 1
    assert (tmp_path / "report.json").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    assert main([*given, "--output", str(tmp_path), "--force"]) == 0
    assert (tmp_path / "report.json").read_text() != "mine"


def test_check_finds_a_file_on_both_sides_whatever_its_groups(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leak = manifest.parent / "leak.csv"
    rows = ["0.mp4,left,train,a,0,0.6", "1.mp4,right,train,b,,", "0.mp4,left,test,c,0.2,0.8", "5.mp4,right,test,d,,"]
    leak.write_text("\n".join(["path,label,split,group,start_seconds,end_seconds", *rows]) + "\n")
    assert main(["check", str(leak)]) == 1
    assert "1 both sides" in capsys.readouterr().out
