"""Answering: what a model's answer is, what it says of each class, and at each time step if it has several."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vidcam.attribution.capturing import Score
from vidcam.attribution.endings import BeforeEnding
from vidcam.attribution.scores import Which, by_class, class_score, logits, probabilities
from vidcam.attribution.steps import OVER_TIME, EachStep, answer_layout, by_step
from vidcam.errors import ModelError


class Answering:
    """What a `Model` tells of its answer; its slots are declared there."""

    name: str
    labels: Sequence[str]
    scores: Mapping[str, Score]
    output: Which
    activation: str | None
    answer_layout: str | None
    frames: int

    def answer(self, output: Any) -> Tensor:
        """Return the tensor that holds the network's answer; an OptionError names those that may be it."""
        return logits(output, self.output, len(self.labels) or None)

    def steps_of(self, answer: Tensor) -> int | None:
        """Return how many time steps an answer tells of; None of one answer, where each window has but one."""
        layout = self._layout(answer)
        return answer.shape[layout.split().index("t")] if layout in OVER_TIME else None

    def steps_in(self, output: Any) -> int | None:
        """Return how many time steps an output's answer tells of; None where a regressor says of none."""
        unknown = self.scores and self.answer_layout is None
        return None if unknown else self.steps_of(self.answer(output))

    def class_score(self, target: int) -> BeforeEnding:
        """Return the score of a class, a function of the network's output; of one logit, class 0 is what it denies."""

        def of_answer(answer: Tensor) -> Tensor:
            if self.steps_of(answer) is None:
                return self.class_of(target, answer)
            raise ModelError(
                f"{self.name} answers at each time step, {tuple(answer.shape)}, and one answer per window is needed "
                "here; output= can make it, as lambda output: output.mean(1)"
            )

        return BeforeEnding(self.answer, of_answer)

    def class_steps(self, target: int) -> EachStep:
        """Return the score of a class, which tells a number per time step where the answer does."""
        return self.each_step(BeforeEnding(self.answer, partial(self.class_of, target)))

    def each_step(self, score: Score) -> EachStep:
        """Let a score tell a number per time step where the answer does."""
        return EachStep(score, self.steps_in)

    def probabilities(self, answer: Tensor, ending: str | None) -> Tensor:
        """(B, K) or (B,), what `answer` tells, -> (B, K) probabilities; one logit of two labels tells of both.

        Args:
            answer: what `answer` returned; if it tells of n time steps, (B, n, K) probabilities are returned.
            ending: what the network ends in, see `Captured.ending_of`, or None.

        Raises:
            ModelError: the answer is no number per class.
        """
        return self._of_classes(answer, lambda values: self._shares(values, ending))

    def class_of(self, target: int, answer: Tensor) -> Tensor:
        """Return the score of a class that an answer, or what went into its ending, tells: (B,), or (B, n) of steps."""

        def score(values: Tensor) -> Tensor:
            return class_score(target).score(torch.cat([-values, values], 1) if self._is_one_of_two(values) else values)

        return self._of_classes(answer, score)

    def _shares(self, values: Tensor, ending: str | None) -> Tensor:
        shares = probabilities(values, self.activation, ending)
        return torch.cat([1 - shares, shares], 1) if self._is_one_of_two(shares) else shares

    def _of_classes(self, answer: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply what reads (B, K) to an answer, to all of its time steps at once if it has several."""
        if self.steps_of(answer) is None:
            return read(self._by_class(answer))
        steps = by_step(answer, self._layout(answer))
        if steps.ndim != 3:
            raise ModelError(f"{self.name} answers (B, T), a signal, which has no classes; scores= are a regressor's")
        told = read(steps.flatten(0, 1))
        return told.reshape(*steps.shape[:2], *told.shape[1:])

    def _layout(self, answer: Tensor) -> str:
        classes = len(self.labels) or None
        try:
            return answer_layout(answer.shape, said=self.answer_layout, classes=classes, frames=self.frames)
        except ModelError as error:
            raise ModelError(f"{self.name} {error}") from None

    def _by_class(self, answer: Tensor) -> Tensor:
        values = by_class(answer) if len(self.labels) in (1, 2) else answer
        if values.ndim != 2:
            of_classes = answer.shape == (len(self.labels),)
            hint = "; its axis of samples is missing" if of_classes else "; scores= are a regressor's"
            raise ModelError(
                f"{self.name} must return (B, K), a number per class; it returns {tuple(answer.shape)}{hint}"
            )
        return values

    def _is_one_of_two(self, values: Tensor) -> bool:
        return values.shape[1:] == (1,) and len(self.labels) == 2
