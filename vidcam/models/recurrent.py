"""CNN-LSTMs: an image network sees each frame, a recurrent one their sequence, with attention or without."""

from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from vidcam.errors import ModelError, unknown
from vidcam.models.image_backbone import count_channels, image_backbone

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
        if min(classes, hidden, layers) < 1 or not 0 <= dropout < 1:
            given = f"{classes}, {hidden}, {layers} and {dropout}"
            raise ModelError(f"classes, hidden and layers must be at least 1, and dropout in 0..1; given {given}")
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
        if self.attention is None:
            logits: Tensor = self.head(self.dropout(last))
            return logits
        context, weights = self.attention(states, last)
        return RecurrentOutput(self.head(self.dropout(context)), weights)

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
