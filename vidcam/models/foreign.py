"""Foreign networks by what they are called: of Hugging Face, timm and torch hub, of a package, or of a user's file.

`hf:REPOSITORY_OR_FOLDER`, `timm:NAME`, `hub:FOLDER:NAME`, `package.module:function`, `file.py:function`.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from torch import nn

from vidcam.attribution.chance import seeded
from vidcam.attribution.failures import said
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, OptionError, VidcamError
from vidcam.models.checkpoint import load_into
from vidcam.models.libraries import KINDS, SLOTS, Fetched
from vidcam.models.model import Model
from vidcam.models.ranges import check_ranges
from vidcam.models.recipe import Chosen, Files, Recipe, warn
from vidcam.models.wrap import wrap

FORMS = ("hf:REPOSITORY_OR_FOLDER", "timm:NAME", "hub:FOLDER:NAME", "file.py:function", "package.module:function")
GROUP = "vidcam.models"
"""Entry points of packages that bring models: each a `Recipe`, or a function as in a user's file."""


def _wrapped(net: nn.Module, _: Chosen) -> Model:
    """Find out how the network is explained."""
    return wrap(net)


def _nothing(_chosen: Chosen, _pretrained: bool) -> Fetched:
    """Stand for what makes the network."""
    return Fetched(nn.Identity())


@dataclass(frozen=True)
class Foreign(Recipe):
    """A network that is not one of vidcam's own; what it takes and where to look is found by `wrap`."""

    network: Callable[..., nn.Module] = nn.Identity
    model: Callable[[Any, Chosen], Model] = _wrapped
    make: Callable[[Chosen, bool], Fetched] = _nothing
    open_ended: bool = False
    """Whether it takes other options than those that it names."""

    def choose(self, name: str, given: Chosen) -> dict[str, Any]:
        """Return the options; those that the network does not name are slots of the model."""
        told = {key: value for key, value in given.items() if value is not None}
        if self.open_ended:
            check_ranges(told)
        else:
            allowed = {**dict.fromkeys([*SLOTS, "size"]), **self.options}
            Recipe.choose(replace(self, options=allowed), name, told)
        return {**self.options, **given}

    def build(self, name: str, *, weights: str | None, files: Files, options: Chosen) -> Model:
        """Make the network, give it the user's own weights if there are any, and wrap it."""
        chosen = self.choose(name, options)
        with seeded(0):
            made = self.make(chosen, weights is not None and not files)
        if not files:
            _warn_of_random(name, made)
        net = made.net.net if isinstance(made.net, Model) else made.net
        origin = made.origin
        for file in files.values():
            load_into(net, file, name)
            origin = f"checkpoint {file.path.name}"
        net.eval()
        slots = {slot: chosen[slot] for slot in SLOTS if slot not in self.options and chosen.get(slot) is not None}
        if isinstance(made.net, Model):
            if slots.get("sampling") == "spread" and options.get("frame_rate") is None:
                slots["frame_rate"] = None  # the usual rate is that of windows
            model = replace(made.net, **slots)
            if "size" not in self.options and chosen.get("size") is not None:
                raise OptionError(f"size= is nothing to {name}: the model that it returns has a preprocessing")
        else:
            model = self._wrapped(made, net, chosen, slots)
        return replace(model, name=name, weights=origin, options=dict(options))

    def _wrapped(self, made: Fetched, net: nn.Module, chosen: Chosen, slots: dict[str, Any]) -> Model:
        if "size" not in self.options and (size := chosen.get("size")) is not None:
            sides = tuple(size) if isinstance(size, Sequence) else (size, size)
            slots["preprocessing"] = Preprocessing((sides[0], sides[-1]), antialias=True)
        return wrap(net, labels=tuple(made.labels) or None, processor=made.processor, **slots)


def _warn_of_random(name: str, made: Fetched) -> None:
    if made.origin == "none":
        warn(f"{name} is untrained (weights none): what it says is random")
    if made.lacking:
        warn(f"{name} has no weights for {', '.join(made.lacking[:3])}: train it, what it says is random")


def find_foreign(name: str) -> Recipe | None:
    """Return the recipe of a foreign network; None if the name has no such form and no package brings it.

    Raises:
        ModelError: what it names is not there.
    """
    kind, colon, rest = name.partition(":")
    if colon and kind in KINDS:
        about, make, _ = KINDS[kind]
        return Foreign(about, make=partial(make, rest), open_ended=True)
    if colon:
        return _of_function(name, _find_function(name))
    return _of_package(name)


def runs_code(name: str) -> bool:
    """Whether a name, as a checkpoint tells it, would have code of somebody's run."""
    kind, colon, _ = name.partition(":")
    return bool(colon) and (kind not in KINDS or KINDS[kind][2])


def _of_package(name: str) -> Recipe | None:
    """Return what an installed package has registered under a name."""
    for point in entry_points(group=GROUP, name=name):
        loaded = point.load()
        return loaded if isinstance(loaded, Recipe) else _of_function(point.value, loaded)
    return None


def registered() -> list[str]:
    """Return the names that installed packages have registered; none of them is imported."""
    return sorted(point.name for point in entry_points(group=GROUP))


# A function of the user's


def _find_function(name: str) -> Callable[..., Any]:
    """Import the function that `file.py:function` or `package.module:function` names."""
    where, _, function = name.rpartition(":")
    module = _import_file(Path(where)) if where.endswith(".py") else _import_module(where)
    found = getattr(module, function, None)
    if not callable(found):
        there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f"{where} has no function {function!r}; it has {', '.join(sorted(there)[:8]) or 'none'}")
    return found  # type: ignore[no-any-return]


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise ModelError(f"there is no file {str(path)!r}; a model of your own is named file.py:function")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # what lies beside it can be imported, as when it is run
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ModelError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return module


def _import_module(where: str) -> Any:
    try:
        return importlib.import_module(where)
    except ImportError as error:
        raise ModelError(f"{where!r} cannot be imported: {error}; a model is named package.module:function") from error


def _of_function(name: str, function: Callable[..., Any]) -> Recipe:
    """Declare what a function makes: its keyword arguments are the options."""
    if isinstance(function, Recipe):
        return function
    kinds = inspect.signature(function).parameters.values()
    open_ended = any(each.kind is each.VAR_KEYWORD for each in kinds)
    options = {each.name: None if each.default is each.empty else each.default for each in kinds if each.kind in NAMED}
    about = (inspect.getdoc(function) or "a network of your own").splitlines()[0]
    return Foreign(
        about,
        options=options,
        make=lambda chosen, _: Fetched(_called(name, function, _own(chosen, () if open_ended else options))),
        open_ended=open_ended,
    )


NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _own(chosen: Chosen, named: Collection[str]) -> Chosen:
    """Return the options that a function takes: those that it names, or all that are no slots of the model."""
    return {
        key: value
        for key, value in chosen.items()
        if value is not None and (key in named if named else key not in (*SLOTS, "size"))
    }


def _called(name: str, function: Callable[..., Any], options: Chosen) -> nn.Module | Model:
    try:
        made = function(**options)
    except VidcamError:
        raise
    except Exception as error:
        raise ModelError(f"{name} failed: {said(error)}") from error
    if not isinstance(made, nn.Module | Model):
        raise ModelError(f"{name} must return an nn.Module or a vidcam.Model; it returned {type(made).__name__}")
    return made
