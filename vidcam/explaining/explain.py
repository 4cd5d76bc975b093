"""explain(): stream a video through a network, window by window, and lay the heat on the source's frames."""

import operator
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from torch import Tensor

from vidcam.attribution.capture import capture
from vidcam.attribution.scores import class_score, logits, probabilities, target_index
from vidcam.data.sampling import Window
from vidcam.errors import ModelError, OptionError, TargetError
from vidcam.explaining.explanation import Explanation
from vidcam.explaining.mapping import blend
from vidcam.explaining.notes import notes, on_source
from vidcam.explaining.plan import AUTO, Plan, make_plan
from vidcam.explaining.regression import explain_regression
from vidcam.explaining.windows import Sample, Stream
from vidcam.media import open_video
from vidcam.models.model import Model
from vidcam.types import Floats, Progress


def explain(
    model: Model,
    source: str | Path,
    *,
    method: str = "grad_cam",
    target: int | str | None = None,
    layer: str | None = None,
    pooling: str = "slot",
    when: str | None = AUTO,
    placement: tuple[str, str] = ("linear", "linear"),
    hop_seconds: float | None = None,
    batch: int | None = None,
    backend: str = "auto",
    progress: Progress | None = None,
) -> Explanation:
    """Explain what a network says of a video: heat for every frame of the source.

    A regressor, a model with `scores`, is handed on to `vidcam.explain_regression`, which has more choices for it.

    The video is streamed through overlapping windows at the network's own frame rate; memory does not grow with its
    length, but for the heat itself. Without a target, the class that leads so far is explained on the way, and only
    the windows before the final winner led are run again.

    Args:
        model: from `load_model`, or `Model(net, layer=...)` around any network. It is left as it was found.
        source: a video file, an animated GIF, or a folder of frames.
        method: a name of `vidcam.attribution.methods.METHODS`.
        target: a class's index or name, or the name of a regressor's score; None takes the class with the highest mean
            probability over the video.
        layer: where to look; None takes the model's own.
        pooling: whether channel weights are means over each "slot" or over the whole "clip".
        when: an earlier layer, or "input", that tells when; None explains by `layer` alone, at the price of inference;
            "auto" takes the model's own.
        placement: how the layer's slots are laid on time, and its cells on space; see `vidcam.attribution.geometry`.
        hop_seconds: from one window to the next; half a window by default.
        batch: windows per forward pass; by default 1 on a CPU and 8 on a GPU.
        backend: which reader decodes, see `vidcam.media`.
        progress: called after every frame that was read.

    Raises:
        MediaError: the source cannot be read.
        LayerError: a layer does not exist or does not influence the score.
        TargetError: no such class.
        OptionError: no such method, pooling or placement.
    """
    if not isinstance(model, Model):
        given = type(model).__name__
        raise OptionError(
            f"explain needs a vidcam.Model, as load_model returns or vidcam.Model(net, layer=...); given {given}"
        )
    if model.scores:
        _refuse_choices_of_classes(model, target, when, hop_seconds)
        return explain_regression(
            model,
            source,
            target=None if target is None else str(target),
            layer=layer,
            method=method,
            pooling=pooling,
            placement=placement,
            batch=batch,
            backend=backend,
            progress=progress,
        )
    plan = make_plan(model, method=method, layer=layer, pooling=pooling, when=when, placement=placement)
    fixed = None if target is None else _early_index(target, model.labels)
    with open_video(source, backend=backend) as video:
        stream = Stream(video, model, hop_seconds, batch, progress)
        found = _Found()
        _explain_windows(plan, stream, found, fixed)
        winner = found.leader() if fixed is None else fixed
        missing = found.probabilities.keys() - found.heat[winner].keys()
        if missing:
            _explain_windows(plan, stream, found, winner, only=missing)
        return _assemble(plan, stream, found, winner)


FLAT = "the map is flat: nothing in the layer speaks for this class, so there is nothing to draw"


@dataclass
class _Found:
    """What the windows gave, each known by its first sample."""

    heat: defaultdict[int, dict[int, Floats]] = field(default_factory=lambda: defaultdict(dict))
    """Per target and window: (T, h, w)."""
    probabilities: dict[int, Floats] = field(default_factory=dict)
    """(K,) per window."""
    attention: dict[int, Floats] = field(default_factory=dict)
    """(T,) per window, from networks that have attention."""
    frames: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """(T,) the source's frame of every sample, per window."""
    padding: int = 0

    def leader(self, more: Sequence[Floats] = ()) -> int:
        """Return the class with the highest mean probability over all windows so far, and those."""
        return int(np.mean([*self.probabilities.values(), *more], axis=0).argmax())


def _explain_windows(
    plan: Plan, stream: Stream, found: _Found, target: int | None, only: Iterable[int] | None = None
) -> None:
    """Run every window, or only those, and keep what they give; without a target explain the class that leads."""
    wanted = None if only is None else set(only)
    with closing(iter(stream)) as groups:  # its thread ends here, also after an exception
        for group in groups:
            group = [window for window in group if wanted is None or window.start in wanted]
            if group:
                _explain_group(plan, found, group, target)


def _explain_group(plan: Plan, found: _Found, group: Sequence[Window[Sample]], target: int | None) -> None:
    """Run some windows in one forward and keep what they give."""
    model = plan.model
    x = model.batch([[item.pixels for item in window.items] for window in group])
    chosen = [] if target is None else [target]

    def leading(output: Any) -> Tensor:
        """The score of the class that leads once this output is counted."""
        shares = _shares(model, output)
        if not chosen:
            chosen.append(found.leader(list(shares)))
        return class_score(chosen[0])(output)

    captured = capture(model.net, x, layers=plan.layers, scores=[leading])
    heat, zero = plan.lay(captured, x, class_score(chosen[0]))
    if zero and not found.probabilities:
        plan.refuse_blind_layer(plan.layer, x, class_score(chosen[0]))
    shares = _shares(model, captured.output)
    attention = None if model.attention is None else model.attention(captured.output).detach().cpu().float().numpy()
    for i, window in enumerate(group):
        found.heat[chosen[0]][window.start] = heat[i]
        found.probabilities[window.start] = shares[i]
        found.frames[window.start] = tuple(item.index for item in window.items)
        found.padding = max(found.padding, window.padding)
        if attention is not None:
            found.attention[window.start] = attention[i]


def _shares(model: Model, output: Any) -> Floats:
    """(B, K) probabilities, after a check that there are classes and as many labels."""
    values = logits(output)
    if values.ndim != 2:
        raise ModelError(f"{model.name} must return (B, K), a number per class; it returns {tuple(values.shape)}")
    shares: Floats = probabilities(output).detach().cpu().numpy()
    if not np.isfinite(shares).all():
        raise ModelError(f"{model.name} returns NaN or infinite numbers; check its weights and its input")
    if model.labels and len(model.labels) != shares.shape[1]:
        raise ModelError(f"{model.name} has {shares.shape[1]} classes, but {len(model.labels)} labels were given")
    return shares


def _assemble(plan: Plan, stream: Stream, found: _Found, target: int) -> Explanation:
    """Blend the windows and map everything back to the source."""
    seconds, starts = np.array(stream.seconds), sorted(found.probabilities)
    nearest = plan.placement[0] == "nearest"
    heat = blend(found.heat[target], found.frames, seconds, nearest=nearest).astype(np.float32)
    flat = [] if (heat > 0).any() else [FLAT]
    return Explanation(
        **on_source(plan, stream, [found.frames[start] for start in starts]),
        heat=heat,
        probabilities=np.stack([found.probabilities[s] for s in starts]),
        target=target,
        labels=tuple(plan.model.labels),
        attention=blend(found.attention, found.frames, seconds, nearest=nearest) if found.attention else None,
        notes=(*stream.video.notes, *notes(plan, stream, found.padding), *flat),
    )


def _refuse_choices_of_classes(model: Model, target: object, when: str | None, hop: float | None) -> None:
    if not isinstance(target, str | None):
        raise TargetError(f"{model.name} is a regressor: a target is the name of a score; given {target!r}")
    for name, given in (("when", when not in (AUTO, None)), ("hop_seconds", hop is not None)):
        if given:
            raise OptionError(f"{name} is for classifiers; {model.name} is a regressor, explained frame by frame")


def _early_index(target: int | str, labels: Sequence[str]) -> int:
    """Find the class before any network runs; without labels an index is checked by the first window."""
    if not isinstance(target, str | SupportsIndex):
        raise TargetError(f"a target is a class's index or name; given {target!r}")
    target = target if isinstance(target, str) else operator.index(target)
    if labels or not str(target).isdecimal():
        return target_index(target, labels)
    return int(target)
