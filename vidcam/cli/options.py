"""From declared options to commands: each option of the groups becomes one of typer's, with the same name and help."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer
import typer.main
from typer.core import TyperCommand

from vidcam.cli.configuration import configure, pairs
from vidcam.cli.wording import speaking
from vidcam.errors import OptionError
from vidcam.options import Declared, Options, declared, is_sequence, members, option, parameters

ARGUMENTS, LAST = "Arguments", ("Machine", "Output", "Options")
"""The first panel and the last ones; between them come those of the command's subject."""
Config = Annotated[
    Path | None,
    typer.Option(is_eager=True, callback=configure, metavar="FILE", help="Options of a run.json or TOML; flags win."),
]


@dataclass(frozen=True)
class Printing(Options):
    """How a command tells its result."""

    panel: ClassVar[str] = "Output"

    as_json: bool = option("Print the result as JSON, one object per line.", False, names=("--json",))


@dataclass(frozen=True)
class Writing(Printing):
    """Whether a command replaces files."""

    force: bool = option("Replace files of an earlier run.", False, names=("--force",))


def command(name: str, run: Callable[..., int | None]) -> Any:
    """Make a function a command: its own parameters are typer's, and each group that it takes becomes options."""
    made = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    made.command(name, cls=Command)(_flat(run))
    return typer.main.get_command(made)


def _flat(run: Callable[..., int | None]) -> Callable[..., int | None]:
    """Return the function with the options of its groups as keyword arguments, in the command's own wording."""
    own = inspect.signature(run, eval_str=True).parameters
    homes = {part.name: part.annotation for part in own.values() if _is_group(part.annotation)}

    def call(**given: Any) -> int | None:
        context = given.pop("context")
        with speaking(dict(_flags(context.command.params))):
            context.command.refuse_empty_paths(given)
            filled = {home: _filled(group, given) for home, group in homes.items()}
            return run(**given, **filled, **({"context": context} if "context" in own else {}))

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    plain = [part for part in own.values() if part.name not in ("context", *homes)]
    shown = [context, *(part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in plain)]
    known = {name: about for group in homes.values() for name, about in _typed_options(group).items()}
    shown += [typed(part, known[part.name]) for part in parameters(*homes.values()) if part.name in known]
    call.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    call.__doc__, call.__name__ = run.__doc__, run.__name__
    return call


def _is_group(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, Options)


class Command(TyperCommand):
    """A command whose help shows the options by their panels, without the colors that take a while to load."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name the arguments as their help does."""
        arguments = [part for part in self.get_params(ctx) if part.param_type_name == "argument"]
        return ["[OPTIONS]", *(str(part.metavar) if part.required else f"[{part.metavar}]" for part in arguments)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember which values are empty, of arguments as of options."""
        given = {flag for flag, value in pairwise(["", *args]) if value == ""}
        self.empty = given | {each[:-1] for each in args if each.startswith("-") and each.endswith("=")}
        return super().parse_args(ctx, args)

    def refuse_empty_paths(self, given: Mapping[str, Any]) -> None:
        """Refuse an empty path, as an unset variable gives: it would be the current folder."""
        for part in self.params:
            value, argument = given.get(str(part.name)), part.param_type_name == "argument"
            flags = [str(part.metavar)] if argument and self.empty else sorted(self.empty & {*part.opts})
            if flags and Path() in (value if isinstance(value, list | tuple) else (value,)):
                raise OptionError(f"the value of {flags[0]} is empty")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section per panel."""
        panels: dict[str, list[tuple[str, str]]] = {ARGUMENTS: []}
        for part in self.get_params(ctx):
            if record := part.get_help_record(ctx):
                if part.param_type_name == "argument":
                    panels[ARGUMENTS].append((str(part.metavar), record[1]))
                else:
                    panels.setdefault(getattr(part, "rich_help_panel", None) or LAST[-1], []).append(record)
        for panel in sorted(filter(panels.get, panels), key=_place):
            with formatter.section(panel):
                formatter.write_dl(panels[panel])


def _place(panel: str) -> int:
    """What concerns the subject comes first."""
    return LAST.index(panel) if panel in LAST else -1


def typed(part: inspect.Parameter, about: Declared) -> inspect.Parameter:
    """Return an option as typer's: of one of the types that it allows, or of several texts."""
    kinds, default, metavar = members(part.annotation), part.default, about.metavar or "|".join(about.choices) or None
    several = next((get_args(kind)[0] for kind in kinds if is_sequence(kind)), None)
    if callable(about.cli):
        kind: Any = str
        default = ",".join(default) if isinstance(default, tuple) else default
    elif _is_mapping(part.annotation):
        kind, default, metavar = list[str], [], metavar or "NAME=VALUE"
    elif several is not None:
        kind, metavar = list[several], metavar or f"<{several.__name__.lower()}>"  # type: ignore[valid-type]
        default = default if default is None else list(default)
    else:
        kind = next((preferred for preferred in (Path, str) if preferred in kinds), kinds[0])
    made = typer.Option(*about.names, help=about.help, metavar=metavar, rich_help_panel=about.panel)
    return part.replace(annotation=Annotated[kind | None if default is None else kind, made], default=default)


def _filled(group: type[Options], given: dict[str, Any]) -> Options:
    """Take a group's options out of what was typed."""
    hints, read = get_type_hints(group), {}
    for name, about in _typed_options(group).items():
        value = given.pop(name)
        if callable(about.cli):
            value = None if value is None else about.cli(value)
        elif _is_mapping(hints[name]):
            value = pairs(value, next(iter(about.names), f"--{name}"))
        read[name] = value
    return group(**read)


def _typed_options(group: type[Options]) -> dict[str, Declared]:
    return {name: about for name, about in declared(group).items() if about.cli is not False}


def _is_mapping(hint: Any) -> bool:
    return any(get_origin(kind) is Mapping for kind in members(hint))


def _flags(parts: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield the flag of each option, by the argument that it stands for."""
    for part in parts:
        if part.param_type_name == "option":
            yield part.name, max(part.opts, key=len)
            if part.secondary_opts:
                yield f"{part.name}=False", max(part.secondary_opts, key=len)
