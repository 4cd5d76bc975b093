"""The command line: parse, one call into the library, print. Importing this imports no torch."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

COMMANDS = {
    "explain": ("explaining", "Which frames and regions speak for a class, or move the output of a regressor."),
    "render": ("explaining", "Draw an explanation again, in other colors, without running the network."),
    "rank": ("explaining", "Rank a video's frames, and say how far the rankings agree."),
    "models": ("listing", "List the models, or the layers of one that can be explained."),
    "methods": ("listing", "List the methods."),
    "demo": ("demo", "Make a clip whose truth is known, explain it, and say how well the heat hits."),
    "manifest": ("manifest", "Turn a data set, as it was downloaded, into what training and testing read."),
    "check": ("training", "Find videos of a manifest that cannot be trained on, before a run does."),
    "train": ("training", "Train a classifier on a manifest."),
    "test": ("training", "Test a trained network on a split of a manifest."),
    "odometry": ("odometry", "Evaluate a camera's path, given or predicted from pictures."),
    "train-odometry": ("odometry", "Train pose and depth networks on drives, without labels."),
}
"""Every command: the module here that holds the function of its name, and a line for `vidcam --help`."""


class Commands(Mapping[str, Any]):
    """The commands, each built when it is asked for: `vidcam --help` loads none of them.

    A function becomes a command, and a `typer.Typer` a command with commands of its own.
    """

    def __getitem__(self, name: str) -> Any:
        from vidcam.cli.options import command

        held = getattr(import_module(f"vidcam.cli.{COMMANDS[name][0]}"), name.replace("-", "_"))
        return typer.main.get_command(held) if isinstance(held, typer.Typer) else command(name, held)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Program(TyperGroup):
    """`vidcam`, which knows its commands by name."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given | {"commands": {}})
        self.commands = Commands()  # type: ignore[assignment]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a line per command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


app = typer.Typer(
    name="vidcam",
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which frames and which regions of a video made the network say what it said.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from vidcam import __version__

        typer.echo(f"vidcam {__version__}")
        raise typer.Exit()


@app.callback()
def _vidcam(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass
