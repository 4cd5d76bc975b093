"""Recipe: what is declared of a model that has a name, and the one builder that follows it."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from vidcam.attribution.chance import seeded
from vidcam.data.preprocessing import LARGEST, Preprocessing, is_side
from vidcam.errors import ModelError, OptionError, unknown
from vidcam.models.checkpoint import Checkpoint, load_into
from vidcam.models.head import renew_head
from vidcam.models.model import Model
from vidcam.models.ranges import SAMPLING, check_ranges

Chosen = Mapping[str, Any]
Files = Mapping[str, Checkpoint]


class UntrainedWarning(UserWarning):
    """A network has random weights, so that its explanations mean nothing."""


@dataclass(frozen=True)
class Published:
    """Weights of a network that somebody has published."""

    tags: Mapping[str, str]
    """Their names, and what a model that has them says of its weights."""
    load: Callable[[str], nn.Module]
    """A tag -> the network with these weights."""
    labels: Sequence[str]
    """Names of their classes."""
    owns: Callable[[Path], bool] | None = None
    """Whether the classes of a checkpoint of that path, if as many, are these; None: always."""


@dataclass(frozen=True)
class Recipe:
    """What is declared of a model that has a name: 20 lines of network and these 10 make a model of one's own.

        MODELS["mine"] = Recipe(
            about="my network: 8 frames at 10 per second",
            network=MyNet,  # called as MyNet(classes=..., width=...)
            model=lambda net, options: Model(net, "layer4", preprocessing=Preprocessing((112, 112))),
            options={"classes": 2, "width": 64, "frames": 8, "frame_rate": 10.0, "size": None, "seed": 0},
            head="fc",
        )

    The options `classes`, `frames`, `frame_rate`, `sampling`, `clips`, `size` and `seed` mean the same for all: the
    rows of the head, those fields of the model, the size (H, W) to which the whole frame is resized, and what random
    weights start from.
    """

    about: str
    """What it is, its input and its paper, in a line."""
    network: Callable[..., nn.Module]
    """The network with random weights, by the options that it takes; `replaced` tells whether weights follow."""
    model: Callable[[Any, Chosen], Model]
    """The network and all options -> the model: its layer, and what else there is to know of it."""
    options: Chosen = field(default_factory=dict)
    """Chosen that it takes, with their defaults."""
    head: str | None = None
    """The layer whose rows are the classes: any module with a `weight`."""
    published: Published | None = None
    """Weights to download, if there are any."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of weights that may be given beside or instead of `checkpoint`, and what they are."""
    fit: Callable[[Chosen, Files], tuple[Chosen, Files]] | None = None
    """Chosen and given files, the checkpoint as "checkpoint" -> options with what the files tell, and the weights by
    part of the network; None reads the number of classes off the checkpoint's head."""
    trained_by: str = "train"
    """The function that trains it: "train", or "train_odometry"."""

    def choose(self, name: str, given: Chosen) -> dict[str, Any]:
        """Return all options, those given and the defaults; an OptionError names near matches, or the range."""
        for option in given:
            if option not in self.options:
                raise OptionError(unknown(f"option of {name}", option, self.options))
        check_ranges(given, self.options)
        return {**self.options, **given}

    def build(self, name: str, *, weights: str | None, files: Files, options: Chosen) -> Model:
        """Build the model.

        Args:
            name: what it is called.
            weights: a tag of the published weights; None for random ones, always the same for a seed, and a warning.
            files: instead of those, the user's own weights: "checkpoint", and names of `files`.
            options: changes to the defaults.

        Raises:
            ModelError: weights that do not exist or do not fit.
            OptionError: a choice that does not exist.
        """
        chosen, parts = (self.fit or self._whole)(self.choose(name, options), files)
        if parts or weights is None:
            net, origin = self._own(name, parts, chosen)
        else:
            net, origin = self._published(name, weights, chosen)
        with _building(chosen):
            model, size = self.model(net.eval(), chosen), chosen.get("size")
        return replace(
            model,
            preprocessing=whole_frame(model.preprocessing, size),
            inputs={
                part: replace(given, preprocessing=whole_frame(given.preprocessing, size))
                for part, given in model.inputs.items()
            },
            name=name,
            weights=origin,
            options={option: chosen[option] for option in self.options},
            labels=self._labels(chosen, files),
            **self._pace(chosen),
        )

    def _pace(self, chosen: Chosen) -> Chosen:
        """Return the slots that say how the model looks at time; the usual rate is one of windows."""
        pace = {slot: chosen[slot] for slot in ("frames", "frame_rate", *SAMPLING) if slot in self.options}
        if pace.get("sampling") == "spread" and pace.get("frame_rate") == self.options.get("frame_rate"):
            pace["frame_rate"] = None
        return pace

    def _whole(self, chosen: Chosen, files: Files) -> tuple[Chosen, Files]:
        parts = {"" if part == "checkpoint" else part: file for part, file in files.items()}
        if self.head is None:
            return chosen, parts
        rows = files["checkpoint"].rows(self.head) if "checkpoint" in files else None
        known = len(self.published.labels) if self.published else self.options.get("classes")
        classes = rows or chosen.get("classes") or known
        return {**chosen, "classes": classes}, parts

    def _own(self, name: str, parts: Files, chosen: Chosen) -> tuple[nn.Module, str]:
        """Return the network with the user's own weights, or with random ones, and where they came from."""
        net = self._network(chosen, replaced=bool(parts))
        for part, file in parts.items():
            load_into(net.get_submodule(part), file, f"{name}'s {part} network" if part else name)
        if not parts:
            warn(f"{name} is untrained (weights none): what it says is random")
        return net, " and ".join(dict.fromkeys(f"checkpoint {file.path.name}" for file in parts.values())) or "none"

    def _network(self, chosen: Chosen, *, replaced: bool) -> nn.Module:
        given = {**chosen, "replaced": replaced}
        kinds = inspect.signature(self.network).parameters
        if not any(kind.kind is kind.VAR_KEYWORD for kind in kinds.values()):
            given = {option: value for option, value in given.items() if option in kinds}
        with seeded(chosen.get("seed", 0)), _building(chosen):  # so that a run can be repeated
            return self.network(**given)

    def _published(self, name: str, tag: str, chosen: Chosen) -> tuple[nn.Module, str]:
        if self.published is None:
            instead = f"{next(iter(self.files))}=FILE" if self.files else "a checkpoint"
            raise ModelError(f"{name} has no weights {tag!r} to download; give {instead}, or weights 'none'")
        if tag not in self.published.tags:
            raise ModelError(unknown(f"weights tag of {name}", tag, [*self.published.tags, "none"]))
        net, classes = self.published.load(tag), chosen["classes"]
        if classes != len(self.published.labels):
            renew_head(net, classes, head=self.head, seed=chosen.get("seed", 0))
            warn(f"{name} has a new head for {classes} classes: train it, what it says is random")
        return net, self.published.tags[tag]

    def _labels(self, chosen: Chosen, files: Files) -> Sequence[str]:
        """Return the names of the published weights' classes, if the network's are these."""
        published = self.published
        if published is None or len(published.labels) != chosen["classes"]:
            return ()
        owns = published.owns
        return published.labels if owns is None or all(owns(file.path) for file in files.values()) else ()


@contextmanager
def _building(chosen: Chosen) -> Iterator[None]:
    """Raise an OptionError where what is built stumbles over a value."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        shown = ", ".join(f"{option} {value!r}" for option, value in chosen.items())
        raise OptionError(f"no network can be built with {shown}: {error}".splitlines()[0]) from error


def whole_frame(preprocessing: Preprocessing, size: int | Sequence[int] | None) -> Preprocessing:
    """Resize the whole frame to (H, W), or to a square, and crop nothing; without a size change nothing."""
    if size is None:
        return preprocessing
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(sides) != 2 or not all(is_side(side) for side in sides):
        raise OptionError(f"size needs a height and a width of 1 to {LARGEST}, or one for both; given {size}")
    return replace(preprocessing, resize=(sides[0], sides[1]), crop=None)


def warn(message: str) -> None:
    """Warn whoever called `load_model`."""
    warnings.warn(message, UntrainedWarning, stacklevel=5)
