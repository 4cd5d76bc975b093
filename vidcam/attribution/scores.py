"""Scores: the number being explained, as functions of the network's output, `output -> (B,)`."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vidcam.attribution.capturing import Score
from vidcam.attribution.containers import named_parts, tensors_in
from vidcam.attribution.endings import BeforeEnding, as_probabilities
from vidcam.attribution.failures import in_words
from vidcam.errors import OptionError, TargetError, unknown

CALLED = (
    ("logits", "logits_per_video", "logits_per_image"),
    *(("out", "output", "pred", "preds", "prediction", "predictions", "score", "scores", "cls_score", "class_scores"),),
)
"""Keys or fields under which networks that return several tensors keep what vidcam explains; the first row wins."""
Which = str | int | Callable[[Any], Tensor] | None
"""Which part of a network's output is its answer: a key or field, an index, or a function; None looks for it."""


def logits(output: Any, which: Which = None, classes: int | None = None) -> Tensor:
    """Return the tensor that holds the answer: the only one, the one that is called so, or the one (B, K) that fits.

    Args:
        output: whatever the network returned.
        which: says which it is.
        classes: K, if it is known.

    Raises:
        OptionError: there is none, or several may be it.
    """
    if which is not None:
        output, classes = _chosen(output, which), None
    found = dict(tensors_in(output))
    if not found:
        raise OptionError(f"the network returns no floating point tensor but {type(output).__name__}")
    fits = [path for path, part in found.items() if _fits(part, classes)]
    possible = _called(found, fits, classes) or [path for path in fits if len(fits) > 1 or found[path].ndim == 2]
    if len(found) == 1 or len(possible) == 1:
        return found[(possible or [*found])[0]]
    listed = ", ".join(f"{path} {tuple(part.shape)}" for path, part in found.items())
    raise OptionError(f"the network returns several tensors of which any may be its answer, {listed}; say output=")


def _chosen(output: Any, which: Any) -> Any:
    """Return the part of an output that was said to be the answer."""
    if callable(which):
        with in_words("output=", OptionError):
            return which(output)
    parts = named_parts(output)
    if which not in parts:
        raise OptionError(unknown("output", which, map(str, parts)))
    return parts[which]


def _called(found: Mapping[str, Tensor], fits: Sequence[str], classes: int | None) -> list[str]:
    """List those that are called like answers; where only others have the right number of classes, these as well."""
    for row in CALLED:
        if named := [path for path in found if path.split(".")[-1].casefold() in row]:
            contradicted = [*named, *fits] if classes else named
            return [path for path in named if path in fits] or contradicted
    return []


def _fits(part: Tensor, classes: int | None) -> bool:
    """Whether a tensor may be the answer; one logit may tell of two classes."""
    if classes is None:
        return part.ndim in (1, 2, 3)
    return part.shape[1:] == (classes,) or (classes <= 2 and part.ndim > 0 and part.shape[1:] in ((), (1,)))


ACTIVATIONS = ("softmax", "sigmoid", "none")
"""What makes probabilities of an answer; "none" where it holds them already."""


def probabilities(output: Any, activation: str | None = None, ending: str | None = None) -> Tensor:
    """Return the (B, K) probabilities of a network's answer, in float32.

    Args:
        output: the answer, or what holds it, see `logits`.
        activation: one of `ACTIVATIONS`; None takes a distribution for one, gives one logit alone a sigmoid, and takes
            the softmax of all else.
        ending: what the network ends in, see `Captured.ending_of`; then that counts.
    """
    values = by_class(logits(output)).float()
    if ending is not None:
        return as_probabilities(values, ending)
    if activation is None:
        is_distribution = bool((values >= 0).all()) and torch.allclose(values.sum(1), values.new_ones(()), atol=1e-4)
        alone = values.shape[1:] == (1,)
        activation = "sigmoid" if alone else "none" if is_distribution else "softmax"
    if activation == "none":
        return values
    return values.sigmoid() if activation == "sigmoid" else values.softmax(dim=1)


def by_class(values: Tensor) -> Tensor:
    """(B,) or (B, K) -> (B, K): one number per sample is that of a single class."""
    return values[:, None] if values.ndim == 1 else values


def target_index(target: int | str, labels: Sequence[str], classes: int | None = None) -> int:
    """Return a class's index, given its index or its name; a TargetError names near matches.

    A name is looked up first, so that a class called "7" is found; then digits are read as an index.
    """
    classes = len(labels) if classes is None else classes
    index = _named(target, labels) if isinstance(target, str) else operator.index(target)
    if not 0 <= index < classes:
        possible = f"possible: 0 to {classes - 1}" if classes else "indices begin at 0"
        raise TargetError(f"class {index} does not exist; {possible}")
    return index


def _named(target: str, labels: Sequence[str]) -> int:
    """Find a name as it is written, then whatever its case and underscores, then as digits."""
    if target in labels:
        return list(labels).index(target)
    folded = [label.casefold().replace("_", " ") for label in labels]
    wanted = target.casefold().replace("_", " ")
    if folded.count(wanted) == 1:
        return folded.index(wanted)
    if target.removeprefix("+").isdecimal():
        return int(target)
    hint = "" if labels else " (the classes have no names: give an index, or labels)"
    raise TargetError(unknown("class", target, labels) + hint)


def class_score(target: int | str | Sequence[int | str] | Tensor, labels: Sequence[str] = ()) -> BeforeEnding:
    """Return the score of one class, before the softmax or sigmoid that a network may end in.

    Args:
        target: index or name of the class; several give each sample of the batch its own class.
        labels: the classes' names, needed for a name.
    """

    def score(values: Tensor) -> Tensor:
        values = by_class(values)
        if values.ndim != 2:
            raise OptionError(f"a class score needs an output of shape (B, K); given {tuple(values.shape)}")
        wanted = target.tolist() if hasattr(target, "tolist") else target  # a tensor or an array
        several = (
            list(wanted) if isinstance(wanted, Sequence) and not isinstance(wanted, str) else [wanted] * len(values)
        )
        if len(several) != len(values):
            raise TargetError(f"{len(values)} samples need as many targets; given {len(several)}")
        indices = [_index(each, labels, values.shape[1]) for each in several]
        if len({*indices}) == 1:  # a GPU need not be given them
            return values[:, indices[0]]
        return values.gather(1, torch.tensor(indices, device=values.device, dtype=torch.int64)[:, None])[:, 0]

    return BeforeEnding(logits, score)


def _index(target: Any, labels: Sequence[str], classes: int) -> int:
    if not isinstance(target, str) and not hasattr(target, "__index__"):
        raise TargetError(f"a class is an index or a name; given {target!r}")
    return target_index(target, labels, classes)


def component(*index: int, output: Which = None) -> Score:
    """Return one component of a regression's output: `component(2)` of (B, 6), `component(0, 5)` of (B, n, 6).

    Args:
        index: of the component.
        output: which part of what the network returns is meant: a key or field, an index, or a function.
    """

    def score(said: Any) -> Tensor:
        values = logits(said, output)
        values = values[:, None] if values.ndim == 1 else values
        if len(index) != values.ndim - 1 or any(not -n <= i < n for i, n in zip(index, values.shape[1:], strict=False)):
            raise TargetError(f"component {index} does not exist in an output of shape {tuple(values.shape)}")
        for axis_index in index:
            values = values[:, axis_index]
        return values

    return score


def components(*names: str, output: Which = None) -> dict[str, Score]:
    """Name the components of an output (B, K), in their order: the scores of a regressor, for `Model(scores=...)`."""
    if len(set(names)) != len(names):
        raise OptionError(f"the names of components must differ; given {', '.join(names)}")
    return {name: component(index, output=output) for index, name in enumerate(names)}


def minus(score: Score) -> Score:
    """Return the score with its sign turned: what speaks against it."""
    if isinstance(score, BeforeEnding):
        return BeforeEnding(score.answer, lambda answer: -score.score(answer), score.see)
    return lambda output: -score(output)


def negative_loss(target: Tensor, loss: Callable[[Tensor, Tensor], Tensor] | None = None) -> Score:
    """Return minus the loss against a known answer: high where the network is right.

    The map vanishes as the fit becomes perfect, because the gradient does; look at the score beside it.

    Args:
        target: (B, ...) the right answer, of the output's shape, or what `loss` takes, such as (B,) class indices.
        loss: `(output, target) -> (B, ...)` or elementwise, unreduced; half the squared error by default. What is
            left after the first axis is summed.
    """

    def score(output: Any) -> Tensor:
        values = logits(output)
        answer = target.to(values.device, values.dtype if loss is None or target.is_floating_point() else target.dtype)
        if loss is None and answer.shape != values.shape:
            raise OptionError(f"the target has shape {tuple(answer.shape)}, the output {tuple(values.shape)}")
        with in_words("the loss", OptionError):
            losses = 0.5 * (values - answer) ** 2 if loss is None else loss(values, answer)
        if not isinstance(losses, Tensor):
            raise OptionError(f"the loss must return a tensor (B, ...); it returns {type(losses).__name__}")
        if losses.ndim == 0:
            raise OptionError("the loss must not be reduced over the batch: use reduction='none'")
        if losses.numel() > values.numel():  # (B, 1) against (B,) is silently made (B, B)
            raise OptionError(
                f"the loss of output {tuple(values.shape)} and target {tuple(answer.shape)} mixes samples"
            )
        return -losses.flatten(1).sum(1) if losses.ndim > 1 else -losses

    return score
