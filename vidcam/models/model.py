"""Model: a network, how to feed it, which layer to explain, and how that layer's output reads."""

from __future__ import annotations

import hashlib
import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import Score
from vidcam.attribution.failures import in_words
from vidcam.attribution.geometry import Axis
from vidcam.attribution.layers import INPUT, Listed, find_layer, layer_name
from vidcam.attribution.orders import Orders
from vidcam.attribution.question import TokenGrid
from vidcam.attribution.scores import ACTIVATIONS, Which
from vidcam.attribution.steps import ANSWER_LAYOUTS, signal
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import OptionError, TargetError, unknown
from vidcam.models.answering import Answering
from vidcam.models.extra import Extra
from vidcam.models.inputs import INPUT_LAYOUTS, Input, arranged
from vidcam.models.sight import Sight
from vidcam.models.slots import check_kinds, check_time, pace
from vidcam.models.source import Source, video_source
from vidcam.models.state import Beginning, Reset, check_state, made_of
from vidcam.types import Pixels

PreparedClip = Sequence[Tensor | Mapping[str, Tensor]]
"""T frames as `Model.prepare` returns them."""


@dataclass
class Model(Sight, Answering):
    """A network and all that vidcam must know to explain it.

    Only `net` and `layer` are needed, for a network that takes (B, 3, T, H, W) in 0..1 and a layer whose output's
    layout can be told from its shape:

        model = Model(net, layer="layer4", frames=16, frame_rate=15, labels=["wave", "clap"])
        explanation = vidcam.explain(model, "clip.mp4")

    One of two pathways, which is called as `net(slow=..., fast=...)`:

        Model(net, "slow.res5", frames=32, inputs={"slow": Input(every=4), "fast": Input()}, sees={"fast": "fast"})

    Args:
        net: the network.
        layer: the layer to explain by default, a name as in `net.named_modules()`, or the module itself; of one that
            returns several tensors "rnn[0]" or "stage[slow]" names one.
        layout: einops pattern of the layers' outputs, as "b c t h w", "b t h w c" or "b (t h w) c"; None tells it by
            shape.
        frames: T, frames of one forward pass; 1 of image networks, which see each frame by itself.
        frame_rate: frames per second that the network was trained on; None takes every frame of the source.
        preprocessing: from a frame of the source to one of the network's; of several inputs it is the first one's.
        labels: names of the classes.
        when: an earlier layer with finer time that tells when (where and when come from two layers).
        input_layout: what the network takes: "b c t h w", "b t c h w", or "b c h w" for single pictures.
        grid: (t, h, w) of a layer that returns tokens, or a function of their number.
        axes: known geometry per layer; what is not known is measured when it is needed.
        attention: the network's output -> (B, T), its attention over the frames, if it has any.
        name: what the model is called.
        weights: where the weights came from.
        options: what the network was built with, so that a checkpoint can rebuild it.
        scores: what a regressor can be explained by: names of scores, such as "speed", and `output -> (B,)`, or (B, n)
            if its `answer_layout` has n time steps; empty: classes.
        units: the scores' units, where they have some.
        inputs: several named inputs, given to the network as keyword arguments; empty: one tensor, by `preprocessing`.
        sees: which of several inputs a layer's geometry is measured against: prefixes of layers' names and inputs'
            names. The longest prefix counts; all other layers are measured against the first input.
        as_list: whether several inputs are given as one list, in their order, as SlowFast takes its two pathways.
        opener: `(model, source, **choices) -> Source`, for sources that are more than a video; its keyword arguments
            are the choices. None: a source is a video.
        extras: what else the network tells, by name, beside its answer and its `attention`.
        notes: what a reader of its explanations must know.
        output: which part of what the network returns is its answer: a key or field, an index, or a function `output ->
            tensor`; None looks for the only tensor, the one called logits or the like, or the only one (B, K).
        activation: what makes probabilities of the answer: "softmax", "sigmoid" (several labels at once) or "none";
            None sees whether the network ends in one, gives one logit a sigmoid, and all else a softmax.
        answer_layout: how the answer reads: "b k", a number per class; "b t k" or "b k t", one per class and time step;
            "b t", a signal, whose score is then called so. Time steps are equal bins of the window's frames. None takes
            an answer of three axes for one per frame where only one reading fits.
        concluded: what `wrap` found of the network, and how, a line each.
        state: what becomes of what the network keeps from one call to the next, as a hidden state or a memory:
            "carried" from window to window, in the order of the source; windows then do not overlap, and go through the
            network one by one. "fresh" begins anew with every window, of which `batch=` may take several. None: it
            keeps nothing that its answers depend on; a network that does is refused.
        reset: how the state begins: a method of the network by its name, as "reset", or a function of the network; None
            begins as the network stood when the model was made.
        sampling: "windows" of frames that follow each other at the frame rate, or "spread": one window for the whole
            video, of the middles of equal segments of its time, as of TSN, LRCN and networks for Something-Something.
        clips: of "spread", how many such windows, which interleave and all vote, as VideoMAE is tested on
            Something-Something: number i of n looks (i + 1/2) / n into each segment; all together are spread evenly.

    Raises:
        LayerError: there is no such layer.
        OptionError: a slot that does not fit.
        TargetError: labels that are not distinct.
    """

    net: nn.Module
    layer: str
    layout: str | None = None
    frames: int = 16
    frame_rate: float | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    labels: Sequence[str] = ()
    when: str | None = None
    input_layout: str = "b c t h w"
    grid: TokenGrid | None = None
    axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    attention: Callable[[Any], Tensor] | None = None
    name: str = "custom"
    weights: str = "custom"
    options: dict[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    sees: Mapping[str, str] = field(default_factory=dict)
    as_list: bool = False
    opener: Callable[..., Source[Model]] | None = None
    extras: Mapping[str, Extra] = field(default_factory=dict)
    notes: Sequence[str] = ()
    output: Which = None
    activation: str | None = None
    answer_layout: str | None = None
    concluded: Sequence[str] = ()
    state: str | None = None
    reset: Reset = None
    sampling: str = "windows"
    clips: int = 1
    _made: Beginning | None = field(default=None, repr=False, compare=False)
    _idle: dict[str, bool] = field(init=False, default_factory=dict, repr=False, compare=False)
    """What the network keeps that makes no difference to its answers, and whether it goes on changing."""
    _measured: dict[tuple[str, str], tuple[Axis, ...]] = field(init=False, default_factory=dict, repr=False)
    _orders: Orders = field(init=False, default_factory=Orders, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.input_layout not in INPUT_LAYOUTS:
            raise OptionError(f"unknown input layout {self.input_layout!r}; possible: {', '.join(INPUT_LAYOUTS)}")
        check_time(self)
        if self.activation not in (None, *ACTIVATIONS):
            raise OptionError(unknown("activation", self.activation, ACTIVATIONS))
        if self.answer_layout not in (None, *ANSWER_LAYOUTS):
            raise OptionError(unknown("answer layout", self.answer_layout, ANSWER_LAYOUTS))
        if self.answer_layout == "b t" and not self.scores:
            self.scores = {"signal": signal if self.output is None else self.answer}
        check_state(self.net, self.state, self.reset)
        if self.state is not None and self.reset is None:
            self._made = made_of(self.net, self.device, self._made)
        self.layer = layer_name(self.net, self.layer)
        if self.layer != INPUT:
            find_layer(self.net, self.layer)
        self._check_inputs()
        if isinstance(self.labels, str):
            raise OptionError(f"labels must be a list of names; given the text {self.labels!r}")
        self.labels = tuple(self.labels)
        for label, times in Counter(self.labels).items():
            if times > 1:
                raise TargetError(f"the labels must differ; {label!r} comes {times} times")

    def _check_inputs(self) -> None:
        for prefix, name in self.sees.items():
            find_layer(self.net, prefix)
            if name not in self.inputs:
                raise OptionError(unknown("input", name, self.inputs))
        if strange := [name for name, given in self.inputs.items() if not isinstance(given, Input)]:
            kind = type(self.inputs[strange[0]]).__name__
            raise OptionError(f"input {strange[0]!r} must be a vidcam.Input; given {kind}")
        if not self.inputs:
            return
        first = next(iter(self.inputs.values())).preprocessing
        if self.preprocessing not in (Preprocessing(), first):
            raise OptionError("a network of several inputs has a preprocessing per input: Input(preprocessing=...)")
        self.preprocessing = first

    def __repr__(self) -> str:
        facts = [self.name, self.layer, _count(self.frames, "frame") + pace(self)]
        facts += [f"inputs {' and '.join(self.inputs)}"] if self.inputs else []
        if self.scores:
            facts.append(_count(len(self.scores), "score"))
        elif classes := len(self.labels) or self.options.get("classes"):
            facts.append(_count(classes, "class"))
        return f"Model({', '.join([*facts, f'weights {self.weights}'])})"

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in: that of its first floating point parameter."""
        return next((p.dtype for p in self.net.parameters() if p.is_floating_point()), torch.float32)

    @property
    def digest(self) -> str:
        """SHA-256 over the names and values of all parameters and buffers."""
        sha = hashlib.sha256()
        for name, value in sorted(self.net.state_dict().items()):
            if isinstance(value, Tensor):
                name = f"{name} {tuple(value.shape)} {value.dtype}"
            sha.update(name.encode())
            sha.update(_bytes(value))
        return sha.hexdigest()

    def to(self, device: str | torch.device) -> Model:
        """Move the network to a device; returns the same model."""
        self.net.to(device)
        return self

    @property
    def told(self) -> dict[str, Extra]:
        """All that the network tells beside its answer, its attention among it."""
        attention = {} if self.attention is None else {"attention": Extra(self.attention, per_frame=True)}
        return {**attention, **self.extras}

    def open(self, source: Any, **choices: Any) -> Source[Model]:
        """Open what the model is asked about; the model itself stays as it is.

        Args:
            source: what `open_video` takes, or what else the model's `opener` does; its own `Source` is returned as it
                is.
            choices: those that the opener takes, as `camera`, or `rate` where there is none; None is no choice.

        Raises:
            MediaError: the source cannot be read.
            OptionError: the model does not know a choice, or the source was opened by another one.
        """
        chosen = {name: value for name, value in choices.items() if value is not None}
        opener = None if isinstance(source, Source) else self.opener or video_source
        kinds = inspect.signature(opener).parameters.values() if opener else ()
        known = [kind.name for kind in kinds if kind.kind is kind.KEYWORD_ONLY]
        for name in chosen:
            if name not in known:
                takes = f"takes {', '.join(known)}" if known else "takes videos as they are"
                raise OptionError(f"{name}= is no choice of {self.name}, which {takes}")
        if isinstance(source, Source):
            if self is not source.model and self is not source.opened_by:
                raise OptionError(f"the source was opened by another model, {source.model.name}; give its path instead")
            return source
        opened = (opener or video_source)(self, source, **chosen)
        if not isinstance(opened, Source):
            raise OptionError(f"the opener must return a vidcam.Source; it returned {type(opened).__name__}")
        return replace(opened, opened_by=self)

    def prepare(self, pixels: Pixels) -> Tensor | dict[str, Tensor]:
        """Preprocess a frame (H, W, 3): (C, h, w), or one per input by name; an OptionError if it is anything else."""
        if not self.inputs:
            return _prepared(self.preprocessing, pixels)
        return {name: _prepared(given.preprocessing, pixels) for name, given in self.inputs.items()}

    def example(self) -> Any:
        """Return a window of noise, 112 pixels wide and high before it is preprocessed, as the network takes it."""
        pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
        return self.batch([[self.prepare(pixels)] * self.frames])

    def batch(self, clips: Sequence[PreparedClip]) -> Any:
        """Join B clips of T prepared frames to what the network takes, on the network's device.

        That is one tensor of `input_layout`, or such tensors by the names of the inputs: what `capture` takes.
        """
        if not self.inputs:
            return self._joined(Input(), clips)
        parts = {name: [[frame[name] for frame in clip] for clip in clips] for name in self.inputs}  # type: ignore[index]
        return self._named({name: self._joined(given, parts[name]) for name, given in self.inputs.items()})

    def arrange(self, clips: Tensor | Mapping[str, Tensor]) -> Tensor | dict[str, Tensor]:
        """Turn clips (B, C, T, H, W) of prepared frames, of several inputs by name, into what the network takes."""
        if isinstance(clips, Tensor):
            return arranged(clips, self.input_layout)
        parts = {name: list(own.transpose(1, 2)) for name, own in clips.items()}
        return self._named({name: self._joined(given, parts[name]) for name, given in self.inputs.items()})

    def _named(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return Listed(inputs) if self.as_list else inputs

    def _joined(self, given: Input, clips: Sequence[Any]) -> Tensor:
        stacked = torch.stack([given.clip(clip) for clip in clips]).transpose(1, 2)  # (B, C, T, H, W)
        return arranged(stacked, self.input_layout).contiguous().to(self.device, self.dtype)


def _prepared(preprocessing: Preprocessing, pixels: Pixels) -> Tensor:
    with in_words("the preprocessing", OptionError):
        frame = preprocessing(pixels)
    if not isinstance(frame, Tensor) or frame.ndim != 3 or not frame.is_floating_point():
        shape = f"{tuple(frame.shape)} of {frame.dtype}" if isinstance(frame, Tensor) else type(frame).__name__
        raise OptionError(f"the preprocessing must return a floating point tensor (C, h, w); it returned {shape}")
    return frame


def _bytes(value: Any) -> bytes:
    """Return what a part of a state holds; quantized layers hold tuples."""
    if isinstance(value, tuple | list):
        return b"".join(map(_bytes, value))
    if not isinstance(value, Tensor):
        return repr(value).encode()
    plain = value.int_repr() if value.is_quantized else value
    return bytes(plain.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def _count(number: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"
