"""`vidcam manifest RECIPE ROOT`: every recipe is a command, made of its docstrings and of what its functions take."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from vidcam.cli.console import say
from vidcam.cli.wording import speaking
from vidcam.errors import unknown

TYPES = {str | Path: Path, str | Path | None: Path | None, Sequence[str]: list[str]}
"""What functions take -> what the command line reads."""
SETTINGS: dict[str, Any] = {"rich_markup_mode": None, "context_settings": {"help_option_names": ["-h", "--help"]}}


class Recipes(TyperGroup):
    """The recipes; one is loaded when it is asked for, as recipes need numpy."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # the base's own Context
        """Name the recipes."""
        from vidcam.data.recipes import recipes

        return recipes()

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand:  # type: ignore[override]
        """Load a recipe; that there is none of this name is a wrong use."""
        names = self.list_commands(ctx)
        return command(cmd_name) if cmd_name in names else ctx.fail(unknown("recipe", cmd_name, names))


manifest = typer.Typer(
    cls=Recipes,
    name="manifest",
    add_completion=False,
    no_args_is_help=True,
    help="Turn a data set, as it was downloaded, into the manifest.csv that training and testing read.",
    **SETTINGS,
)
manifest.callback()(lambda: None)  # a group without commands of its own is one all the same


def command(name: str) -> TyperCommand:
    """Make a command of the recipe of that name in `vidcam.data.recipes`."""
    recipe = import_module(f"vidcam.data.recipes.{name}")
    made = typer.Typer(add_completion=False, **SETTINGS)
    paragraphs = inspect.cleandoc(recipe.__doc__ or "").split("\n\n")  # \b keeps the lines of one as they are
    about = "\n\n".join(f"\b\n{text}" if "\n  " in f"\n{text}" else text for text in paragraphs)
    made.command(name, help=about)(_runner(recipe.collect))
    return typer.main.get_command(made)  # type: ignore[return-value]  # the base class of commands


def _runner(collect: Callable[..., Any]) -> Callable[..., None]:
    """Return a function with the options of `collect`, and of `write` of what that returns."""
    write = inspect.signature(collect).return_annotation.write
    reading, writing = ({option.name: option for option in _options(function)} for function in (collect, write))

    def run(as_json: bool, **given: Any) -> None:
        from vidcam.media.staging import check_free

        with speaking({name: f"--{name.replace('_', '-')}" for name in given}):
            if output := given["output"]:
                check_free(output.parent, [output.name], force=given["force"])
            collected = _call(collect, {name: given[name] for name in reading})
            facts = _call(write, {"self": collected} | {name: given[name] for name in writing})
            for warning in collected.warnings:
                say(f"warning: {warning}")
        text = json.dumps(facts, ensure_ascii=False, indent=2) if as_json else "\n".join(collected.lines(facts))
        typer.echo(text)

    wanted = Annotated[bool, typer.Option("--json", help="Print all that is known of it as JSON.")]
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=wanted)
    run.__signature__ = inspect.Signature([*reading.values(), *writing.values(), as_json])  # type: ignore[attr-defined]
    return run


def _options(function: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    """Make what a function takes the argument ROOT and options, with the help that its docstring gives."""
    about = dict(re.findall(r"^    (\w+): (.+(?:\n     .+)*)", inspect.getdoc(function) or "", flags=re.MULTILINE))
    for taken in inspect.signature(function).parameters.values():
        if taken.name not in ("self", "say"):
            words = " ".join(about[taken.name].split())
            info = _info(taken, words[0].upper() + words[1:])
            default = list(taken.default) if taken.annotation == Sequence[str] else taken.default
            read = TYPES.get(taken.annotation, taken.annotation)
            yield taken.replace(kind=taken.KEYWORD_ONLY, default=default, annotation=Annotated[read, info])


def _info(taken: inspect.Parameter, about: str) -> Any:
    if taken.name == "root":
        return typer.Argument(metavar="ROOT", help=about)
    name = taken.name.replace("_", "-")
    metavar = "NAME" if taken.annotation == Sequence[str] else None
    return typer.Option(f"--{name}/--no-{name}" if taken.default is True else f"--{name}", metavar=metavar, help=about)


def _call(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    return function(**given, **({"say": say} if "say" in inspect.signature(function).parameters else {}))
