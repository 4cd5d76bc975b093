"""Targets: which scores of a network are explained; a class is one kind of score."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidcam.attribution.capturing import Score
from vidcam.attribution.endings import BeforeEnding
from vidcam.attribution.scores import negative_loss, target_index
from vidcam.attribution.steps import EachStep
from vidcam.errors import ModelError, OptionError, TargetError, unknown
from vidcam.explaining.explanation import LOSS
from vidcam.explaining.instants import At
from vidcam.models.model import Model
from vidcam.models.source import Source
from vidcam.types import Floats

Loss = Callable[[Tensor, Tensor], Tensor]
Key = int | str
"""A class by its index, another score by its name."""
Target = int | str | Score | At | None


@dataclass
class Targets:
    """The scores that are explained: those asked for, or the classes that are likeliest so far."""

    model: Model
    wanted: tuple[Key, ...]
    """What was asked for, the one that is shown first; empty: the likeliest classes."""
    likeliest: int = 1
    """How many classes, if none was asked for."""
    named: Mapping[str, Score] = field(default_factory=dict)
    """All scores by name: a regressor's own, and those that the user gave."""
    truth: "Truth | None" = None
    times: Mapping[str, tuple[Key, At]] = field(default_factory=dict)
    """The scores of one time alone: what is explained at it, by the name of both."""
    one_by_one: bool = False
    """Whether every score costs forwards of its own, so that a regressor's others are not explained beside."""

    @property
    def of_classes(self) -> bool:
        """Whether the network is a classifier; a regressor's scores are usually all explained at once."""
        return not self.model.scores and self.truth is None

    @property
    def keys(self) -> tuple[Key, ...]:
        """What is explained as far as it is known before the network runs."""
        if self.of_classes or self.one_by_one:
            return self.wanted
        named = (*self.named, *self.times)
        return named if self.truth is None else (LOSS, *named)

    def scores(
        self, middles: Sequence[int], places: Mapping[str, Sequence[int | None]] | None = None
    ) -> dict[Key, Score | EachStep]:
        """Return the scores of a group of windows.

        Args:
            middles: the middle frame of each window.
            places: where in each window the time of each of `times` is, if it is; those that no window holds are left
                out.
        """
        places = places or {}
        found: dict[Key, Score | EachStep] = {}
        for key in self.keys:
            if key == LOSS and self.truth is not None:
                found[key] = self.truth.score(middles)
            elif key not in self.times:
                found[key] = self.over_time(key)
            elif any(place is not None for place in places[str(key)]):
                own = [place or 0 for place in places[str(key)]]
                found[key] = self.over_time(self.times[str(key)][0]).near(own, self.model.frames)
        return found

    def over_time(self, key: Key) -> EachStep:
        """Return a score, which tells a number for each time step where the network answers so."""
        return self.model.each_step(self.named[key]) if isinstance(key, str) else self.model.class_steps(key)

    def leading(self, shares_so_far: Sequence[Floats], chosen: list[int]) -> list[EachStep]:
        """Return the scores of the classes that lead once a forward's output is counted.

        The first of them that is asked fills `chosen` with the classes.
        """

        def choose(output: Any, ending: str | None) -> None:
            if not chosen:
                chosen.extend(leaders([*shares_so_far, *shares(self.model, output, ending)], self.likeliest))

        def score(place: int) -> EachStep:
            def of_answer(said: Tensor) -> Tensor:
                return self.model.class_of(chosen[place], said)

            return self.model.each_step(BeforeEnding(self.model.answer, of_answer, choose))

        return [score(place) for place in range(self.likeliest)]


@dataclass(frozen=True)
class Truth:
    """The right answers, a row per frame of the source, and the loss against them."""

    model: Model
    rows: Tensor
    loss: Loss | None

    def score(self, frames: Sequence[int]) -> Score:
        """Return minus the loss against the answers of some frames, one per sample of a batch."""
        if max(frames) >= len(self.rows):
            raise OptionError(f"truth has {len(self.rows)} rows, but the source has more than {max(frames)} frames")
        rows = self.rows[list(frames)]

        def score(output: Any) -> Tensor:
            values = self.model.answer(output)
            if self.model.steps_in(output) is not None:
                raise OptionError(
                    f"truth= is of one answer per window, and {self.model.name} answers at each time step"
                )
            answer = rows.reshape(values.shape) if rows.numel() == values.numel() else rows
            return negative_loss(answer, self.loss)(values)

        return score

    def check_length(self, frames: int) -> None:
        """Raise an OptionError unless there is a row for every frame of the source."""
        if len(self.rows) != frames:
            raise OptionError(f"truth has {len(self.rows)} rows, but the source has {frames} frames")

    def of_knowing_nothing(self, output: Any, score: Score) -> Tensor:
        """Return the loss of an answer that does not look, (B,): the mean of the truth, or zero."""
        values = self.model.answer(output)
        if self.rows[:1].numel() != values[:1].numel():  # as class indices: no output is their mean
            return -score(torch.zeros_like(values))
        mean = self.rows.to(values).mean(0).reshape(1, *values.shape[1:]).expand_as(values)
        return -torch.minimum(score(mean), score(torch.zeros_like(values)))


def find_targets(
    source: Source[Model],
    target: Target | Sequence[Target],
    classes: int,
    truth: npt.ArrayLike | None,
    loss: Loss | None,
) -> Targets:
    """Find what is asked for before any network runs; without labels an index is checked by the first window.

    Raises:
        TargetError: no such class or score.
        OptionError: a truth that does not fit, or a number of classes below one.
    """
    model = source.model
    several = list(target) if isinstance(target, list | tuple) else [] if target is None else [target]
    several = [At.read(each, (*model.labels, *model.scores)) for each in several]
    whole = [each.target if isinstance(each, At) else each for each in several]
    own = _named(score for score in whole if callable(score))
    answers = None if truth is None else Truth(model, _rows(truth, whole=loss is not None), loss)
    if answers is not None and LOSS in model.scores:
        raise OptionError(f"{model.name} has a loss of its own; give no truth")
    _check_classes(source.model, classes, several, is_classifier=not model.scores and answers is None)
    taken = {*model.scores, *model.labels, *([] if answers is None else [LOSS])}
    if clashing := sorted(own.keys() & taken):
        raise OptionError(f"{model.name} has a score called {clashing[0]!r}; give the function a name of its own")
    if not (loss is None or callable(loss)):
        raise OptionError(f"loss must be a function (output, truth) -> (B, ...); given {loss!r}")
    if loss is not None and answers is None:
        raise OptionError("loss= is of the answer and the truth; give truth= too")
    named = {**model.scores, **own}
    if model.scores or answers is not None:
        names = [*([] if answers is None else [LOSS]), *named]
        wanted: tuple[Key, ...] = tuple(_value(each, names, source) for each in whole or [None])
    else:
        wanted = tuple(_name(each) if callable(each) else _class(each, model.labels) for each in whole)
    times: dict[str, tuple[Key, At]] = {}
    asked = list(wanted)
    for place, each in enumerate(several):
        if isinstance(each, At):
            asked[place] = name = _at(each, wanted[place], model)
            times[name] = wanted[place], each
    return Targets(model, tuple(dict.fromkeys(asked)), classes, named, answers, times)


def _at(target: At, key: Key, model: Model) -> str:
    """Name a score at a time, of a network that answers at each time step."""
    said = model.answer_layout
    if key == LOSS or said == "b k" or (said is None and model.scores):
        raise TargetError(
            f"a target at a time needs an answer for each time step, and {model.name} answers once per window; "
            "answer_layout= of the model says otherwise"
        )
    return target.named(key if isinstance(key, str) else model.labels[key] if key < len(model.labels) else str(key))


def _check_classes(model: Model, classes: Any, targets: Sequence[Any], *, is_classifier: bool) -> None:
    if not isinstance(classes, int) or classes < 1:
        raise OptionError(f"classes must be a whole number of at least 1; given {classes!r}")
    if classes > 1 and not is_classifier:
        raise OptionError(f"classes is for classifiers; {model.name} is a regressor, whose scores are all explained")
    if classes > 1 and targets:
        raise OptionError(f"give targets or the number of the likeliest classes; given {len(targets)} and {classes=}")


def leaders(per_window: Sequence[Floats], count: int) -> list[int]:
    """Return the classes with the highest mean probability, (K,) per window, the likeliest first."""
    mean = np.mean(per_window, axis=0)
    if count == 1:
        return [int(mean.argmax())]
    if count > len(mean):
        raise OptionError(f"classes must be at most {len(mean)}, as many as the network has; given {count}")
    return [int(index) for index in np.argsort(-mean, kind="stable")[:count]]


def shares(model: Model, output: Any, ending: str | None) -> Floats:
    """(B, K) probabilities, of answers at each time step their mean; see `answers`."""
    told = answers(model, output, ending)
    mean: Floats = told if told.ndim == 2 else told.mean(1)
    return mean


def answers(model: Model, output: Any, ending: str | None) -> Floats:
    """(B, K) probabilities, or (B, n, K) of n time steps, after a check that there are classes and as many labels.

    Args:
        model: the network's.
        output: what it returned.
        ending: the softmax or sigmoid that it ends in, if any, see `Captured.ending`.
    """
    per_class: Floats = model.probabilities(model.answer(output).detach().cpu(), ending).numpy()
    if not np.isfinite(per_class).all():
        raise ModelError(f"{model.name} returns NaN or infinite numbers; check its weights and its input")
    if model.labels and len(model.labels) != per_class.shape[-1]:
        raise ModelError(f"{model.name} has {per_class.shape[-1]} classes, but {len(model.labels)} labels were given")
    return per_class


def _named(scores: Iterable[Score]) -> dict[str, Score]:
    """Name the user's own scores."""
    named: dict[str, Score] = {}
    for score in scores:
        if named.setdefault(_name(score), score) is not score:
            raise OptionError(f"two different scores are called {_name(score)!r}; give them names of their own")
    return named


def _name(score: Any) -> str:
    return str(getattr(score, "__name__", type(score).__name__))


def _class(target: Any, labels: Sequence[str]) -> int:
    if not isinstance(target, str | SupportsIndex):
        raise TargetError(f"a target is a class's index or name; given {target!r}")
    target = target if isinstance(target, str) else operator.index(target)
    if labels or not str(target).isdecimal():
        return target_index(target, labels)
    return int(target)


def _value(target: Any, names: Sequence[str], source: Source[Model]) -> str:
    """Find a score by its name; the loss comes first."""
    if callable(target):
        return _name(target)
    if not isinstance(target, str | None):
        raise TargetError(f"{source.model.name} is a regressor: a target is the name of a score; given {target!r}")
    if target is None:
        return LOSS if LOSS in names else names[0]
    if target not in names and (lacks := ({LOSS: "truth="} | dict(source.lacks)).get(target)):
        raise TargetError(f"there is no {target} to explain: it needs {lacks}; possible: {', '.join(names)}")
    if target not in names:
        raise TargetError(unknown("score", target, names))
    return target


def _rows(truth: npt.ArrayLike, *, whole: bool) -> Tensor:
    """Return the truth as a tensor; whole numbers stay so if asked for, as losses of classes take them."""
    try:
        values = truth.detach().cpu() if isinstance(truth, Tensor) else torch.from_numpy(np.array(truth))
    except (TypeError, ValueError, RuntimeError):
        raise OptionError("truth must be (F, ...) numbers, a row per frame of the source") from None
    if values.ndim == 0 or values.is_complex() or not values.isfinite().all():
        raise OptionError("truth must be (F, ...) finite numbers, a row per frame of the source")
    return values if values.is_floating_point() or whole else values.float()
