"""explain(): stream a video through a network, window by window, and lay the heat on the source's frames."""

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy.typing as npt
import torch

from vidcam.attribution.capturing import capture
from vidcam.attribution.failures import of_memory
from vidcam.attribution.question import Question
from vidcam.data.drives.drive import Drive
from vidcam.errors import MediaError, ModelError, OptionError
from vidcam.explaining.assembly import assemble
from vidcam.explaining.choices import AUTO, Choices
from vidcam.explaining.explanation import LOSS, Explanation
from vidcam.explaining.gathering import Gathered
from vidcam.explaining.plan import Plan, make_plan
from vidcam.explaining.targets import Key, Loss, Target, Targets, find_targets, leaders, shares
from vidcam.explaining.windows import Group, Stream
from vidcam.models.feeding import fed
from vidcam.models.model import Model
from vidcam.models.source import Source
from vidcam.options import takes
from vidcam.types import Floats, Progress


@takes(Choices)
def explain(
    model: Model,
    source: str | Path | Drive | Source[Model],
    *,
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

    The map of minus the loss vanishes as the fit becomes perfect: frames whose gradient is too small to mean anything
    are marked in `vanishing` and have no heat, and the loss and the gradient's size stand beside the map.

    Args:
        model: from `load_model`, or `Model(net, layer=...)` around any network. It is left as it was found.
        source: a video file, an animated GIF or WebP, or a folder of frames; for networks that see motion a KITTI
            sequence, or what `open_drive` or `Model.open` returns.
        target: a class's index or name, the name of a score, a function `output -> (B,)` of one's own, or several of
            these, the one that is shown first. None takes the likeliest class by its mean probability over the video;
            of a regressor the loss where there is one, or else the first score.
        classes: without a target, how many of the likeliest classes are explained.
        truth: (F, ...) a regressor's right answer for every frame of the source; then "loss" is one of the scores.
        loss: `(output, truth) -> (B, ...)`, unreduced; half the squared error by default.
        signed: whether the heat of a regressor keeps what lowers the score, below zero.
        progress: called after every frame that was read.

    Raises:
        MediaError: the source cannot be read, or is shorter than what a network of stacked frames sees at once.
        LayerError: a layer does not exist or does not influence the score.
        TargetError: no such class or score.
        OptionError: no such method, pooling or placement, or a truth that does not fit.
    """
    opened = _open(model, source)
    targets = find_targets(opened, target, classes, truth, loss)
    if targets.of_classes and signed:
        raise OptionError(f"signed is for regressors, and {model.name} is a classifier")
    if not targets.of_classes:
        _refuse_choices_of_classes(model, choices)
        choices = replace(choices, when=None)
    plan = make_plan(opened.model, choices)
    if signed and not plan.method.uses_score:
        raise OptionError(f"method {plan.method.name!r} looks at no score, so its map has no sign; leave signed out")
    targets = replace(targets, one_by_one=plan.method.forwards > 0)
    with opened.video(choices.backend) as video:
        stream = Stream(video, opened.model, choices.hop_seconds, choices.batch, progress)
        gathered = Gathered(alone=not targets.of_classes and _settle(plan, stream))
        run = _Run(plan, targets, gathered, may_halve=choices.batch is None)
        run.all_windows(stream)
        return assemble(plan, stream, opened, run.targets, run.gathered, shown=run.shown, signed=signed)


def _open(model: Model, source: str | Path | Drive | Source[Model]) -> Source[Model]:
    if not isinstance(model, Model):
        given = type(model).__name__
        raise OptionError(
            f"explain needs a vidcam.Model, as load_model returns or vidcam.Model(net, layer=...); given {given}"
        )
    return model.open(source)


def _refuse_choices_of_classes(model: Model, choices: Choices) -> None:
    for name, given in (("when", choices.when not in (AUTO, None)), ("hop_seconds", choices.hop_seconds is not None)):
        if given:
            raise OptionError(f"{name} is for classifiers; {model.name} is a regressor, explained frame by frame")


def _settle(plan: Plan, stream: Stream) -> bool:
    """Learn from a first window whether the layer knows time; if not, let the window move frame by frame."""
    with closing(iter(stream)) as groups:
        group = next(groups, None)
    if group is None:
        return False
    x = plan.model.batch([[item.pixels for item in window.items] for window in group[:1]])
    with fed(plan.model, x):
        plan.settle_readings(capture(plan.model.net, x, layers=plan.layers), x)
    if plan.has_time:
        return False
    if group[0].padding:
        frames = plan.model.frames
        raise MediaError(
            f"{stream.video.info.path} has {frames - group[0].padding} frames, fewer than the {frames} that "
            f"{plan.model.name} sees at once"
        )
    stream.hop = 1
    return True


class _Run:
    """The windows of a video, one group after the other, and what they gave."""

    def __init__(self, plan: Plan, targets: Targets, gathered: Gathered, *, may_halve: bool) -> None:
        self.plan, self.targets, self.gathered, self.may_halve = plan, targets, gathered, may_halve
        self._room: int | None = None
        """How many windows there is memory for, once there was not enough."""
        self._last: Question | None = None
        """The last question about a regressor's shown score."""

    @property
    def shown(self) -> Key:
        """What is shown first: what was asked for, or the likeliest class."""
        return self.targets.wanted[0] if self.targets.wanted else self._winners()[0]

    def all_windows(self, stream: Stream) -> None:
        """Run every window, and again those in which the final winners did not lead yet."""
        self._windows(stream)
        if not self.targets.keys:
            self.targets = replace(self.targets, wanted=tuple(self._winners()))
            missing = {start for key in self.targets.keys for start in self.gathered.missing(key)}
            if missing:
                self._windows(stream, only=missing)
        if self._last is not None and not self.gathered.moves(self.shown):
            self.plan.refuse_blind_layer(self._last)

    def _winners(self) -> list[int]:
        return leaders(self.gathered.votes, self.targets.likeliest)

    def _windows(self, stream: Stream, only: Collection[int] | None = None) -> None:
        with closing(iter(stream)) as groups:  # its thread ends here, also after an exception
            for group in groups:
                group = [window for window in group if only is None or window.start in only]
                step = self._room or len(group)
                for start in range(0, len(group), step or 1):
                    self._within_memory(group[start : start + step])

    def _within_memory(self, group: Group) -> None:
        """Run windows, by halves where the batch was not the user's choice and there is no memory for all of them."""
        try:
            return self._group(group)
        except (RuntimeError, MemoryError) as error:
            if not of_memory(error):
                raise
        # behind the except: until then the error's traceback holds what the forward had made
        if len(group) == 1 or not self.may_halve:
            model = self.plan.model
            raise ModelError(
                f"{model.device} has no memory for {model.name} on {len(group)} window(s) of {model.frames} frames; "
                "a smaller batch=, smaller frames (preprocessing), a later layer, when=None or another device help"
            )
        self._room = -(-len(group) // 2)
        for start in range(0, len(group), self._room):
            self._within_memory(group[start : start + self._room])

    def _group(self, group: Group) -> None:
        """Run some windows in one forward and keep what they give."""
        model, classifies, is_first = self.plan.model, self.targets.of_classes, not self.gathered.samples
        x = model.batch([[item.pixels for item in window.items] for window in group])
        asked = self.targets.scores([window.items[len(window.items) // 2].index for window in group])
        chosen: list[int] = []
        with fed(model, x):
            captured = self.plan.capture(x, [*asked.values()] or self.targets.leading(self.gathered.votes, chosen))
        self.gathered.note(group)
        if classifies:
            self.gathered.keep_probabilities(group, shares(model, captured.output, self.plan.ending))
        for which, (key, score) in enumerate((asked or {key: model.class_score(key) for key in chosen}).items()):
            question = self.plan.ask(captured, x, score, which)
            heat = self.plan.heat(question, signed=not classifies)
            if is_first and classifies and self.plan.method.uses_gradient and question.is_blind:
                self.plan.refuse_blind_layer(question)
            if not classifies and key == self.shown and self.plan.method.uses_gradient:
                self._last = question
            self.gathered.keep(key, group, heat, self._numbers(key, question))
        self.gathered.keep_extras(model, group, captured.output)

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
