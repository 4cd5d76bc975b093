"""The command line: results, exit codes, one line for every mistake, and nothing left behind."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vidcam
from vidcam import Explanation
from vidcam.__main__ import main
from vidcam.cli.explaining import RANKED
from vidcam.data.synthetic import motion_clip
from vidcam.media import VideoWriter, open_video
from vidcam.media.files import staged
from vidcam.rendering.outputs import NAMES


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of the demo's kind: two windows."""
    clip = motion_clip(1, width=96, height=72, frames=72)
    path = tmp_path_factory.mktemp("source") / "clip.mp4"
    with VideoWriter(path, width=96, height=72, rate=clip.rate) as writer:
        for frame in clip.pixels:
            writer.write(frame)
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command; return exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def complaints(err: str) -> list[str]:
    """Lines on stderr that are neither notes nor warnings."""
    return [line for line in err.splitlines() if not line.startswith(("note: ", "warning: "))]


def explained(cli: Cli, *arguments: object) -> dict[str, Any]:
    code, out, err = cli("explain", "--model", "demo", "--json", *arguments)
    assert (code, complaints(err)) == (0, [])
    (line,) = out.splitlines()
    return json.loads(line)


# explain


def test_explain_writes_everything_and_prints_the_facts(cli: Cli, movie: Path, here: Path) -> None:
    facts = explained(cli, movie)
    told = ["video", "target", "explained", "probability", "frames", "size", "duration_seconds", "outputs"]
    assert list(facts) == told and facts["explained"] == [facts["target"]]
    assert facts["video"] == str(movie) and facts["target"] in ("left", "right", "up", "down")
    assert 0.25 <= facts["probability"] <= 1
    assert (facts["frames"], facts["size"], facts["duration_seconds"]) == (72, [96, 72], 2.4)
    assert facts["outputs"] == [f"vidcam-out/clip/{name}" for name in NAMES if name != "drive.mp4"]
    assert sorted(tree(here)) == ["vidcam-out", "vidcam-out/clip", *sorted(facts["outputs"])]
    assert len(list(open_video(facts["outputs"][1]))) == 72
    assert Explanation.load(facts["outputs"][0]).target_name == facts["target"]
    run = json.loads((here / facts["outputs"][4]).read_text())
    assert run["options"]["videos"] == [str(movie)] and run["options"]["model"] == "demo"
    assert run["explanation"]["provenance"]["versions"]["vidcam"] == vidcam.__version__


def test_explain_for_people(cli: Cli, movie: Path) -> None:
    code, out, err = cli("explain", movie, "--model", "demo", "--output", "out", "--target", "up")
    assert code == 0 and "target: up" in out.splitlines() and "  out/overlay.mp4" in out.splitlines()
    assert complaints(err) == []


def test_without_force_nothing_is_replaced_and_nothing_computed(cli: Cli, movie: Path, here: Path, monkeypatch) -> None:
    (here / "out").mkdir()
    (here / "out" / "frames.png").write_text("mine")
    before = tree(here)

    def never(*_: Any, **__: Any) -> None:
        pytest.fail("the model was loaded")

    with monkeypatch.context() as patch:
        patch.setattr("vidcam.models.build.load_model", never)
        code, out, err = cli("explain", movie, "--model", "demo", "--output", "out")
    assert (code, out, len(complaints(err))) == (1, "", 1)
    assert "out/frames.png exists already; use --force" in err
    assert tree(here) == before
    explained(cli, movie, "--output", "out", "--force")
    assert (here / "out" / "frames.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_repeats_from_its_run_json(cli: Cli, movie: Path) -> None:
    labels = Path("labels.txt")
    labels.write_text("a\nb\nc\nd\n")
    given = ("--method", "hires_cam", "--target", "c", "--when", "stem", "--placement", "centers,ends", "--hop", "0.5")
    explained(cli, movie, *given, "--labels", labels, "--output", "one")
    os.chdir("one")  # relative names of the first run hold from anywhere
    code, out, _ = cli("explain", "--config", "run.json", "--output", "../two", "--json")
    assert code == 0 and json.loads(out)["target"] == "c"
    one, two = Explanation.load("explanation.npz"), Explanation.load("../two/explanation.npz")
    np.testing.assert_array_equal(one.heat, two.heat)
    assert one.provenance == two.provenance
    first, second = (json.loads(Path(name).read_text())["options"] for name in ("run.json", "../two/run.json"))
    assert first == second


@pytest.mark.parametrize("config_first", [True, False])
def test_flags_beat_the_file_in_either_order(cli: Cli, movie: Path, config_first: bool) -> None:
    options = {"videos": [str(movie)], "model": "demo", "target": "left", "method": "hires_cam", "when": "none"}
    Path("run.json").write_text(json.dumps({"options": options}))
    flags, config = ("--target", "right"), ("--config", "run.json")
    order = (*config, *flags) if config_first else (*flags, *config)
    assert cli("explain", *order, "--output", "out")[0] == 0
    found = Explanation.load("out/explanation.npz")
    assert (found.target_name, found.provenance["method"], found.provenance["when"]) == ("right", "hires_cam", None)


def test_typed_targets_stand_for_a_file_s_number_of_classes_and_the_other_way_around(cli: Cli, movie: Path) -> None:
    kept = {"videos": [str(movie)], "model": "demo"}
    Path("run.json").write_text(json.dumps({"options": {**kept, "classes": 3}}))
    assert cli("explain", "--config", "run.json", "--target", "up", "--output", "out")[0] == 0
    assert len(Explanation.load("out/explanation.npz").explained) == 1
    assert cli("explain", "--config", "out/run.json", "--output", "again")[0] == 0  # what it wrote repeats it
    assert Explanation.load("again/explanation.npz").target_name == "up"
    assert cli("explain", "--config", "out/run.json", "--classes", "2", "--output", "two")[0] == 0
    assert len(Explanation.load("two/explanation.npz").explained) == 2
    code, _, err = cli("explain", "--config", "run.json", "--target", "up", "--classes", "2", "--output", "none")
    assert code == 1 and "give targets or the number of the likeliest classes" in err


def test_a_file_that_is_missing_is_named_without_a_number(cli: Cli, movie: Path) -> None:
    _, _, err = cli("explain", movie, "--model", "demo", "--labels", "nope")
    assert complaints(err) == ["error: cannot read 'nope': no such file"]


def test_lists_of_names_have_commas_and_sizes_do_not(cli: Cli, movie: Path) -> None:
    _, out, _ = cli("explain", movie, "--model", "demo", "--target", "up", "--target", "left")
    assert "explained: up, left" in out.splitlines() and "size: 96x72" in out.splitlines()


def test_another_video_with_the_options_of_a_file(cli: Cli, movie: Path) -> None:
    Path("run.json").write_text(json.dumps({"options": {"videos": ["gone.mp4"], "model": "demo", "target": "up"}}))
    code, out, _ = cli("explain", movie, "--config", "run.json", "--json")
    assert code == 0 and json.loads(out)["video"] == str(movie) and json.loads(out)["target"] == "up"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"options": {"modle": "demo"}}', "unknown options: modle; did you mean 'model'"),
        ('{"options": []}', "no run.json"),
        ("[]", "no run.json"),
        ("{}", "no run.json"),
        ("not json", "no run.json or TOML file of options: Expecting value: line 1"),
        ("[" * 100_000, "it is nested without end"),
        ('{"options": {"hop": "often"}}', "--hop"),
        ('{"options": {"command": "demo", "seed": 1}}', "unknown options: command, seed"),
        (None, "cannot read 'run.json': No such file"),
    ],
)
def test_a_file_that_is_no_run_json(cli: Cli, movie: Path, here: Path, text: str | None, said: str) -> None:
    if text is not None:
        Path("run.json").write_text(text)
    before = tree(here)
    code, out, err = cli("explain", movie, "--config", "run.json")
    assert (code, out, len(complaints(err))) == (2, "", 1) and said in err
    assert tree(here) == before


def test_several_videos_of_which_one_fails(cli: Cli, movie: Path, here: Path) -> None:
    Path("bad.mp4").write_bytes(b"no video")
    code, out, err = cli("explain", movie, "bad.mp4", movie, "--model", "demo", "--output", "out", "--json")
    assert code == 1
    first, bad, last = (json.loads(line) for line in out.splitlines())
    assert list(bad) == ["video", "error"] and "bad.mp4" in bad["error"]
    assert [line.startswith("error: bad.mp4: ") for line in complaints(err)] == [True]
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert notes and all(line.startswith(f"note: {movie}: ") for line in notes)  # several videos: whose note it is
    assert first["outputs"][0] == "out/clip/explanation.npz"
    assert last["outputs"][0] == "out/clip-2/explanation.npz"  # the same name again
    assert sorted(p.name for p in (here / "out").iterdir()) == ["clip", "clip-2"]


def test_a_folder_of_frames_and_a_gif(cli: Cli, tmp_path: Path) -> None:
    from PIL import Image

    clip = motion_clip(2, width=64, height=48, frames=6)
    pictures = [Image.fromarray(frame) for frame in clip.pixels]
    (tmp_path / "frames.v2").mkdir()
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / "frames.v2" / f"frame{i}.png")
    pictures[0].save(tmp_path / "movie.gif", save_all=True, append_images=pictures[1:], duration=100)
    assert explained(cli, tmp_path / "frames.v2", "--output", "a")["frames"] == 6
    facts = explained(cli, tmp_path / "movie.gif", "--output", "b")
    assert (facts["frames"], facts["size"], facts["duration_seconds"]) == (6, [64, 48], 0.6)


def test_names_that_are_unusual(cli: Cli, movie: Path, here: Path) -> None:
    for name in ("-dash.mp4", "two words; $HOME 'quoted'.mp4", "clip.tar.mp4", "100%.mp4"):
        (here / name).write_bytes(movie.read_bytes())
        code, out, err = cli("explain", "--model", "demo", "--json", "--", name)
        assert (code, complaints(err)) == (0, [])
        assert json.loads(out)["outputs"][0] == f"vidcam-out/{name.removesuffix('.mp4')}/explanation.npz"
        Path(name).unlink()


@pytest.mark.parametrize(
    "name", [b"caf\xe9.mp4", b"two\nerror: forged.mp4", b"\x1b[2Jgone\x07.mp4", "\u202e😀$x^2$.mp4".encode()]
)
def test_names_forge_nothing(cli: Cli, movie: Path, here: Path, name: bytes) -> None:
    video = os.fsdecode(name)
    (here / video).write_bytes(movie.read_bytes())
    code, out, err = cli("explain", "--model", "demo", "--", video)
    assert code == 0 and complaints(err) == []
    keys = ("video:", "target:", "explained:", "probability:", "frames:", "size:", "duration_seconds:", "outputs:")
    assert all(line.startswith((*keys, "  ")) for line in out.splitlines())
    assert all(line.startswith(("note: ", "warning: Glyph")) for line in err.splitlines())
    assert all(character.isprintable() for line in (out + err).split("\n") for character in line)
    assert (here / "vidcam-out" / video.removesuffix(".mp4") / "explanation.npz").is_file()


@pytest.mark.parametrize("name", ["...mp4", "..mp4", "....mp4"])
def test_names_of_dots_stay_in_the_output_folder(cli: Cli, movie: Path, here: Path, name: str) -> None:
    (here / name).write_bytes(movie.read_bytes())
    code, _, err = cli("explain", "--model", "demo", "--", name)
    assert (code, complaints(err)) == (0, [])
    assert {path.name for path in here.iterdir()} == {name, "vidcam-out"}
    (folder,) = (here / "vidcam-out").iterdir()
    assert (folder / "explanation.npz").is_file()


# Mistakes: one line, exit code 1 or 2, nothing on disk


@pytest.mark.parametrize("options", [("--output", ""), ("--output=",), ("--checkpoint", "")])
def test_an_empty_value_is_refused(cli: Cli, movie: Path, here: Path, options: tuple[str, ...]) -> None:
    assert "is empty" in refused(cli, here, "explain", movie, "--model", "demo", *options)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("manifest", "folder", "", "--output", "m.csv"), "ROOT"),
        (("train", ""), "MANIFEST"),
        (("render", ""), "EXPLANATION.npz"),
        (("train-odometry", "a", ""), "DATA..."),
    ],
)
def test_an_empty_argument_is_refused(cli: Cli, here: Path, arguments: tuple[str, ...], name: str) -> None:
    assert f"{name} is empty" in refused(cli, here, *arguments)


@pytest.mark.parametrize(
    ("options", "said"), [(("--top", "0"), "or equal to 1; given '0'"), (("--hop", "often"), "number; given 'often'")]
)
def test_wrong_usage_says_what_was_given(cli: Cli, movie: Path, options: tuple[str, ...], said: str) -> None:
    code, out, err = cli("rank", movie, "--model", "demo", *options)
    assert (code, out, len(complaints(err))) == (2, "", 1) and said in err


def test_a_pipe_is_no_video(cli: Cli, here: Path) -> None:
    """It would be waited for without end."""
    os.mkfifo(here.parent / "pipe.mp4")
    assert "it is not a file" in refused(cli, here, "explain", here.parent / "pipe.mp4", "--model", "demo")


@pytest.fixture(scope="module")
def bad_sources(tmp_path_factory: pytest.TempPathFactory, movie: Path) -> Path:
    import av

    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.mp4").touch()
    data = movie.read_bytes()
    (folder / "truncated.mp4").write_bytes(data[: len(data) // 10])
    (folder / "half.mp4").write_bytes(data[: len(data) // 2])
    (folder / "corrupted.mp4").write_bytes(bytes(reversed(data)))
    (folder / "text.mp4").write_text("This is a text, and not a video.\n" * 50)
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "no_pictures").mkdir()
    (folder / "no_pictures" / "notes.txt").write_text("nothing to see")
    with av.open(str(folder / "sound.m4a"), "w") as output:
        stream = output.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return folder


SOURCES = [
    *("empty.mp4", "truncated.mp4", "corrupted.mp4", "text.mp4", "picture.png", "no_pictures", "sound.m4a"),
    *("missing.mp4", ".", "text.mp4/deeper.mp4"),
]


def refused(cli: Cli, here: Path, *arguments: object, code: int = 1) -> str:
    """Check that a command fails as it should, and return what it says."""
    before = tree(here)
    found, out, err = cli(*arguments)
    assert (found, out) == (code, "")
    (line,) = complaints(err)
    assert line.startswith("error: ") and "Traceback" not in err and len(line) < 400
    assert tree(here) == before
    return line


@pytest.mark.parametrize("name", SOURCES)
def test_unreadable_sources(cli: Cli, here: Path, bad_sources: Path, name: str) -> None:
    refused(cli, here, "explain", bad_sources / name, "--model", "demo")


def test_a_video_that_is_cut_off_is_explained_as_far_as_it_goes(cli: Cli, bad_sources: Path) -> None:
    code, out, err = cli("explain", bad_sources / "half.mp4", "--model", "demo", "--json")
    frames = json.loads(out)["frames"]
    assert code == 0 and 10 < frames < 60
    assert f"note: the file promises 72 frames, but only {frames} could be read: it may be cut off" in err.splitlines()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "r2plus1d"), "r2plus1d_18"),
        (("--layer", "layer5"), "'layer4'"),
        (("--layer", "fc"), "fc"),
        (("--target", "lft"), "'left'"),
        (("--target", "4"), "0 to 3"),
        (("--target", "-1"), "-1"),
        (("--target", ""), "class"),
        (("--method", "gradcam"), "'grad_cam'"),
        (("--pooling", "slots"), "'slot'"),
        (("--placement", "linear"), "placement"),
        (("--placement", "linear,center"), "'centers'"),
        (("--placement", "linear,centers,ends"), "placement"),
        (("--when", "layer7"), "layer"),
        (("--backend", "pyva"), "'pyav'"),
        (("--device", "gpu"), "cpu"),
        (("--device", "cpu:x"), "cpu"),
        (("--device", "auto:1"), "auto"),
        (("--device", "cuda:99"), "not available"),
        (("--hop", "0"), "possible"),
        (("--hop", "99"), "possible"),
        (("--hop", "nan"), "possible"),
        (("--checkpoint", "none.pth"), "none.pth"),
        (("--labels", "none.txt"), "none.txt"),
        (("--output", "/proc/vidcam/deeper"), "/proc/vidcam"),
    ],
)
def test_choices_that_do_not_exist(cli: Cli, here: Path, movie: Path, options: tuple[str, ...], said: str) -> None:
    assert said in refused(cli, here, "explain", movie, "--model", "demo", *options)


def test_weights_that_do_not_exist(cli: Cli, here: Path, movie: Path) -> None:
    said = refused(cli, here, "explain", movie, "--model", "r3d_18", "--weights", "KINETICS400_V7")
    assert "'KINETICS400_V1'" in said


def test_an_output_below_a_file_is_refused_before_any_work(cli: Cli, here: Path, movie: Path, monkeypatch) -> None:
    (here / "file").write_text("a file")
    monkeypatch.setattr("vidcam.models.build.load_model", lambda *_, **__: pytest.fail("the model was loaded"))
    for output in ("file", "file/below"):
        said = refused(cli, here, "explain", movie, "--model", "demo", "--output", output)
        assert "cannot write into the directory" in said


@pytest.mark.parametrize("options", [("--hop", "often"), ("--nonsense",), ("--seed", "1")])
def test_wrong_usage(cli: Cli, here: Path, movie: Path, options: tuple[str, ...]) -> None:
    refused(cli, here, "explain", movie, "--model", "demo", *options, code=2)


@pytest.mark.parametrize("arguments", [("explain",), ("render",), ("nonsense",), ("demo", "--seed", "-1"), ("--what",)])
def test_wrong_usage_of_other_commands(cli: Cli, here: Path, arguments: tuple[str, ...]) -> None:
    refused(cli, here, *arguments, code=2)


def test_mistakes_in_render(cli: Cli, here: Path, movie: Path) -> None:
    explained(cli, movie, "--output", "out")
    given = "out/explanation.npz"
    for arguments in (
        ("missing.npz",),
        (movie,),
        ("out/run.json",),
        ("out",),
        (given, "--layout", "overly"),
        (given, "--colormap", "turbi"),
        (given, "--opacity", "1.5"),
        (given, "--opacity", "nan"),
        (given, "--scale", "videos"),
        (given, "--output", "movie.xyz"),
        (given, "--output", "movie"),
        (given, "--output", "none/movie.mp4"),
        (given, "--output", "out"),
        (given, "--output", "out/overlay.mp4"),
        (given, "--source", "missing.mp4"),
        (given, "--source", given),
    ):
        refused(cli, here, "render", *arguments)


# The other commands


def test_render_draws_again(cli: Cli, movie: Path) -> None:
    explained(cli, movie, "--output", "out")
    code, out, _ = cli(
        "render", "out/explanation.npz", "--output", "a.mp4", "--layout", "side_by_side", "--bar", "--json"
    )
    assert code == 0 and json.loads(out)["outputs"] == ["a.mp4"] and json.loads(out)["frames"] == 72
    info = open_video("a.mp4").info
    assert info.width == 192 and info.height > 72
    moved = movie.with_name("moved.mp4")
    movie.rename(moved)
    try:
        assert cli("render", "out/explanation.npz", "--output", "b.gif")[0] == 1
        assert cli("render", "out/explanation.npz", "--output", "b.gif", "--source", moved)[0] == 0
    finally:
        moved.rename(movie)


def test_render_draws_another_score_that_was_explained(cli: Cli, movie: Path) -> None:
    explained(cli, movie, "--output", "out", "--target", "up", "--target", "left")
    draw = ("render", "out/explanation.npz", "--json", "--force", "--output")
    assert json.loads(cli(*draw, "up.mp4")[1])["target"] == "up"
    assert json.loads(cli(*draw, "left.mp4", "--target", "left")[1])["target"] == "left"
    assert Path("up.mp4").read_bytes() != Path("left.mp4").read_bytes()
    code, _, err = cli(*draw, "right.mp4", "--target", "right")
    assert code == 1 and "'right' was not explained; there are up, left" in err


def test_rank_explains_as_it_is_told(cli: Cli, movie: Path, here: Path) -> None:
    given = "--method hires_cam --layer layer3 --when stem --hop 0.5 --placement centers,ends --batch 2 --backend pyav"
    code, out, err = cli("rank", movie, "--model", "demo", *given.split(), "--draws", "1", "--top", "2", "--json")
    assert (code, complaints(err), len(json.loads(out)["frames"])) == (0, [], 2)
    told = json.loads((here / "vidcam-out" / "clip" / "ranking.json").read_text())["explanation"]["provenance"]
    assert (told["method"], told["layer"], told["when"]) == ("hires_cam", "layer3", "stem")


def test_a_ranking_that_another_process_writes_is_refused_before_any_work(
    cli: Cli, movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidcam.explaining.ranking.rank", lambda *_, **__: pytest.fail("it has begun"))
    with staged("out", RANKED) as part:
        for options in ((), ("--force",)):
            code, _, err = cli("rank", movie, "--model", "demo", "--output", "out", *options)
            assert code == 1 and "another process is writing" in err
        for name in RANKED:
            (part / name).write_text("of the other")


def test_batches_and_options_of_the_network(cli: Cli, movie: Path) -> None:
    explained(cli, movie, "--batch", "2", "--output", "out")
    options = json.loads(Path("out/run.json").read_text())["options"]
    assert (options["batch"], options["options"]) == (2, [])
    code, _, err = cli("explain", movie, "--model", "demo", "--option", "seed=3", "--output", "none")
    assert code == 1 and "unknown option of demo 'seed'" in err
    own = ("explain", movie, "--model", "r2plus1d_mini", "--output", "none")
    code, _, err = cli(*own, "--option", "sampling=sprad")
    assert code == 1 and complaints(err) == ["error: the network's sampling must be windows or spread; given sprad"]
    code, _, err = cli("explain", movie, "--model", "demo", "--batch", "0", "--output", "none")
    assert code == 1 and complaints(err) == ["error: --batch must be at least 1; given 0"]


def test_models_and_methods(cli: Cli) -> None:
    from vidcam.attribution.methods import METHODS
    from vidcam.models.build import MODELS

    code, out, _ = cli("models", "--json")
    assert code == 0 and [json.loads(line)["model"] for line in out.splitlines()] == list(MODELS)
    code, out, _ = cli("methods", "--json")
    assert code == 0 and [json.loads(line)["method"] for line in out.splitlines()] == list(METHODS)
    code, out, _ = cli("models")
    assert code == 0 and len({line.index(MODELS["demo"].about) for line in out.splitlines() if "demo" in line}) == 1
    assert len(cli("methods")[1].splitlines()) == len(METHODS) + 1


def test_the_layers_of_a_model(cli: Cli) -> None:
    code, out, _ = cli("models", "demo", "--json")
    rows = {row["layer"]: row for row in map(json.loads, out.splitlines())}
    assert code == 0 and {"layer4 (default)", "layer3 (when)"} <= set(rows)
    assert rows["layer4 (default)"]["grid"] == [4, 6, 8]
    assert rows["layer4 (default)"]["stride"] == ["8", "8", "8"]
    code, _, err = cli("models", "r3d18")
    assert code == 1 and "'r3d_18'" in err


def test_the_layers_and_options_of_a_file_s_network(cli: Cli, here: Path) -> None:
    (here / "own.py").write_text(
        "from torch import nn\n\n\ndef make(width=4):\n    return nn.Sequential(nn.Conv3d(3, width, 3, (1, 4, 4), 1), "
        "nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(width, 2))\n"
    )
    built = ("--option", "frames=8", "--option", "size=48")
    code, out, _ = cli("models", "own.py:make", *built)
    lines = [line.split() for line in out.splitlines() if line]
    assert code == 0 and any("(default)" in words for words in lines) and ["width", "4"] in lines
    assert any(line.startswith("layer") for line in out.splitlines()[3:]), out  # what was found out
    code, out, _ = cli("models", "own.py:make", *built, "--json")
    assert code == 0 and {"layer", "grid", "stride", "sees", "gradient", "whole"} == set(
        json.loads(out.splitlines()[0])
    )


def test_a_url_is_refused_in_one_line(cli: Cli) -> None:
    code, _, err = cli("explain", "https://host/clip.mp4", "--model", "demo", "--output", "none")
    assert code == 1 and len(err.splitlines()) == 1 and "'https://host/clip.mp4'" in err and "download it first" in err


def test_the_demo_hits(cli: Cli, here: Path) -> None:
    code, out, _ = cli("demo", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["target"] == facts["truth"]
    assert facts["share_in_boxes"] >= 3 * facts["area_share"]
    assert facts["share_in_active_frames"] > facts["active_frame_share"]
    assert all(math.isfinite(facts[key]) for key in ("share_in_boxes", "area_share", "active_frame_share"))
    assert sorted(p.name for p in (here / "vidcam-demo").iterdir()) == sorted({"clip.mp4", *NAMES} - {"drive.mp4"})
    refused(cli, here, "demo")


@pytest.mark.parametrize("name", ["clip.mp4", "timeline.png"])
def test_the_demo_replaces_nothing(cli: Cli, here: Path, name: str) -> None:
    (here / "vidcam-demo").mkdir()
    (here / "vidcam-demo" / name).write_text("mine")
    assert name in refused(cli, here, "demo")


def test_a_demo_that_fails_leaves_nothing(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vidcam.rendering.outputs.fill", fail)
    assert cli("demo", "--output", "a/b")[0] == 130
    assert tree(here) == {}


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version") == (0, f"vidcam {vidcam.__version__}\n", "")
    code, out, err = cli()
    assert code in (0, 2) and "explain" in out + err and "Traceback" not in err
    for arguments in (("--help",), ("-h",), ("explain", "--help"), ("explain", "-h"), ("render", "--help")):
        code, out, err = cli(*arguments)
        assert (code, err) == (0, "") and "Usage" in out


# Real processes


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vidcam", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_closed_pipe_is_no_traceback(here: Path) -> None:
    command = f"{sys.executable} -m vidcam models --json | true"
    done = subprocess.run(["bash", "-c", command], cwd=here, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("", "")


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import vidcam.explaining.explain, vidcam.rendering.video
from vidcam.__main__ import main
from vidcam.rendering.video import Scene

def slowly(function, mark):
    def wrapped(*arguments, **options):
        print(mark, file=sys.stderr, flush=True)
        time.sleep(0.2)
        return function(*arguments, **options)
    return wrapped

run = vidcam.explaining.explain._Run
run._group = slowly(run._group, "EXPLAINING")
Scene.draw = slowly(Scene.draw, "DRAWING")
code = main(sys.argv[1:])
if code - 128 in (signal.SIGHUP, signal.SIGTERM):
    signal.raise_signal(code - 128)  # the second one may come as late as this
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("moment", "sent"),
    [("EXPLAINING", "SIGINT"), ("DRAWING", "SIGINT"), ("EXPLAINING", "SIGHUP"), ("DRAWING", "SIGTERM")],
)
def test_interrupted_it_leaves_nothing(here: Path, movie: Path, moment: str, sent: str) -> None:
    """Explaining and drawing are slowed down, so that the signal comes in their middle; a second one is no matter."""
    number = getattr(signal, sent)
    command = [sys.executable, "-c", SLOW, "explain", str(movie), "--model", "demo", "--output", "a/b"]
    process = subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if moment in line:
            break
    time.sleep(0.1)
    process.send_signal(number)
    if sent != "SIGINT":
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number and out == ""
    assert [line for line in complaints(err) if line not in ("EXPLAINING", "DRAWING")] == [
        "interrupted; nothing half-written is left"
    ]
    assert tree(here) == {}


MISSING = {
    "explain none.mp4 other.mp4 --model r2plus1d_18": "cannot read 'none.mp4': no such file (nor any of 1 others)",
    "explain MOVIE --checkpoint none.pth": "cannot read 'none.pth': no such file",
    "explain MOVIE --model demo --labels none.txt": "cannot read 'none.txt': no such file",
    "explain MOVIE --model sfmlearner --pose MOVIE --disp none.pth": "cannot read 'none.pth': no such file",
    "rank none.mp4 --model r2plus1d_18": "cannot read 'none.mp4': no such file",
    "rank MOVIE --checkpoint none.pth": "cannot read 'none.pth': no such file",
    "render none.npz": "cannot read 'none.npz': no such file",
    "render MOVIE --source none.mp4": "cannot read 'none.mp4': no such file",
    "train none.csv": "cannot read 'none.csv': no such file",
    "train MANIFEST": "line 2: there is no file 'gone.mp4'",
    "test none.csv --checkpoint MOVIE": "cannot read 'none.csv': no such file",
    "test MANIFEST --checkpoint none.pth": "cannot read 'none.pth': no such file",
    "odometry none.txt MOVIE": "cannot read 'none.txt': no such file",
    "odometry none --model sfmlearner --pose MOVIE": "cannot read 'none': no such file",
    "odometry EMPTY --model sfmlearner --pose MOVIE": "holds no pictures",
    "odometry EMPTY --model sfmlearner --pose none.pth": "cannot read 'none.pth': no such file",
    "train-odometry none": "cannot read 'none': no such file",
}


@pytest.mark.parametrize("typed", MISSING)
def test_what_is_missing_is_noticed_before_torch_is_imported(here: Path, movie: Path, typed: str) -> None:
    (here / "empty").mkdir()
    (here / "manifest.csv").write_text("path,label,split\ngone.mp4,run,train\nlost.mp4,walk,train\n")
    named = {"MOVIE": str(movie), "MANIFEST": "manifest.csv", "EMPTY": "empty"}
    command = [named.get(word, word) for word in typed.split()]
    code = "import sys; from vidcam.__main__ import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    run = [sys.executable, "-c", code, *command]
    done = subprocess.run(run, cwd=here, capture_output=True, text=True, timeout=120)
    assert done.stdout == "1 False\n", done.stderr
    assert done.stderr.startswith("error: ") and MISSING[typed] in done.stderr and done.stderr.count("\n") == 1


def test_an_interrupted_demo_leaves_the_earlier_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (here / "demo").mkdir()
    (here / "demo" / "clip.mp4").write_bytes(b"of an earlier demo")
    monkeypatch.setattr("vidcam.explain", interrupted)
    assert main(["demo", "--output", "demo", "--force"]) == 130
    assert tree(here) == {"demo": None, "demo/clip.mp4": b"of an earlier demo"}
    assert main(["demo", "--output", "new"]) == 130
    assert "new" not in tree(here)


KILLED = """
import os, signal, sys
from pathlib import Path
import vidcam.cli.demo, vidcam.explaining.explain, vidcam.rendering.outputs
from vidcam.__main__ import main
from vidcam.cli import console
from vidcam.rendering.outputs import OUTPUTS

vidcam.cli.demo.SIZE = (96, 72)
main(["demo", "--output", "demo", "--seed", "1", "--json"])
print("begun", flush=True)
for line in sys.stdin:
    moment = int(line)
    if (child := os.fork()) == 0:
        seen = 0

        def trace(event, arguments):
            global seen
            if event in ("open", "os.rename", "os.mkdir", "os.remove", "shutil.rmtree") and "demo" in str(arguments):
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(trace)
        sys.stdout = sys.stderr
        os._exit(main(["demo", "--output", "demo", "--seed", "2", "--force", "--json"]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_demo_that_is_killed_leaves_the_earlier_one(here: Path) -> None:
    """Killed as it touches a file: as it begins, draws, and moves; only the moves themselves, all at the end, show."""
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=here, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    left = []
    with run:
        assert run.stdin is not None and run.stdout is not None
        while run.stdout.readline() != "begun\n":
            assert run.poll() is None
        old = visible(here)
        for moment in (1, 4, 7, 12, 15, 21, 26, 28, 31, 33, 1000):
            shutil.rmtree(here / "demo")
            (here / "demo").mkdir()
            for name, whole in old.items():
                (here / "demo" / name).write_bytes(whole)
            print(moment, file=run.stdin, flush=True)
            assert int(run.stdout.readline()) == (0 if moment == 1000 else -signal.SIGKILL)
            left.append((visible(here), (here / "demo" / ".vidcam.clip.mp4.part" / ".moving").exists()))
        run.stdin.close()
    new, _ = left.pop()
    assert old.keys() == new.keys() and all(old[name] != new[name] for name in old)
    assert all(found == old for found, moves in left if not moves)
    assert all(found[name] in (old[name], new[name]) for found, _ in left for name in old)
    assert sum(moves for _, moves in left) < 4


def visible(folder: Path) -> dict[str, bytes]:
    """What a user sees of a demo's folder."""
    return {path.name: path.read_bytes() for path in (folder / "demo").iterdir() if path.name[0] != "."}


def test_json_on_stdout_and_all_else_on_stderr(here: Path, movie: Path) -> None:
    process = start("explain", movie, "--model", "demo", "--json", "--output", "out", cwd=here)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and json.loads(out)["frames"] == 72
    assert all(line.startswith("note: ") for line in err.splitlines())


# Real videos

NASTY = {
    "-video-with-dash-.mp4": (5, 1, 1),
    "bbb_176x144_128kbps_15fps_h263.3gp": (15, 176, 144),
    "h264_10bits.mp4": (30, 200, 200),
    "h265_video.mp4": (10, 128, 128),
    "minimal.mp4": (1, 320, 240),
    "no_timescale.mp4": (182, 320, 240),
    "pigs_in_a_polka.gif": (30, 314, 273),
    "tiny_av1.mp4": (1, 64, 64),
    "unordered.mov": (4, 50, 50),
    "video_0.mov": (3, 568, 320),
    "video_180.mov": (3, 568, 320),
    "video_270.mov": (3, 320, 568),
    "video_90.mov": (3, 320, 568),
    "video_rotation_90.mp4": (1, 60, 100),
}
LARGE = {
    "bbb_642x642_768kbps_30fps_vp9.webm": (90, 642, 642),
    "bt709_full_range.mp4": (30, 1280, 720),
    "corrupted.mp4": (50, 1280, 720),
    "edit_list_positive_shift.mp4": (270, 1920, 1080),
    "hlg10-color-test.mp4": (9, 1920, 1080),
    "no_duration.webm": (74, 1280, 720),
    "sample_android_slow_motion.mp4": (7, 1280, 720),
    "sample_av1.mkv": (30, 720, 1280),
    "sample_empty_track.mp4": (30, 1080, 720),
    "sample_fragmented.mp4": (30, 1080, 720),
    "sample_mdat_too_long.mp4": (30, 1080, 720),
    "sample_rotate_and_reflect.mp4": (30, 720, 1080),
    "sample_with_increasing_timestamps.mp4": (30, 1920, 1080),
    "sample_with_invalid_nalu.mp4": (30, 1080, 720),
    "video_with_failing_audio.mp4": (280, 640, 360),
}
UNTRAINED = pytest.mark.filterwarnings("default:.* is untrained")
PACKED = {"golf": 89, "shoot_bow": 81, "swing_baseball": 140, "wave": 72}


def check_overlay(cli: Cli, source: Path, *, count: int, size: list[int] | None, options: tuple[str, ...] = ()) -> None:
    """The overlay has the source's decoded frame count, its size, and every frame's time."""
    options = options or ("--model", "demo")
    code, out, err = cli("explain", *options, "--json", "--output", "out", "--force", "--", source)
    assert (code, complaints(err)) == (0, [])
    facts = json.loads(out)
    assert facts["frames"] == count
    assert size is None or facts["size"] == size
    width, height = facts["size"]
    with open_video("out/overlay.mp4") as overlay:
        padded = [width + width % 2, height + height % 2]
        assert [overlay.info.width, overlay.info.height] == padded
        assert (padded == facts["size"]) == ("padded to" not in err)
        seconds = [frame.seconds for frame in overlay]
    expected = Explanation.load("out/explanation.npz").seconds
    assert len(seconds) == count
    np.testing.assert_allclose(seconds, expected, atol=1.1e-3)


@pytest.mark.shared
@pytest.mark.parametrize("name", NASTY)
def test_files_that_break_readers(cli: Cli, data: Path, name: str) -> None:
    count, *size = NASTY[name]
    check_overlay(cli, data / "nasty" / name, count=count, size=size)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_files_that_break_readers(cli: Cli, data: Path, name: str) -> None:
    count, *size = LARGE[name]
    check_overlay(cli, data / "nasty" / name, count=count, size=size)


@pytest.mark.shared
@pytest.mark.parametrize("action", PACKED)
def test_packed_avi(cli: Cli, data: Path, action: str) -> None:
    (path,) = (data / "hmdb51" / "videos" / action).glob("*.avi")
    check_overlay(cli, path, count=PACKED[action], size=None)


@pytest.mark.shared
@pytest.mark.slow
@UNTRAINED
@pytest.mark.parametrize("model", ["r2plus1d_18", "mvit_v2_s"])
@pytest.mark.parametrize("action", PACKED)
def test_torchvisions_networks_on_real_clips(cli: Cli, data: Path, action: str, model: str) -> None:
    (path,) = (data / "hmdb51" / "videos" / action).glob("*.avi")
    check_overlay(cli, path, count=PACKED[action], size=None, options=("--model", model, "--weights", "none"))


@pytest.mark.shared
@pytest.mark.slow
@UNTRAINED
@pytest.mark.parametrize("model", ["r2plus1d_18", "mvit_v2_s"])
def test_torchvisions_networks_on_other_real_clips(cli: Cli, data: Path, model: str) -> None:
    for path in (min((data / "ucf101").glob("*/*.avi")), min((data / "kinetics400").rglob("*arm*"))):
        count = sum(1 for _ in open_video(path))
        check_overlay(cli, path, count=count, size=None, options=("--model", model, "--weights", "none"))


@pytest.mark.shared
@UNTRAINED
@pytest.mark.parametrize("model", ["r2plus1d_18", "mvit_v2_s"])
def test_torchvisions_networks_on_a_short_clip(cli: Cli, data: Path, model: str) -> None:
    source = data / "nasty" / "bbb_176x144_128kbps_15fps_h263.3gp"
    check_overlay(cli, source, count=15, size=[176, 144], options=("--model", model, "--weights", "none"))
