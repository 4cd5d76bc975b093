"""explain_regression(): stream a video through a regressor, and lay the map of every score on the source's frames."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from vidcam.attribution.capture import Captured, Score, capture
from vidcam.attribution.features import FEATURES
from vidcam.attribution.layers import named_parts
from vidcam.attribution.scores import logits, negative_loss
from vidcam.data.drives.drive import Drive, open_drive
from vidcam.data.drives.trajectory import chained
from vidcam.data.sampling import Window
from vidcam.errors import MediaError, OptionError, TargetError
from vidcam.explaining.explanation import LOSS, RegressionExplanation, score_index, shown
from vidcam.explaining.mapping import blend
from vidcam.explaining.notes import notes, on_source
from vidcam.explaining.plan import Plan, make_plan
from vidcam.explaining.windows import Sample, Stream
from vidcam.media import Video, open_video
from vidcam.models.model import Model
from vidcam.models.sfmlearner.motion import camera_poses, chosen_steps
from vidcam.types import Floats, Progress

WEAK = 0.01
"""A gradient so small, as a share of the sequence's large ones (the 95th percentile), vanishes."""
POWERLESS = 1e-4
"""A loss of which the whole layer moves so small a share, to first order, has a gradient that vanishes."""
PERFECT = 1e-6
"""A loss that is so small a share of what knowing nothing costs has a gradient that vanishes, too."""
DEPTH_WIDTH = 104
"""Columns of the depth that is kept per frame."""

Loss = Callable[[Tensor, Tensor], Tensor]
Group = Sequence[Window[Sample]]


def explain_regression(
    model: Model,
    source: str | Path | Drive,
    *,
    target: str | None = None,
    layer: str | None = None,
    method: str = "grad_cam",
    pooling: str = "slot",
    placement: tuple[str, str] = ("linear", "linear"),
    truth: npt.ArrayLike | None = None,
    loss: Loss | None = None,
    signed: bool = False,
    batch: int | None = None,
    backend: str = "auto",
    progress: Progress | None = None,
) -> RegressionExplanation:
    """Explain what a regressor says of a video: a map per frame of the source, for each of its scores.

    A layer without time (`layout="b c h w"`), as in networks that stack their frames, gives one map per window, which
    is laid on the window's middle frame; the window then moves by one frame, and the first and last frames show the map
    of the nearest frame that is in the middle of a window. Other layers are placed in time as `explain` does.

    The map of minus the loss vanishes as the fit becomes perfect: frames whose gradient is too small to mean anything
    are marked in `vanishing` and have no heat, and the loss and the gradient's size stand beside the map.

    Args:
        model: a regressor: `load_model("sfmlearner", ...)`, or `Model(net, layer=..., scores=components("steering"))`
            around any network. It is left as it was found.
        source: a video, a folder of frames, or for networks that see motion a KITTI sequence, or what `open_drive`
            returns; those take the camera's intrinsics from there.
        target: the score whose heat is shown, a name of `model.scores` or "loss"; None takes the loss where there is
            one, or else the first score. `RegressionExplanation.of` shows another without running the network.
        layer: where to look; None takes the model's own.
        method: a name of `vidcam.attribution.methods.METHODS`.
        pooling: whether channel weights are means over each "slot" or over the whole "clip".
        placement: how the layer's slots are laid on time, and its cells on space.
        truth: (F, ...) the right answer for every frame of the source; then "loss" is one of the scores.
        loss: `(output, truth) -> (B, ...)`, unreduced; half the squared error by default.
        signed: whether heat keeps what lowers the score, below zero.
        batch: windows per forward pass; by default 1 on a CPU and 8 on a GPU.
        backend: which reader decodes, see `vidcam.media`.
        progress: called after every frame that was read.

    Raises:
        MediaError: the source cannot be read, or is shorter than what a network of stacked frames sees at once.
        LayerError: a layer does not exist or does not influence the score.
        TargetError: no such score.
        OptionError: no such method, pooling or placement, or a truth that does not fit.
    """
    drive = _drive(model, source)
    model = _seeing(model, drive)
    answers = None if truth is None else _checked(truth, whole=loss is not None)
    if answers is not None and LOSS in model.scores:
        raise OptionError(f"{model.name} has a loss of its own; give no truth")
    if signed and method in FEATURES:
        raise OptionError(f"method {method!r} looks at no score, so its map has no sign; leave signed out")
    names = [*([] if answers is None else [LOSS]), *model.scores]
    index = _index(target, names, model)
    plan = make_plan(model, method=method, layer=layer, pooling=pooling, when=None, placement=placement)
    with _opened(source, drive, backend) as video:
        stream = Stream(video, model, None, batch, progress)
        run = _Run(plan, names, answers, loss, alone=_settle(plan, stream))
        with closing(iter(stream)) as groups:
            for group in groups:
                run.add(group)
        run.finish(stream, index)
        return _assemble(run, stream, drive, index, signed=signed)


@dataclass
class _Run:
    """What the windows gave; everything is known by the window's first sample."""

    plan: Plan
    names: Sequence[str]
    answers: Tensor | None
    loss: Loss | None
    alone: bool
    """Whether a window tells of its middle frame alone."""
    maps: list[dict[int, Floats]] = field(default_factory=list)
    """Per score and window: (T, h, w), or (1, h, w) if alone."""
    numbers: dict[int, Floats] = field(default_factory=dict)
    """(4, K) value, gradient, pull and reference of every score, per window."""
    frames: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The source's frame of every slot that is kept, per window."""
    samples: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The source's frame of every sample, per window."""
    poses: list[Floats] = field(default_factory=list)
    depth: dict[int, Floats] = field(default_factory=dict)
    padding: int = 0
    _last: tuple[Tensor, dict[str, Score]] | None = None

    def add(self, group: Group) -> None:
        """Run some windows in one forward and keep what they give."""
        model, scores = self.plan.model, self._scores(group)
        x = model.batch([[item.pixels for item in window.items] for window in group])
        captured = capture(model.net, x, layers=self.plan.layers, scores=list(scores.values()))
        self.maps = self.maps or [{} for _ in scores]
        for window in group:
            self._note(window)
        for which, score in enumerate(scores.values()):
            heat, _ = self.plan.lay(captured, x, score, which=which, signed=True)
            for window, own in zip(group, heat, strict=True):
                self.maps[which][window.start] = own[_middle(own)] if self.alone else own
        for window, own in zip(group, self._measure(captured, x, scores), strict=True):
            self.numbers[window.start] = own
        self._keep_motion(captured.output, group)
        self._last = x, scores

    def finish(self, stream: Stream, target: int) -> None:
        """Check what only the whole source can tell."""
        if self.answers is not None and len(self.answers) != len(stream.seconds):
            raise OptionError(f"truth has {len(self.answers)} rows, but the source has {len(stream.seconds)} frames")
        if self._last is not None and not np.stack([*self.numbers.values()])[:, 1, target].any():
            x, scores = self._last
            self.plan.refuse_blind_layer(self.plan.layer, x, scores[self.names[target]])

    def on_frames(self, parts: Mapping[int, Floats], seconds: Floats) -> Floats:
        """(T, ...) per window -> (F, ...): what overlaps is averaged, and the ends take the nearest."""
        return blend(parts, self.frames, seconds, nearest=self.plan.placement[0] == "nearest")

    def _note(self, window: Window[Sample]) -> None:
        indices = tuple(item.index for item in window.items)
        self.samples[window.start] = indices
        self.frames[window.start] = indices[_middle(indices)] if self.alone else indices
        self.padding = max(self.padding, window.padding)

    def _scores(self, group: Group) -> dict[str, Score]:
        scores = dict(self.plan.model.scores)
        if self.answers is None:
            return scores
        wanted = [window.items[len(window.items) // 2].index for window in group]
        if max(wanted) >= len(self.answers):
            raise OptionError(f"truth has {len(self.answers)} rows, but the source has more than {max(wanted)} frames")
        return {LOSS: _shaped(self.answers[wanted], self.loss), **scores}

    def _measure(self, captured: Captured, x: Tensor, scores: Mapping[str, Score]) -> Floats:
        """(B, 4, K): value, gradient, pull and reference of every score."""
        rows = []
        for which, (name, score) in enumerate(scores.items()):
            value = -captured.scores[which] if name == LOSS else captured.scores[which]
            reference = self._reference(name, score, captured, value)
            rows.append(torch.stack([value, *self.plan.forces(captured, x, which), reference], 1))
        measured: Floats = torch.stack(rows, 2).detach().cpu().double().numpy()
        return measured

    def _reference(self, name: str, score: Score, captured: Captured, value: Tensor) -> Tensor:
        """(B,) what the pull is compared with: the loss of an answer that knows nothing, or the loss; 0 for others."""
        if name != LOSS:
            return torch.zeros_like(value)
        if self.answers is None:
            return value.abs()
        output = logits(captured.output)
        if self.answers[:1].numel() != output[:1].numel():  # as class indices: no output is their mean
            return -score(torch.zeros_like(output))
        mean = self.answers.to(output).mean(0).reshape(1, *output.shape[1:]).expand_as(output)
        return -torch.minimum(score(mean), score(torch.zeros_like(output)))

    def _keep_motion(self, output: Any, group: Group) -> None:
        """Keep pose and depth from networks that tell them."""
        parts, frames = named_parts(output), self.plan.model.frames
        pose, disparity = parts.get("pose"), parts.get("disparity")
        if isinstance(pose, Tensor) and frames > 1 and pose.shape[1:] == (frames - 1, 6):
            self.poses += [*pose.detach().cpu().double().numpy()]
        if isinstance(disparity, Tensor) and disparity.ndim == 4 and disparity.shape[1] == 1 and (disparity > 0).all():
            depth = 1 / disparity.detach().float()
            height, width = depth.shape[-2:]
            size = (
                (max(1, round(height * DEPTH_WIDTH / width)), DEPTH_WIDTH) if width > DEPTH_WIDTH else (height, width)
            )
            small = adaptive_avg_pool2d(depth, size).cpu().numpy().astype(np.float32)
            self.depth |= {window.start: own for window, own in zip(group, small, strict=True)}


def _drive(model: Model, source: str | Path | Drive) -> Drive | None:
    """Read what else there is beside the frames, for networks that see motion."""
    if not isinstance(model, Model):
        raise OptionError(
            "explain_regression needs a vidcam.Model, as load_model returns or vidcam.Model(net, layer=..., "
            f"scores=components(...)); given {type(model).__name__}"
        )
    if isinstance(source, Drive):
        return source
    return open_drive(source) if hasattr(model.net, "seeing") else None


def _seeing(model: Model, drive: Drive | None) -> Model:
    """Give a network that needs the camera's intrinsics those of the source; without them it has no loss."""
    if drive is None or not hasattr(model.net, "seeing"):
        return model
    if drive.intrinsics is None or model.net.disp is None:
        return replace(model, scores={name: score for name, score in model.scores.items() if name != LOSS})
    height, width = model.preprocessing.resized(drive.height, drive.width)
    bound: Any = model.net.seeing
    return replace(model, net=bound(drive.intrinsics_at(height, width)))


def _opened(source: str | Path | Drive, drive: Drive | None, backend: str) -> Video:
    if drive is None:
        assert not isinstance(source, Drive)
        return open_video(source, backend=backend)
    # a video file knows its own rate
    return open_video(drive.source, backend=backend, rate=drive.rate if drive.source.is_dir() else None)


def _checked(truth: npt.ArrayLike, *, whole: bool) -> Tensor:
    """Return the truth as a tensor; whole numbers stay so if asked for, as losses of classes take them."""
    try:
        values = truth.detach().cpu() if isinstance(truth, Tensor) else torch.from_numpy(np.array(truth))
    except (TypeError, ValueError, RuntimeError):
        raise OptionError("truth must be (F, ...) numbers, a row per frame of the source") from None
    if values.ndim == 0 or values.is_complex() or not values.isfinite().all():
        raise OptionError("truth must be (F, ...) finite numbers, a row per frame of the source")
    return values if values.is_floating_point() or whole else values.float()


def _index(target: str | None, names: Sequence[str], model: Model) -> int:
    """Find a score by its name; the loss comes first."""
    if not names:
        raise TargetError(f"{model.name} has no scores to explain: give Model(scores=components(...)) or truth=")
    if target is None:
        return names.index(LOSS) if LOSS in names else 0
    if target == LOSS and LOSS not in names:
        sees = hasattr(model.net, "seeing")
        lacks = "truth=" if not sees else "the camera's intrinsics" if model.net.disp is not None else "disp="
        raise TargetError(f"there is no loss to explain: it needs {lacks}; possible: {', '.join(names)}")
    return score_index(target, names)


def _settle(plan: Plan, stream: Stream) -> bool:
    """Learn from a first window whether the layer knows time; if not, let the window move frame by frame."""
    with closing(iter(stream)) as groups:
        group = next(groups, None)
    if group is None:
        return False
    x = plan.model.batch([[item.pixels for item in window.items] for window in group[:1]])
    plan.settle_layouts(capture(plan.model.net, x, layers=plan.layers), x)
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


def _middle(items: Sequence[Any] | Floats) -> slice:
    return slice(len(items) // 2, len(items) // 2 + 1)


def _shaped(rows: Tensor, loss: Loss | None) -> Score:
    """Return minus the loss; the truth takes the output's shape where it has as many numbers."""

    def score(output: Any) -> Tensor:
        values = logits(output)
        answer = rows.reshape(values.shape) if rows.numel() == values.numel() else rows
        return negative_loss(answer, loss)(values)

    return score


def _assemble(run: _Run, stream: Stream, drive: Drive | None, target: int, *, signed: bool) -> RegressionExplanation:
    """Lay everything on the source's frames."""
    seconds, starts = np.array(stream.seconds), sorted(run.numbers)
    maps = np.stack([run.on_frames(own, seconds) for own in run.maps]).astype(np.float32)
    numbers = run.on_frames(
        {start: np.repeat(own[None], len(run.frames[start]), 0) for start, own in run.numbers.items()}, seconds
    )  # (F, 4, K)
    vanishing = _vanishing(*np.moveaxis(numbers, 0, 2))
    if run.plan.method in FEATURES:  # they rest on no gradient
        vanishing[:] = False
    found = RegressionExplanation(
        **on_source(run.plan, stream, [run.samples[start] for start in starts]),
        heat=shown(maps[target], vanishing[target], signed=signed),
        probabilities=np.stack([run.numbers[start][0] for start in starts]),
        target=target,
        labels=tuple(run.names),
        units=tuple(run.plan.model.units.get(name, "") for name in run.names),
        maps=maps,
        gradients=numbers[:, 1].T,
        vanishing=vanishing,
        outputs=numbers[:, 0],
        signed=signed,
        poses=_trajectory(run, len(seconds)),
        true_poses=None if drive is None or drive.trajectory is None else drive.trajectory.poses,
        depth=run.on_frames(run.depth, seconds).astype(np.float32) if run.depth else None,
        notes=(*stream.video.notes, *notes(run.plan, stream, run.padding), *_notes(run, len(seconds))),
    )
    return replace(found, notes=(*found.notes, *found.score_notes))


def _vanishing(values: Floats, gradients: Floats, pulls: Floats, references: Floats) -> npt.NDArray[np.bool_]:
    """(K, F) each: tell where a gradient is too small for its map to mean anything."""
    usual, reference = np.percentile(gradients, 95, axis=1, keepdims=True), references.mean(axis=1, keepdims=True)
    perfect = (reference > 0) & (values <= PERFECT * reference)
    gone: npt.NDArray[np.bool_] = (gradients <= WEAK * usual) | (pulls < POWERLESS * reference) | perfect
    return gone


def _trajectory(run: _Run, frames: int) -> Floats | None:
    """(F, 4, 4) the camera's way, from networks that tell its motion and stack their frames."""
    if not run.poses or not run.alone:
        return None
    snippets = camera_poses(np.stack(run.poses), rotation=getattr(run.plan.model.net, "rotation", "euler"))
    poses = chained(chosen_steps(snippets)).poses
    return poses if len(poses) == frames else None  # where the network's frames are not the source's


def _notes(run: _Run, frames: int) -> Iterator[str]:
    """Say what a reader of a regression's pictures must know, whatever the score."""
    model, known = run.plan.model, sorted({index for own in run.frames.values() for index in own})
    if run.alone and model.frames > 1:
        yield (
            f"the network stacks {model.frames} frames; the map lies on number {model.frames // 2 + 1} of them. The "
            f"first {known[0]} and last {frames - 1 - known[-1]} frames show the map of the nearest frame that has one"
        )
        if any(len(set(own)) < len(own) for own in run.samples.values()):
            yield "at the network's frame rate, frames of the source are repeated: what it says of motion is too little"
    if len(known) < known[-1] - known[0] + 1:
        yield f"the network saw {len(known)} of {frames} frames; what is said of the others is interpolated"
    if run.answers is not None and not run.alone and model.frames > 1:
        yield "the loss of a window is against the truth of its middle frame"
    yield from getattr(model.net, "notes", ())
