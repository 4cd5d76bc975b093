"""What a method is asked, and the record of a method."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import INPUT, Captured, Score, capture
from vidcam.attribution.layers import first_tensor, infer_layout, input_layout, read_grid
from vidcam.attribution.scores import minus
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

    def read(self, tensor: Tensor) -> Tensor:
        """Read a captured activation or gradient of the layer as (B, C, *S), in float32 or finer."""
        given, grid = first_tensor(self.x), self.grid
        assert given is not None  # capture has refused inputs without a tensor
        sizes: tuple[int, ...] | None = None
        if tensor.ndim == 3:  # only tokens need to be told
            sizes = self.captured.grids.get(self.layer) or (grid(tensor.shape[1]) if callable(grid) else grid)
        layout = self.layout
        if layout is None:
            own = self.input_layout
            layout = (
                own or input_layout(given)
                if self.layer == INPUT
                else infer_layout(tensor.shape, given, grid=sizes, given_as=own)
            )
        tensor = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
        return read_grid(tensor, layout, batch=given.shape[0], grid=sizes)

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
        if not heat.isfinite().all():
            raise ModelError(f"method {self.name!r} returned NaN or infinite heat; check the weights and the input")
        if not self.signed and (heat < 0).any():
            raise ModelError(f"method {self.name!r} returned negative heat, and its record does not say signed=True")
        return heat


def method(run: Callable[[Question], Tensor], told: Callable[..., Any], **facts: Any) -> Method:
    """Make the record of a method whose function `told` says in the first line of its docstring what it is, and ends
    that line with the paper in brackets."""
    line = (told.__doc__ or "").partition("\n")[0]
    about, _, paper = line.rpartition(" (")
    return Method(told.__name__, f"{about}.", paper.rstrip(".)"), run, **facts)
