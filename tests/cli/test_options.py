"""From declared options to commands: every option once, its help by panels, and messages in the command's flags."""

import inspect
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import typer
from typer.exceptions import TyperException

from vidcam.attribution.formulas import POOLINGS
from vidcam.cli import COMMANDS, Commands
from vidcam.cli.options import Config, command
from vidcam.cli.wording import in_flags, speaking
from vidcam.errors import LayerError, OptionError
from vidcam.explaining.choices import Choices
from vidcam.explaining.explain import explain
from vidcam.explaining.ranking import rank
from vidcam.media import BACKENDS
from vidcam.models.sfmlearner.geometry import ROTATIONS
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.options import Options, declared, option


@dataclass(frozen=True)
class Learning(Options):
    """One of each kind."""

    panel: ClassVar[str] = "Learning"

    epochs: int = option("How often.", 30, least=1)
    schedule: str = option("Of the rate.", "cosine", choices=("cosine", "none"))
    freeze: Sequence[str] = option("Stays.", (), metavar="PART")
    drives: str | Sequence[str] | None = option("Validate.", None)
    size: tuple[int, int] = option("Of the frames.", (2, 3))
    built: Mapping[str, Any] = option("Of the network.", {}, names=("--option",))
    start: str | Path | None = option("To start from.", None, panel="Files")
    augment: bool = option("Mirror.", True)
    resume: bool = option("Go on.", False, names=("--resume",))
    hop_seconds: float | None = option("Between windows.", None, names=("--hop",))
    when: str | None = option("When.", "auto", cli=lambda text: None if text == "none" else text)
    placement: tuple[str, str] = option("Where.", ("a", "b"), cli=lambda text: tuple(text.split(",")))
    hidden: bool = option("Not typed.", True, cli=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command with some arguments; return the exit code, what is printed and the group."""
    filled: list[Any] = []

    def train(
        manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="What to learn.")],
        learning: Learning,
        config: Config = None,
        loud: Annotated[bool, typer.Option(help="Own.")] = False,
    ) -> None:
        """Train."""
        filled.append((manifest, learning, loud))

    built = command("train", train)

    def call(*arguments: str) -> tuple[int, str, Any]:
        filled.clear()
        try:
            built.main(list(arguments), prog_name="train", standalone_mode=False)
        except TyperException as error:
            return error.exit_code, error.format_message(), error
        except OptionError as error:
            return 1, "", error
        return 0, capsys.readouterr().out, filled[0] if filled else None

    return call


def test_without_options_the_group_has_its_defaults(run: Any) -> None:
    assert run("m.csv") == (0, "", ("m.csv", Learning(), False))


def test_every_kind_of_option(run: Any) -> None:
    given = "--epochs 3 --freeze a --freeze b --drives x --size 4 5 --option n=3 --option s=[1,2] --option w=word"
    more = "--start f.pt --no-augment --resume --hop 0.5 --when none --placement c,d --schedule none --loud"
    code, _, (_, learning, loud) = run("m.csv", *given.split(), *more.split())
    assert (code, loud) == (0, True)
    assert learning == Learning(
        epochs=3, freeze=("a", "b"), drives=("x",), size=(4, 5), built={"n": 3, "s": [1, 2], "w": "word"},
        start=Path("f.pt"), augment=False, resume=True, hop_seconds=0.5, when=None, placement=("c", "d"),
        schedule="none",
    )  # fmt: skip


def test_help_by_panels(run: Any) -> None:
    code, out, _ = run("--help")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0 and "list[" not in out and "hidden" not in out
    assert lines[0].endswith("train [OPTIONS] MANIFEST")
    assert [line for line in lines if line.endswith(":")] == ["Arguments:", "Learning:", "Files:", "Options:"]
    for line in (
        "MANIFEST What to learn. [required]",
        "--epochs <int> How often. [default: 30]",
        "--schedule cosine|none Of the rate. [default: cosine]",
        "--freeze PART Stays.",
        "--option NAME=VALUE Of the network.",
        "--augment / --no-augment Mirror. [default: augment]",
        "--resume Go on.",
        "--hop <float> Between windows.",
        "--placement <str> Where. [default: a,b]",
    ):
        assert line in lines, line


def test_a_file_names_options_by_argument_or_flag(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    for name in ("hop", "hop_seconds"):
        file.write_text(json.dumps({"options": {name: 0.25, "built": ["n=3"], "when": "none"}}))
        learning = run("m.csv", "--config", str(file))[2][1]
        assert (learning.hop_seconds, learning.built, learning.when) == (0.25, {"n": 3}, None)
    table = tmp_path / "run.toml"
    table.write_text('epochs = 4\nfreeze = ["a"]\n[option]\nn = 3\n')
    learning = run("m.csv", "--config", str(table), "--epochs", "5")[2][1]
    assert (learning.epochs, learning.freeze, learning.built) == (5, ("a",), {"n": 3})
    table.write_text("epoch = 4\n")
    code, out, _ = run("m.csv", "--config", str(table))
    assert code == 2 and "unknown options: epoch" in out


def test_mistakes_are_said_in_flags(run: Any) -> None:
    assert str(run("m.csv", "--epochs", "0")[2]) == "--epochs must be at least 1; given 0"
    assert isinstance(run("m.csv", "--epochs", "0")[2], OptionError)
    code, out, _ = run("m.csv", "--option", "n")
    assert code == 2 and "--option needs NAME=VALUE; given 'n'" in out


FLAGS = {"force": "--force", "pose": "--pose", "hop_seconds": "--hop", "audio": "--audio", "audio=False": "--no-audio"}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("a.txt exists; force=True replaces it", "a.txt exists; --force replaces it"),
        ("it needs weights: give pose=FILE", "it needs weights: give --pose FILE"),
        ("net takes no pose= or disp=; give nothing", "net takes no --pose or disp=; give nothing"),
        ("hop_seconds is for classifiers; net is none", "--hop is for classifiers; net is none"),
        ("hop_seconds must be positive; given 0", "--hop must be positive; given 0"),
        ("give audio=False", "give --no-audio"),
        ("give expose=1 or load_model(pose=...)", "give expose=1 or load_model(pose=...)"),
        ("a pose must be known", "a pose must be known"),
        ("cannot read runs/pose=3/m.csv", "cannot read runs/pose=3/m.csv"),
        ("cannot read pose=3/m.csv", "cannot read pose=3/m.csv"),
        ("cannot read 'pose=3'", "cannot read 'pose=3'"),
    ],
)
def test_arguments_become_flags(message: str, said: str) -> None:
    assert in_flags(message) == message
    with speaking(FLAGS):
        assert in_flags(message) == said
    with pytest.raises(LayerError) as caught, speaking(FLAGS):
        raise LayerError(message)
    assert str(caught.value) == said and in_flags(message) == message


def test_the_library_speaks_of_no_flags() -> None:
    package = Path(__file__).parents[2] / "vidcam"
    for path in package.rglob("*.py"):
        if "cli" not in path.parts and path.name != "recipe.py":
            text = path.read_text(encoding="utf-8")
            said = [line for line in text.splitlines() if " --" in line and ("raise " in line or "Error(" in line)]
            assert not said, path


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["explain", "--help"], ["odometry", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from vidcam.__main__ import main; main({arguments}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "Usage" in done.stdout
    assert not {"torch", "torchvision", "numpy", "matplotlib", "av", "einops", "lightning", "rich"} & loaded


def test_every_command_is_where_the_table_says() -> None:
    assert {name: item.name for name, item in Commands().items()} == {name: name for name in COMMANDS}
    assert len(Commands()) == len(COMMANDS)


def test_every_option_of_a_command_is_an_argument_of_its_function() -> None:
    pytest.importorskip("lightning")
    from vidcam.odometry.training.train import train_odometry
    from vidcam.training.classifier.testing import test
    from vidcam.training.classifier.train import train

    others = {"as_json", "config", "context"}
    for name, function in {"train": train, "train-odometry": train_odometry, "test": test}.items():
        typed = {part.name for part in Commands()[name].params} - others
        assert typed <= set(inspect.signature(function).parameters)
    from vidcam.explaining.choices import Choices
    from vidcam.options import declared

    assert set(declared(Choices)) <= set(inspect.signature(explain).parameters) & set(
        inspect.signature(rank).parameters
    )


def test_declared_words_are_those_that_the_library_knows() -> None:
    assert declared(Choices)["pooling"].choices == tuple(POOLINGS)
    assert declared(OdometrySettings)["rotation"].choices == tuple(ROTATIONS)
    assert all(name in declared(Choices)["backend"].help for name in BACKENDS)


def test_no_help_text_stands_twice() -> None:
    """An option's help is written in one place; only what is shared by declaration is shown by several commands."""
    sources = [path.read_text(encoding="utf-8") for path in (Path(__file__).parents[2] / "vidcam").rglob("*.py")]
    texts = {part.help for item in Commands().values() for part in item.params if getattr(part, "help", None)}
    counts = Counter({text: sum(source.count(f'"{text}"') for source in sources) for text in texts if len(text) > 20})
    assert {text: count for text, count in counts.items() if count > 1} == {}
