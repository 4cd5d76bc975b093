"""What a method is asked, and the record of a method."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import Captured, Score, capture
from vidcam.attribution.containers import clip_in
from vidcam.attribution.layers import FOLDED, INPUT, input_layout, read_grid
from vidcam.attribution.orders import Orders
from vidcam.attribution.rows import RowOrder
from vidcam.attribution.scores import minus
from vidcam.attribution.tokens import TOKENS, TokenOrder
from vidcam.errors import ModelError

TokenGrid = tuple[int, int, int] | Callable[[int], tuple[int, int, int]]
"""(t, h, w) of a layer that returns tokens, or a function that tells it from the number of tokens."""


@dataclass(frozen=True)
class Question:
    """How a score depends on a layer, for one batch of inputs: what every method is asked."""

    net: nn.Module
    x: Any
    """The network's input: a tensor, a tuple of arguments or a mapping of keyword arguments."""
    layer: str
    score: Score
    captured: Captured
    """What one forward gave: outputs of the layer and, if the method uses gradients, those too."""
    which: int = 0
    """Index of the score among the captured ones."""
    pooling: str = "slot"
    """Whether sums over positions run over each "slot" or over the whole "clip"."""
    layout: str | None = None
    """Einops pattern of the layer's output; None tells it from the shape where it can."""
    grid: TokenGrid | None = None
    input_layout: str | None = None
    """Einops pattern of the network's input, as "b t c h w"; None tells it from the shape."""
    guessed: bool = True
    """Whether the layout was told from a shape, which does not tell how time is folded into the batch."""
    orders: Orders = field(default_factory=Orders)
    """What was measured of the network's layers; shared by the questions of a model."""
    settled: bool = False
    """Whether it is known already what tokens stand for, which then is `order`, and nothing is measured anew."""
    order: TokenOrder | None = None
    turned: bool = False
    """Whether it asks for minus the captured score."""

    @cached_property
    def activations(self) -> Tensor:
        """The layer's output as (B, C, *S), in float32 or finer."""
        return self.read(self.captured.activations[self.layer])

    @cached_property
    def gradients(self) -> Tensor:
        """The score's gradient with respect to the layer's output, as (B, C, *S)."""
        gradients = self.read(self.captured.gradients[self.which][self.layer])
        return -gradients if self.turned else gradients

    @property
    def is_blind(self) -> bool:
        """Whether the gradient is zero everywhere."""
        return self.gradients.numel() > 0 and not bool(self.gradients.any())

    @cached_property
    def rows(self) -> RowOrder | None:
        """The rows of the layer's output, measured where it is called several times or only its shape tells its layout.

        Raises:
            LayerError: they have no right order, see `find_rows`.
        """
        several = self.captured.calls[self.layer] > 1
        if not several and not (self.guessed and self._reading[0].startswith(FOLDED)):
            return None
        own = self.input_layout or input_layout(self._given)
        return self.orders.rows(self.net, self.x, self.layer, own, self._given)

    @cached_property
    def tokens(self) -> TokenOrder | None:
        """What the tokens of the layer stand for, measured; None where it returns no tokens, or tells their grid."""
        if self.settled:
            return self.order
        shape = self.captured.activations[self.layer].shape
        told = self.layout not in (None, TOKENS) or callable(self.grid)  # who says so much knows it
        if len(shape) != 3 or told or self.layer in self.captured.grids or self._given.ndim not in (4, 5):
            return None
        own = self.input_layout or input_layout(self._given)
        return self.orders.tokens(self.net, self.x, self.layer, own, shape[1])

    def read(self, tensor: Tensor) -> Tensor:
        """Read a captured activation or gradient of the layer as (B, C, *S), in float32 or finer."""
        rows = self.rows  # first: what is called twice is said so, and not that its shape does not fit
        layout, sizes = self._reading
        if rows is not None and layout.startswith("(b n)"):
            rows.slots(self.layer, 1)  # in order, none twice
        tensor = tensor if rows is None else tensor[rows.order]
        tensor = tensor if self.tokens is None else tensor[:, self.tokens.order]
        tensor = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
        return read_grid(tensor, layout, batch=len(self._given), grid=sizes)

    @cached_property
    def _given(self) -> Tensor:
        given = clip_in(self.x)
        assert given is not None  # capture has refused inputs without a tensor
        return given

    @cached_property
    def _reading(self) -> tuple[str, tuple[int, ...] | None]:
        """The layout of the layer's output, and the sizes of its grid where they need to be told."""
        shape, grid, own = self.captured.activations[self.layer].shape, self.grid, self.input_layout
        sizes: tuple[int, ...] | None = None
        if len(shape) == 3:  # tokens
            sizes = self.captured.grids.get(self.layer) or (grid(shape[1]) if callable(grid) else grid)
            if self.tokens is not None:
                self.tokens.check(self.layer, sizes)
                return TOKENS, self.tokens.grid
        if self.layout is not None:
            return self.layout, sizes
        if self.layer == INPUT:
            return own or input_layout(self._given), sizes
        own = own or ("b" if len(shape) == 3 else input_layout(self._given))  # tokens need no more to be told
        return self.orders.layout(self.net, self.x, self.layer, own, self._given, shape, sizes), sizes

    def against(self) -> "Question":
        """Ask for minus the score."""
        return replace(self, score=minus(self.score), turned=not self.turned)

    def about(self, x: Any) -> "Question":
        """Ask the same about another input of the same shape: one forward and one backward."""
        captured = capture(self.net, x, layers=[self.layer], scores=[self.score])
        return replace(self, x=x, captured=captured, which=0, turned=False)

    def scores(self, x: Any) -> Tensor:
        """Return the score of other inputs, (B,): one forward, no gradient."""
        return capture(self.net, x, layers=(), scores=[self.score], gradients=False).scores[0]


@dataclass(frozen=True)
class Method:
    """A way to compute heat; the rest of the house knows a method by these facts alone, never by its name."""

    name: str
    about: str
    """What it does, in a line."""
    paper: str
    run: Callable[[Question], Tensor]
    """Heat (B, *S) of a question; S are the axes t, h, w of the layer, or of the input, see `cells`."""
    uses_score: bool = True
    """Whether the map depends on the score; if not, all classes have the same one."""
    uses_gradient: bool = True
    """Whether it reads `Question.gradients`; a layer without any is an error then."""
    pools_by_slot: bool = True
    """Whether `pooling` makes a difference; if not, "clip" is what it is asked with."""
    signed: bool = False
    """Whether its maps tell what lowers the score by negative heat."""
    against: bool = False
    """Whether it shows what speaks against the score."""
    forwards: int = 0
    """Forward passes that a map costs beside the one that is captured."""
    cells: Literal["layer", "input"] = "layer"
    """Where its cells lie: at the layer's own, or at equal bins of the input's frames and pixels, all three axes."""

    def heat(self, question: Question, *, signed: bool = False) -> Tensor:
        """Return heat (B, *S); if signed, less that of minus the score, for methods that do not tell it by a sign.

        Raises:
            ModelError: what it returned is no heat, as its record says it.
        """
        asked = question if self.pools_by_slot else replace(question, pooling="clip")
        if signed and self.uses_score and not self.signed:
            return self._run(asked) - self._run(asked.against())
        return self._run(asked)

    def _run(self, question: Question) -> Tensor:
        heat, a = self.run(question), question.activations
        if not isinstance(heat, Tensor):
            raise ModelError(f"method {self.name!r} must return a tensor (B, *S); it returned {type(heat).__name__}")
        wanted = f"({len(a)}, t, h, w)" if self.cells == "input" else str((len(a), *a.shape[2:]))
        if len(heat) != len(a) or (heat.ndim != 4 if self.cells == "input" else heat.shape[1:] != a.shape[2:]):
            raise ModelError(f"method {self.name!r} must return heat {wanted}; it returned {tuple(heat.shape)}")
        lowest, highest = torch.stack(heat.aminmax()).tolist() if heat.numel() else (0.0, 0.0)  # one wait for a GPU
        if not isfinite(lowest) or not isfinite(highest):
            raise ModelError(f"method {self.name!r} returned NaN or infinite heat; check the weights and the input")
        if not self.signed and lowest < 0:
            raise ModelError(f"method {self.name!r} returned negative heat, and its record does not say signed=True")
        return heat


def method(run: Callable[[Question], Tensor], told: Callable[..., Any], **facts: Any) -> Method:
    """Make the record of a method whose function `told` says in the first line of its docstring what it is, and ends
    that line with the paper in brackets."""
    line = (told.__doc__ or "").partition("\n")[0]
    about, _, paper = line.rpartition(" (")
    return Method(told.__name__, f"{about}.", paper.rstrip(".)"), run, **facts)
