"""CNN-LSTMs: an image network sees each frame, a recurrent one their sequence, with attention or without."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from vidcam.attribution.geometry import Axis
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, OptionError, unknown
from vidcam.models.model import Model
from vidcam.models.ranges import SAMPLING
from vidcam.models.recipe import Chosen, Recipe, whole_frame
from vidcam.models.torchvision_networks import count_channels, image_backbone, image_weights

MOST_LAYERS = 64
CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentOutput(NamedTuple):
    """What a network with attention returns."""

    logits: Tensor
    """(B, K)"""
    attention: Tensor
    """(B, T) weights of the frames; each row sums to 1."""


class CnnRnn(nn.Module):
    """A video classifier `(B, 3, T, H, W)` to `(B, K)` logits: backbone, mean over pixels, LSTM or GRU, linear head.

    The head reads the last state (of both directions, each at its own end), or with attention a weighted mean of all
    states, and then the weights are returned as well. Frames go through the backbone as one batch.

    Args:
        classes: K.
        backbone: name of one of torchvision's image classifiers.
        backbone_weights: a tag of torchvision's, or the path of a state dict; see `image_backbone`.
        attention: whether to return a `RecurrentOutput` of the attention's context instead of logits of the last state.
        cell: a name of `CELLS`.
        hidden: size of the state, per direction.
        layers: recurrent layers on top of each other.
        dropout: between the recurrent layers and before the head.
        bidirectional: whether a second recurrent network goes through the frames backwards.
        freeze: whether the backbone stays as it is in training, its batch norm statistics included.

    Raises:
        ModelError: a choice that does not exist, or weights that do not fit.
    """

    def __init__(
        self,
        classes: int,
        *,
        backbone: str = "resnet18",
        backbone_weights: str | Path | None = None,
        attention: bool = False,
        cell: str = "lstm",
        hidden: int = 256,
        layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ModelError(unknown("cell", cell, CELLS))
        if min(classes, hidden, layers) < 1 or layers > MOST_LAYERS or not 0 <= dropout < 1:
            given = f"{classes}, {hidden}, {layers} and {dropout}"
            raise ModelError(
                f"classes, hidden and layers (at most {MOST_LAYERS}) must be at least 1, dropout in 0..1; given {given}"
            )
        self.freeze = freeze
        self.backbone = image_backbone(backbone, weights=backbone_weights).requires_grad_(not freeze)
        self.rnn = CELLS[cell](
            count_channels(self.backbone),
            hidden,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,  # torch warns of dropout behind the only layer
            bidirectional=bidirectional,
        )
        width = hidden * (2 if bidirectional else 1)
        self.attention = AdditiveAttention(width, hidden) if attention else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        self.train()  # a frozen backbone is in eval mode from the start

    def forward(self, x: Tensor) -> Tensor | RecurrentOutput:
        """Classify clips that are preprocessed as the backbone wants its pictures."""
        maps = self.backbone(rearrange(x, "b c t h w -> (b t) c h w"))
        states, _ = self.rnn(rearrange(maps.mean((2, 3)), "(b t) c -> b t c", b=len(x)))
        last = self._last(states)
        context, weights = (last, None) if self.attention is None else self.attention(states, last)
        logits: Tensor = self.head(self.dropout(context))
        return logits if weights is None else RecurrentOutput(logits, weights)

    def train(self, mode: bool = True) -> "CnnRnn":
        """Set the mode; a frozen backbone stays in eval mode, so that its batch norm statistics do not drift."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self

    def _last(self, states: Tensor) -> Tensor:
        """(B, T, D) -> (B, D): the state after all frames, which the way back reaches at the first frame."""
        if not self.rnn.bidirectional:
            return states[:, -1]
        size = self.rnn.hidden_size
        return torch.cat([states[:, -1, :size], states[:, 0, size:]], dim=1)


class AdditiveAttention(nn.Module):
    """Weigh states by e_t = v^T tanh(W [query; h_t]) (Bahdanau et al. 2015, A.1.2; 1409.0473)."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * width, size)
        self.rate = nn.Linear(size, 1, bias=False)

    def forward(self, states: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B, D) -> the context sum_t a_t h_t (B, D), and a = softmax(e) (B, T)."""
        pairs = torch.cat([query[:, None].expand_as(states), states], dim=2)
        weights = self.rate(self.mix(pairs).tanh())[..., 0].softmax(dim=1)
        return torch.einsum("bt,btd->bd", weights, states), weights


_FREE = [kind for name, kind in inspect.signature(CnnRnn).parameters.items() if name != "attention"]
NETWORK = {kind.name: 51 if kind.default is kind.empty else kind.default for kind in _FREE}
"""Chosen of `CnnRnn`, which has no default for `classes`."""
OPTIONS = {
    **NETWORK,
    "backbone_input": "imagenet",
    "frames": 16,
    "frame_rate": 8.0,
    **SAMPLING,
    "size": None,
    "seed": 0,
}
"""
`backbone_input` is "imagenet", "minus_128" for (x - 128) / 128 of x in 0..255, or {"mean": 3 numbers, "std": 3 numbers}
of pixels in 0..1.
"""


def _network(attention: bool, *, replaced: bool, **options: Any) -> CnnRnn:
    """Build the network; weights of the backbone that a checkpoint will replace are not looked for."""
    given = {option: options[option] for option in NETWORK} | ({"backbone_weights": None} if replaced else {})
    return CnnRnn(attention=attention, **given)


def _model(net: CnnRnn, chosen: Chosen) -> Model:
    if chosen["size"] is not None:
        _try_size(net, chosen["size"])
    *_, last = dict(net.backbone.named_children())
    return Model(
        net,
        layer=f"backbone.{last}",
        layout="(b t) c h w",
        preprocessing=_preprocessing(chosen),
        axes={**_AXES.get(chosen["backbone"], {})},
        attention=attrgetter("attention") if net.attention is not None else None,
    )


def _try_size(net: CnnRnn, size: int | Sequence[int]) -> None:
    """Look at one gray frame: a backbone that shrinks it to nothing fails here, and not when a video is read."""
    sides = whole_frame(Preprocessing(), size).resize
    with torch.no_grad():
        net.backbone(torch.zeros(1, 3, *sides))  # type: ignore[misc]  # whole_frame gives both sides


def _preprocessing(chosen: Chosen) -> Preprocessing:
    """Take torchvision's preset of the weights, or of the backbone's usual ones, and what the options change of it."""
    name, weights, given = chosen["backbone"], chosen["backbone_weights"], chosen["backbone_input"]
    tags = image_weights(name)
    preset = tags[weights] if weights in tags.__members__ else tags.DEFAULT
    how = Preprocessing.from_processor(preset.transforms())
    if isinstance(given, Mapping):
        if given.keys() != {"mean", "std"}:
            raise OptionError(f"backbone_input needs 'mean' and 'std'; given {', '.join(map(repr, given)) or 'none'}")
        how = replace(how, mean=tuple(given["mean"]), std=tuple(given["std"]))
    elif given == "minus_128":
        how = replace(how, mean=(128 / 255,) * 3, std=(128 / 255,) * 3)
    elif given != "imagenet":
        raise OptionError(unknown("backbone_input", given, ("imagenet", "minus_128")))
    return how


_RESNET18 = {
    "conv1": Axis(2, 0, 7),
    "maxpool": Axis(4, 0, 11),
    "layer1": Axis(4, 0, 43),
    "layer2": Axis(8, 0, 99),
    "layer3": Axis(16, 0, 211),
    "layer4": Axis(32, 0, 435),
}
"""In space, as `measure_axes` finds it; in time a backbone sees one frame. Other backbones are measured when needed."""
_AXES = {"resnet18": {f"backbone.{part}": (Axis(1, 0, 1), axis, axis) for part, axis in _RESNET18.items()}}


def _recipe(say: str, *, attention: bool) -> Recipe:
    about = f"ResNet-18 or another image network per frame, LSTM or GRU{say}: 16 frames at 8 per second"
    return Recipe(about, partial(_network, attention), _model, OPTIONS, head="head")


MODELS: dict[str, Recipe] = {
    "cnn_lstm": _recipe(", last state", attention=False),
    "cnn_lstm_attention": _recipe(" with additive attention (Bahdanau et al. 2015)", attention=True),
}
