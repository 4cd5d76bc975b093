"""Declaring options: fields of a frozen dataclass that know their help, their check and their place in a command."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from math import isinf
from operator import ge, gt, le, lt
from types import MappingProxyType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from vidcam.errors import OptionError, unknown


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What is known of an option beside its name, type and default; see `option`."""

    help: str
    more: str = ""
    choices: Sequence[str] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    check: Callable[[Any], str | None] | None = None
    metavar: str | None = None
    names: Sequence[str] = ()
    panel: str | None = None
    cli: Callable[[str], Any] | bool = True

    @property
    def about(self) -> str:
        """All that is to be said of the option, in sentences."""
        possible = f"Possible: {', '.join(self.choices)}." if self.choices else ""
        return " ".join(filter(None, (self.help, self.more, possible)))

    def refuse(self, name: str, value: Any, *, optional: bool = True) -> None:
        """Raise an OptionError if a value is not possible; None is where the option is `optional`."""
        if value is None and optional:
            return
        if value is None:
            raise OptionError(f"{name} must have a value; given None")
        if self.choices and value not in self.choices:
            raise OptionError(unknown(name, value, self.choices))
        wrong = self._out_of_range(value) or (self.check(value) if self.check else None)
        if wrong:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) and self.cli is not True else value
            raise OptionError(f"{name} {wrong}; given {shown}")

    def _out_of_range(self, value: Any) -> str | None:
        ends = ((ge, self.least), (le, self.most), (gt, self.above), (lt, self.below))
        try:
            fits = all(holds(value, end) for holds, end in ends if end is not None)  # NaN is nowhere
        except TypeError:
            return "must be a number"
        if fits and isinstance(value, float) and isinf(value):
            return "must be finite"
        return None if fits else f"must {self._range}"

    @property
    def _range(self) -> str:
        ends = {"to ": self.most, "to below ": self.below}
        high = next((f"{word}{end}" for word, end in ends.items() if end is not None), "")
        if self.least is not None:
            low = f"from {self.least} " if high else f"at least {self.least}"
            return "not be negative" if self.least == 0 and not high else f"be {low}{high}"
        low = "" if self.above is None else "positive" if self.above == 0 else f"above {self.above}"
        return f"be {' and '.join(filter(None, (low, high.replace('to below', 'below').replace('to ', 'at most '))))}"


def option(help: str, default: Any = MISSING, **more: Any) -> Any:
    """Declare an option, the field of an `Options` class.

    Args:
        help: what it is, in a few words; what a command shows.
        default: its value where none is given; without one, it must be given.
        more: what else is known:
            more: what only the documentation has room for.
            choices: the words that are possible.
            least, most, above, below: the range of a number.
            check: says what is wrong with a value, as "needs a height and a width", or else None.
            metavar: stands for the value in a command's help.
            names: flags of the command line, where they are not the option's own name; a switch with a name of its
                own, as "--force", has no opposite.
            panel: the heading that it stands under in a command's help; by default the one of the class that has it.
            cli: reads the value from the command line's text; False leaves the option out there.
    """
    metadata = {"option": Declared(help=help, **more)}
    if isinstance(default, dict | list):
        return field(default_factory=default.copy, metadata=metadata, kw_only=True)
    return field(default=default, metadata=metadata, kw_only=True)


@dataclass(frozen=True)
class Options:
    """A group of options; a subclass is a frozen dataclass whose fields are made by `option`, and may inherit others.

    Values are checked as they are declared. What is declared as a sequence is kept as a tuple, and a single text given
    for several is one of them. A subclass may change an inherited option's default alone: `epochs: int = 50`.

    Raises:
        OptionError: a value is not possible.
    """

    panel: ClassVar[str] = "Options"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for part in [part for part in vars(cls).values() if isinstance(part, Field) and "option" in part.metadata]:
            about: Declared = part.metadata["option"]
            part.metadata = MappingProxyType({"option": replace(about, panel=about.panel or cls.panel)})
        for part in fields(cls):  # those inherited: the class is no dataclass yet
            default = vars(cls).get(part.name, MISSING)
            if default is not MISSING and not isinstance(default, Field):
                setattr(cls, part.name, field(default=default, metadata=part.metadata, kw_only=True))

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name, about in declared(type(self)).items():
            value = _tidy(getattr(self, name), hints[name])
            object.__setattr__(self, name, value)
            about.refuse(name, value, optional=hints[name] is Any or type(None) in get_args(hints[name]))

    def arguments(self) -> dict[str, Any]:
        """Return the options as the arguments of a function that `takes` them."""
        return {name: getattr(self, name) for name in declared(type(self))}


def declared(group: type[Options]) -> Mapping[str, Declared]:
    """Return what is known of each option of a group, in their order."""
    return {part.name: part.metadata["option"] for part in fields(group) if "option" in part.metadata}


def members(hint: Any) -> tuple[Any, ...]:
    """Return the types that a type hint allows, None aside: int | None -> (int,)."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return tuple(part for part in parts if part is not type(None))


def is_sequence(hint: Any) -> bool:
    """Tell whether a type allows any number of values."""
    origin, inside = get_origin(hint), get_args(hint)
    return origin in (Sequence, list) or (origin is tuple and Ellipsis in inside)


def _tidy(value: Any, hint: Any) -> Any:
    """Keep several values as a tuple."""
    allowed = members(hint)
    if not any(is_sequence(kind) or get_origin(kind) is tuple for kind in allowed):
        return value
    if isinstance(value, str):
        return value if str in allowed else (value,)
    return tuple(value) if isinstance(value, list | tuple) else value
