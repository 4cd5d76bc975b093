"""explain(): stream a video through a network, window by window, and lay the heat on the source's frames."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vidcam.attribution.capturing import Captured, Score, capture
from vidcam.attribution.question import Question
from vidcam.attribution.state import Standing
from vidcam.attribution.steps import EachStep
from vidcam.errors import MediaError, OptionError
from vidcam.explaining.assembly import assemble
from vidcam.explaining.choices import AUTO, Choices
from vidcam.explaining.explanation import LOSS, Explanation
from vidcam.explaining.gathering import Gathered
from vidcam.explaining.memory import Room
from vidcam.explaining.plan import Plan, make_plan
from vidcam.explaining.targets import Key, Loss, Target, Targets, answers, find_targets, leaders
from vidcam.explaining.windows import Group, Stream
from vidcam.models.carrying import begun, go_on
from vidcam.models.feeding import fed
from vidcam.models.model import Model
from vidcam.models.source import Source
from vidcam.options import takes
from vidcam.types import Floats, Progress


@takes(Choices)
def explain(
    model: Model,
    source: object,
    *,
    rate: Fraction | float | None = None,
    target: Target | Sequence[Target] = None,
    classes: int = 1,
    truth: npt.ArrayLike | None = None,
    loss: Loss | None = None,
    signed: bool = False,
    choices: Choices,
    progress: Progress | None = None,
) -> Explanation:
    """Explain what a network says of a video: heat for every frame of the source.

    The video is streamed through overlapping windows at the network's own frame rate; memory does not grow with its
    length, but for the heat itself. All targets are explained in the same forwards; `Explanation.of` switches.

    Of a classifier without a target, the classes that lead so far are explained on the way, and only the windows from
    before the final winners led are run again. Of a regressor, a model with `scores`, all scores are explained at once;
    where the method runs the network anew for each (`Method.forwards`), only those that are asked for. A layer of a
    regressor that knows no time, as in networks that stack their frames, gives one map per window, which is laid on the
    window's middle frame; the window then moves by one frame, and the first and last frames show the map of the nearest
    frame that is in the middle of a window.

    A network that carries a state, see `Model(state=...)`, goes through windows one by one, which do not overlap; the
    state that it stood in is put back.

    Of a network that answers at each time step, (B, T, K) or (B, T), each frame's heat is that of the score at its own
    step, T backwards for each window, and `extras["answers"]` are its probabilities (F, K); a target at a time,
    `At("wave", seconds=1.2)` or "wave@1.2", shows what the answer at that time was made from. See
    `Model(answer_layout=...)`.

    The map of minus the loss vanishes as the fit becomes perfect: frames whose gradient is too small to mean anything
    are marked in `vanishing` and have no heat, and the loss and the gradient's size stand beside the map.

    Args:
        model: from `load_model`, or `Model(net, layer=...)` around any network. It is left as it was found.
        source: a video file, an animated GIF or WebP, a folder of frames, or frames in memory, see `open_video`; for
            networks that see motion a KITTI sequence, or what `open_drive` or `Model.open` returns.
        rate: frames per second of frames in memory, or of a folder's.
        target: a class's index or name, the name of a score, a function `output -> (B,)` of one's own, one of these at
            a time, or several of them, the one that is shown first. None takes the likeliest class by its mean
            probability over the video; of a regressor the loss where there is one, or else the first score.
        classes: without a target, how many of the likeliest classes are explained.
        truth: (F, ...) a regressor's right answer for every frame of the source; then "loss" is one of the scores.
        loss: `(output, truth) -> (B, ...)`, unreduced; half the squared error by default.
        signed: whether the heat of a regressor keeps what lowers the score, below zero.
        progress: called after every frame that was read.

    Raises:
        MediaError: the source cannot be read, or is shorter than what a network of stacked frames sees at once.
        LayerError: a layer does not exist or does not influence the score.
        TargetError: no such class or score.
        ModelError: the network answers otherwise once it was called, and its model says of no state.
        OptionError: no such method, pooling or placement, or a truth that does not fit.
    """
    asked = find_targets(opened := _open(model, source, rate), target, classes, truth, loss)
    return explained(opened, asked, choices, signed=signed, progress=progress)


def explained(
    opened: Source[Model],
    targets: Targets,
    choices: Choices,
    *,
    signed: bool = False,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain targets that are settled; `batch` is how many windows go at once where the user did not choose."""
    model = opened.model
    if targets.of_classes and signed:
        raise OptionError(f"signed is for regressors, and {model.name} is a classifier")
    if not targets.of_classes:
        _refuse_choices_of_classes(model, choices)
        choices = replace(choices, when=None)
    plan = make_plan(opened.model, choices)
    if signed and not plan.method.uses_score:
        raise OptionError(f"method {plan.method.name!r} looks at no score, so its map has no sign; leave signed out")
    targets = replace(targets, one_by_one=plan.method.forwards > 0)
    with begun(opened.model) as start, opened.video(choices.backend) as video:
        stream = Stream(video, model, choices.hop_seconds, choices.batch or batch, progress)
        chosen = choices.batch is not None
        room = Room(model, stream.batch, chosen=chosen, of="window", helps=("a later layer", "when=None"))
        gathered = Gathered(alone=not targets.of_classes and _settle(plan, stream, room))
        run = _Run(plan, targets, gathered, start, room, stream)
        run.all_windows()
        return assemble(plan, stream, opened, run.targets, run.gathered, shown=run.shown, signed=signed)


def _open(model: Model, source: object, rate: Fraction | float | None) -> Source[Model]:
    if not isinstance(model, Model):
        given = type(model).__name__
        raise OptionError(
            f"explain needs a vidcam.Model, as load_model returns or vidcam.Model(net, layer=...); given {given}"
        )
    return model.open(source, rate=rate)


def _refuse_choices_of_classes(model: Model, choices: Choices) -> None:
    for name, given in (("when", choices.when not in (AUTO, None)), ("hop_seconds", choices.hop_seconds is not None)):
        if given:
            raise OptionError(f"{name} is for classifiers; {model.name} is a regressor, explained frame by frame")


def _settle(plan: Plan, stream: Stream, room: Room) -> bool:
    """Learn from a first window whether the layer knows time; if not, let the window move frame by frame."""
    with closing(iter(stream)) as groups:
        group = next(groups, None)
    if group is None:
        return False

    def settle(part: Group) -> None:
        x = plan.model.batch([[item.pixels for item in window.items] for window in part])
        with fed(plan.model, x):
            plan.settle_readings(capture(plan.model.net, x, layers=plan.layers), x)

    room.run(group[:1], settle)
    if plan.has_time or stream.is_spread:  # of a window of the whole video, no frame is the one that it tells of
        return False
    if group[0].padding:
        frames, info = plan.model.frames, stream.video.info
        raise MediaError(
            f"{info.name} has {frames - group[0].padding} frames, fewer than the {frames} that "
            f"{plan.model.name} sees at once"
        )
    stream.hop = 1
    return True


class _Run:
    """The windows of a video, one group after the other, and what they gave."""

    def __init__(
        self, plan: Plan, targets: Targets, gathered: Gathered, start: Standing, room: Room, stream: Stream
    ) -> None:
        self.plan, self.targets, self.gathered, self.room, self.stream = plan, targets, gathered, room, stream
        self.start = start
        """How the network's state began."""
        self._last: Question | None = None
        """The last question about a regressor's shown score."""

    @property
    def shown(self) -> Key:
        """What is shown first: what was asked for, or the likeliest class."""
        return self.targets.wanted[0] if self.targets.wanted else self._winners()[0]

    def all_windows(self) -> None:
        """Run every window, and again those in which the final winners did not lead yet."""
        self._windows()
        if not self.targets.keys:
            self.targets = replace(self.targets, wanted=tuple(self._winners()))
            missing = {start for key in self.targets.keys for start in self.gathered.missing(key)}
            if missing:
                self.start.put()
                self._windows(only=missing)
        if self._last is not None and not self.gathered.moves(self.shown):
            self.plan.refuse_blind_layer(self._last)

    def _winners(self) -> list[int]:
        return leaders(self.gathered.votes, self.targets.likeliest)

    def _windows(self, only: Collection[int] | None = None) -> None:
        with closing(iter(self.stream)) as groups:  # its thread ends here, also after an exception
            for group in groups:
                self._pass_by([window for window in group if only is not None and window.start not in only])
                self.room.run([window for window in group if only is None or window.start in only], self._group)

    def _pass_by(self, group: Group) -> None:
        """Let a state that is carried go through windows of which nothing is asked."""
        for window in group if self.plan.model.state == "carried" else ():
            x = self.plan.model.batch([[item.pixels for item in window.items]])
            go_on(self.plan.model, capture(self.plan.model.net, x, layers=(), gradients=False))

    def _group(self, group: Group) -> None:
        """Run some windows in one forward and keep what they give."""
        model, targets, is_first = self.plan.model, self.targets, not self.gathered.samples
        x = model.batch([[item.pixels for item in window.items] for window in group])
        places = self._places(group)
        asked = targets.scores([window.items[len(window.items) // 2].index for window in group], places)
        chosen: list[int] = []
        with fed(model, x):
            captured = self.plan.capture(
                x, [*asked.values()] if targets.keys else targets.leading(self.gathered.votes, chosen)
            )
        self.gathered.note(group)
        if targets.of_classes:
            with captured.inside():
                self.gathered.keep_probabilities(group, answers(model, captured.output, self.plan.ending))
        first = 0
        for key, score, count in zip(asked or chosen, self._scores(asked, chosen), captured.counts, strict=True):
            questions = self._questions(captured, x, score, range(first, first + count))
            self._explain(key, group, questions, places.get(str(key)), is_first=is_first)
            first += count
        with captured.inside():
            self.gathered.keep_extras(model, group, captured.output)
        go_on(model, captured)

    def _places(self, group: Group) -> dict[str, list[int | None]]:
        """Tell where in each window the time of each target at a time is."""
        seconds, rate = self.stream.seconds, self.stream.rate
        shown = [[item.index for item in window.items] for window in group]
        return {key: [at.place(own, seconds, rate) for own in shown] for key, (_, at) in self.targets.times.items()}

    def _scores(self, asked: Mapping[Key, Score | EachStep], chosen: Sequence[int]) -> list[Score | EachStep]:
        return [*asked.values()] or [self.targets.over_time(key) for key in chosen]

    def _questions(self, captured: Captured, x: Any, score: Score | EachStep, places: range) -> list[Question]:
        """Put the question of a score, over time one for each step."""
        if not isinstance(score, EachStep):
            return [self.plan.ask(captured, x, score, places[0])]
        return [self.plan.ask(captured, x, score.at(step), which) for step, which in enumerate(places)]

    def _explain(
        self,
        key: Key,
        group: Group,
        questions: Sequence[Question],
        places: Sequence[int | None] | None,
        *,
        is_first: bool,
    ) -> None:
        """Keep the heat and the numbers of a score, of those windows that hold its time."""
        plan, classifies = self.plan, self.targets.of_classes
        heat = plan.heat_over_time(questions, signed=not classifies)
        gradients = plan.method.uses_gradient
        if (is_first or places) and classifies and gradients and all(each.is_blind for each in questions):
            plan.refuse_blind_layer(questions[len(questions) // 2])
        if not classifies and key == self.shown and gradients:
            self._last = questions[len(questions) // 2]
        numbers = np.stack([self._numbers(key, each) for each in questions], 1)  # (B, n, 4)
        target = self.targets.times[str(key)][0] if places else None
        for row, window, place in zip(numbers, group, places or (), strict=False):
            if place is not None and isinstance(target, int):  # the value of a class is its probability
                row[0, 0] = self.gathered.answers[window.start][place, target]
        self.gathered.keep(key, group, heat, numbers, places)

    def _numbers(self, key: Key, question: Question) -> Floats:
        """(B, 4): value, size of the gradient, pull, and what the pull is compared with; see `Gathered.numbers`."""
        value = question.captured.scores[question.which]
        if key != LOSS or self.targets.of_classes:
            reference = torch.zeros_like(value)
        elif self.targets.truth is None:
            value, reference = -value, value.abs()
        else:
            value, output = -value, question.captured.output
            reference = self.targets.truth.of_knowing_nothing(output, question.score)
        numbers = torch.stack([value, *self.plan.forces(question), reference], 1)
        told: Floats = numbers.detach().cpu().double().numpy()
        return told
