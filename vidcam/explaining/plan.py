"""Plan: the choices of a run, checked before any network runs, and the heat that they give of each window."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vidcam.attribution.capturing import Captured, Score, capture
from vidcam.attribution.containers import noise_like
from vidcam.attribution.formulas import frame_contribution
from vidcam.attribution.geometry import Axis, find_placement
from vidcam.attribution.layers import FOLDED, INPUT, find_layer, layer_name
from vidcam.attribution.methods import find_method, no_influence
from vidcam.attribution.question import Method, Question, TokenGrid
from vidcam.attribution.rows import RowOrder
from vidcam.attribution.steps import EachStep
from vidcam.attribution.tokens import TOKENS
from vidcam.data.preprocessing import View
from vidcam.errors import LayerError
from vidcam.explaining.choices import AUTO, Choices
from vidcam.explaining.instants import OverTime
from vidcam.explaining.mapping import Placing, Readout
from vidcam.media.video import VideoInfo
from vidcam.models.carrying import check_stateless
from vidcam.models.model import Model
from vidcam.types import Floats

STILL = 1e-6  # of what a layer's cells add to the score: below that, frames differ by rounding alone


@dataclass
class Plan:
    """What to compute of each window."""

    model: Model
    method: Method
    layer: str
    pooling: str
    when: str | None
    placing: Placing
    silent: int = 0
    """Windows in which the earlier layer told no frame from another, so that the deep heat stands alone."""
    ending: str | None = None
    """The softmax or sigmoid that the network ends in."""
    bounded: bool = True
    """Whether all that it returned lies within 0..1, as probabilities do, without an ending that was found."""
    readings: dict[str, Readout] = field(default_factory=dict)
    """How the layers' outputs read; known once a window has gone through the network."""
    over_time: OverTime = field(default_factory=OverTime)
    """What was explained step by step, of a network that answers at each time step."""
    _probed: set[str] = field(default_factory=set)

    @property
    def has_time(self) -> bool:
        """Whether the heat tells one time from another."""
        return self.method.cells == "input" or "t" in self.readings[self.layer].axes

    @property
    def layers(self) -> list[str]:
        """The layers to capture."""
        return list(dict.fromkeys(layer for layer in (self.layer, self.when) if layer is not None))

    def view(self, video: VideoInfo) -> View:
        """Tell where the pixels that the layer's geometry is measured against lie in the source."""
        return self.model.preprocessing_of(self.layer).view(video.height, video.width)

    def capture(self, x: Any, scores: Sequence[Score | EachStep]) -> Captured:
        """Run the network once, with a backward per score where the method needs it, and settle how its layers read."""
        gradients = self.method.uses_gradient or self.when is not None  # moments are told by the gradient
        captured = capture(self.model.net, x, layers=self.layers, scores=scores, gradients=gradients)
        check_stateless(self.model, x, captured)
        if self.when in captured.behind and self.when != self.layer:
            raise LayerError(
                f"layer {self.when!r} cannot tell when: it comes behind layer {self.layer!r}; choose an earlier one"
            )
        self.settle_readings(captured, x)
        if not self.model.scores:
            with captured.inside():
                answer = self.model.answer(captured.output)
            self.ending = captured.ending_of(answer)
            if self.bounded:
                self.bounded = self.ending is None and captured.trace.looks_like_probabilities(answer)
        return captured

    def settle_readings(self, captured: Captured, x: Any) -> None:
        """Settle how each layer's output reads, once."""
        for layer in self.layers:
            if layer not in self.readings:
                self.readings[layer] = self._reading(captured, layer, x)

    def _reading(self, captured: Captured, layer: str, x: Any) -> Readout:
        model, shape, rows = self.model, captured.activations[layer].shape, None
        named = captured.names.get(layer, layer)
        if captured.calls[layer] > 1:  # what is called twice is said so, and not that its shape does not fit
            rows = model.rows_of(named, x)
        grid = captured.grids.get(layer)
        if grid is None and (tokens := model.tokens_of(named, shape, x)) is not None:
            tokens.check(layer, _told_grid(model, shape))
            return Readout(named, TOKENS, tokens.grid, tokens=tokens)
        grid = grid or _told_grid(model, shape)
        layout = model.layout_of(layer, shape, x, grid)
        if layout.startswith(FOLDED):
            rows = rows or (None if model.is_told(layer) else model.rows_of(named, x))
            return Readout(named, layout, grid, None if rows is None else _axis(layer, rows, layout, shape))
        return Readout(named, layout, grid, assumed=layout == TOKENS and layer not in captured.grids)

    def ask(self, captured: Captured, x: Any, score: Score, which: int, layer: str | None = None) -> Question:
        """Put the question of a captured score to the layer, or to another one."""
        layer = self.layer if layer is None else layer
        reading, model = self.readings[layer], self.model
        grid: Any = reading.grid if reading.grid is not None else model.grid
        ways: dict[str, Any] = {"pooling": self.pooling, "layout": reading.layout, "grid": grid}
        ways |= {"input_layout": model.input_layout, "orders": model.orders, "guessed": not model.is_told(layer)}
        ways |= {"settled": True, "order": reading.tokens}
        return Question(model.net, x, reading.layer, score, captured, which, **ways)

    def heat(self, question: Question, *, signed: bool = False) -> Floats:
        """Return heat per frame of each window, (B, T, h, w); if signed, with what lowers the score below zero."""
        heat = self.method.heat(question, signed=signed)
        reading = self.readings[self.layer]
        axes = reading.axes if self.method.cells == "layer" else list("thw")
        cells = _with_all_axes(heat, axes).cpu().float().numpy()
        laid = self.placing.lay(cells, reading, question.x)
        return laid if self.when is None else laid * self._moments(question)[:, :, None, None]

    def heat_over_time(self, questions: Sequence[Question], *, signed: bool = False) -> Floats:
        """Return heat as `heat` does; of several questions, one per time step, each frame's from that of its step."""
        if len(questions) == 1 or not self.method.uses_score:
            return self.heat(questions[0], signed=signed)
        return self.over_time.lay([partial(self.heat, each, signed=signed) for each in questions], self.model.frames)

    def forces(self, question: Question) -> tuple[Tensor, Tensor]:
        """Return how strongly the layer acts on the score.

        Returns:
            (B,) the size of the gradient, the root of the sum of squares; (B,) how much the layer's cells move the
            score to first order, the sum of |gradient x activation|. NaN where the method uses no gradient.
        """
        a = question.activations
        if not self.method.uses_gradient:
            unknown = a.new_full((len(a),), torch.nan)
            return unknown, unknown
        g = question.gradients
        return g.flatten(1).norm(dim=1), (g * a).flatten(1).abs().sum(1)

    def refuse_blind_layer(self, question: Question) -> None:
        """Raise if a layer cannot influence the score: not on this window's account, but not for noise either."""
        if question.layer in self._probed:
            return
        self._probed.add(question.layer)
        on_noise = question.about(noise_like(question.x))
        if on_noise.is_blind:
            raise LayerError(no_influence(on_noise))

    def _moments(self, question: Question) -> Floats:
        """(B, T): how much each frame adds to the score at the earlier layer, with mean 1 over the window."""
        layer = str(self.when)
        early = self.ask(question.captured, question.x, question.score, question.which, layer)
        a, g = early.activations, (early.against() if self.method.against else early).gradients
        if self.readings[layer].axes[:1] != ["t"] or a.shape[2] < 2:
            raise LayerError(f"layer {layer!r} cannot tell when: it has no two slots in time; choose an earlier one")
        if not g.any():
            self.refuse_blind_layer(early)
        share = _with_mean_one(frame_contribution(a, g), noise=STILL * (a * g).abs().flatten(1).sum(1, keepdim=True))
        self.silent += int((share == 1).all(dim=1).sum()) if question.which == 0 else 0  # windows, not scores
        return self.placing.moments(share.cpu().numpy(), self.readings[layer], question.x)


def make_plan(model: Model, choices: Choices) -> Plan:
    """Check every choice before any network runs. The model's own `when` goes with the model's own layer only."""
    method, layer, when = find_method(choices.method), choices.layer, choices.when
    if layer is not None:
        layer = layer_name(model.net, layer)
    if layer not in (None, INPUT):
        find_layer(model.net, layer)
    if when == AUTO:  # methods without a class have no moments of a class either
        when = model.when if layer in (None, model.layer) and method.uses_score and method.uses_gradient else None
    elif when is not None and layer_name(model.net, when) != INPUT:
        find_layer(model.net, when)
    for kind in choices.placement:
        find_placement(kind)
    placing = Placing(model, choices.placement, method.cells)
    return Plan(model, method, layer or model.layer, choices.pooling, when, placing)


def _axis(layer: str, rows: RowOrder, layout: str, shape: Sequence[int]) -> Axis:
    """Tell where a layer's slots lie in time, each row a slot of its own or several."""
    return (
        rows.axis if "(b t)" in layout else rows.slots(layer, shape[layout.replace("(b n)", "bn").split().index("t")])
    )


def _told_grid(model: Model, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the model's own grid of a layer that returns tokens (B, N, C)."""
    if len(shape) != 3:
        return None
    grid: TokenGrid | None = model.grid
    return grid(shape[1]) if callable(grid) else grid


def _with_mean_one(share: Tensor, *, noise: Tensor) -> Tensor:
    """(B, t) -> (B, t) with mean 1; all ones where nothing but rounding tells the frames apart."""
    mean = share.mean(dim=1, keepdim=True)
    return torch.where(mean > noise, share / mean, torch.ones_like(share)).float()


def _with_all_axes(heat: Tensor, axes: Sequence[str]) -> Tensor:
    """(B, *S) -> (B, t, h, w), where an axis that the layer does not have has one slot."""
    for position, axis in enumerate("thw", 1):
        heat = heat if axis in axes else heat.unsqueeze(position)
    return heat
