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
from vidcam.cli.options import Printing, command, typed
from vidcam.errors import unknown
from vidcam.options import Declared


class Recipes(TyperGroup):
    """The recipes; one is loaded when it is asked for, as recipes need numpy."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # the base's own Context
        """Name the recipes."""
        from vidcam.data.recipes import recipes

        return recipes()

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand:  # type: ignore[override]
        """Load a recipe; that there is none of this name is a wrong use."""
        names = self.list_commands(ctx)
        return _recipe_command(cmd_name) if cmd_name in names else ctx.fail(unknown("recipe", cmd_name, names))


manifest = typer.Typer(
    cls=Recipes,
    name="manifest",
    add_completion=False,
    no_args_is_help=True,
    help="Turn a data set, as it was downloaded, into the manifest.csv that training and testing read.",
    rich_markup_mode=None,
)
manifest.callback()(lambda: None)  # a group without commands of its own is one all the same


def _recipe_command(name: str) -> TyperCommand:
    """Make a command of the recipe of that name in `vidcam.data.recipes`."""
    recipe = import_module(f"vidcam.data.recipes.{name}")
    run = _runner(recipe.collect)
    paragraphs = inspect.cleandoc(recipe.__doc__ or "").split("\n\n")  # \b keeps the lines of one as they are
    run.__doc__ = "\n\n".join(f"\b\n{text}" if "\n  " in f"\n{text}" else text for text in paragraphs)
    return command(name, run)  # type: ignore[no-any-return]


def _runner(collect: Callable[..., Any]) -> Callable[..., None]:
    """Return a function with the options of `collect`, and of `write` of what that returns."""
    collected_as = inspect.signature(collect).return_annotation
    write, check = collected_as.write, getattr(collected_as, "check", None)
    reading, writing = ({option.name: option for option in _options(function)} for function in (collect, write))

    def run(printing: Printing, **given: Any) -> None:
        from vidcam.media.files import check_free

        if output := given["output"]:
            check_free(output.parent, [output.name], force=given["force"])
        if check is not None:
            check(**{name: given[name] for name in writing})
        collected = _call(collect, {name: given[name] for name in reading})
        facts = _call(write, {"self": collected} | {name: given[name] for name in writing})
        for warning in collected.warnings:
            say(f"warning: {warning}")
        lines = [json.dumps(facts, ensure_ascii=False, indent=2)] if printing.as_json else collected.lines(facts)
        typer.echo("\n".join(lines))

    printing = inspect.Parameter("printing", inspect.Parameter.KEYWORD_ONLY, annotation=Printing)
    run.__signature__ = inspect.Signature([*reading.values(), *writing.values(), printing])  # type: ignore[attr-defined]
    return run


def _options(function: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    """Make what a function takes the argument ROOT and options, with the help that its docstring gives."""
    helps = dict(re.findall(r"^    (\w+): (.+(?:\n     .+)*)", inspect.getdoc(function) or "", flags=re.MULTILINE))
    for taken in inspect.signature(function).parameters.values():
        if taken.name not in ("self", "say"):
            words, part = " ".join(helps[taken.name].split()), taken.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            about = words[0].upper() + words[1:]
            if taken.name == "root":
                yield part.replace(annotation=Annotated[Path, typer.Argument(metavar="ROOT", help=about)])
            else:
                names = (f"--{taken.name.replace('_', '-')}",) if taken.default is False else ()
                metavar = "NAME" if taken.annotation == Sequence[str] else None
                yield typed(part, Declared(help=about, names=names, metavar=metavar))


def _call(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    return function(**given, **({"say": say} if "say" in inspect.signature(function).parameters else {}))
