"""Layers that return several tensors, where rows, tokens and geometry are looked at as well."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.geometry import Axis
from vidcam.data.preprocessing import Preprocessing
from vidcam.explaining.explain import explain
from vidcam.media import VideoWriter
from vidcam.models.model import Model

FRAME, ROW, COLUMN = 5, 28, 12  # of what is bright


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    frames = np.full((8, 40, 40, 3), 60, np.uint8)
    frames[FRAME, ROW - 4 : ROW + 4, COLUMN - 4 : COLUMN + 4] = 230
    with VideoWriter(tmp_path / "clip.mp4", width=40, height=40, rate=Fraction(10)) as writer:
        for frame in frames:
            writer.write(frame)
    return tmp_path / "clip.mp4"


class Brightness(nn.Module):
    """Whether the middle of each 4 x 4 pixels is bright, in four channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, 4)
        nn.init.constant_(self.conv.weight, 1 / 48)
        nn.init.constant_(self.conv.bias, -0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


class Block(nn.Module):
    """A transformer's block that returns its attention (B, heads, N, N) beside its tokens, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        mixed, weights = self.attention(tokens, tokens, tokens, average_attn_weights=False)
        return tokens + 0.01 * mixed, weights


class Tokens(nn.Module):
    """Tokens by row, column and time, behind one of no place."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.blocks = Brightness(), nn.ModuleList([Block(), Block()])
        self.first, self.head = nn.Parameter(torch.zeros(1, 1, 4)), nn.Linear(4, 2)
        nn.init.constant_(self.head.weight[:1].detach(), 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames = len(x), x.shape[2]
        seen = self.see(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, frames))
        tokens = torch.cat([self.first.expand(batch, -1, -1), seen.permute(0, 3, 4, 1, 2).flatten(1, 3)], 1)
        for block in self.blocks:
            tokens, _ = block(tokens)
        return self.head(tokens.amax(1))


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.1", "blocks.1[0]"])
def test_tokens_beside_their_attention_are_in_their_order(layer: str, movie: Path) -> None:
    model = Model(Tokens(), layer=layer, frames=8, preprocessing=Preprocessing(resize=(40, 40)))
    found = explain(model, movie, target=0, when=None)
    frame, row, column = np.unravel_index(found.heat.argmax(), found.heat.shape)
    assert found.heat.shape == (8, 10, 10) and frame == FRAME
    assert abs(found.rows[row] - ROW) < 4 and abs(found.columns[column] - COLUMN) < 4
    assert not any("could not be measured: they are taken" in note for note in found.notes)


class Pooled(nn.Module):
    """Returns its map and the mean of it, of which the head takes the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.see = Brightness()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        cells = self.see(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).transpose(1, 2)
        return {"pooled": cells.amax((2, 3, 4)), "map": cells}


class OfPooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = Pooled(), nn.Linear(4, 2)
        nn.init.constant_(self.head.weight[:1].detach(), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)["pooled"])


@pytest.mark.parametrize("layer", ["body", "body[map]"])
def test_geometry_told_of_a_layer_goes_for_its_output(layer: str, movie: Path) -> None:
    told: dict[str, Any] = {"axes": {"body": (Axis(1, 0, 1), Axis(4, 7.5, 4), Axis(4, 9.5, 4))}}
    model = Model(OfPooled(), layer=layer, frames=8, preprocessing=Preprocessing(resize=(40, 40)), **told)
    found = explain(model, movie, target=0, when=None, placement=("centers", "centers"))
    frame, row, column = np.unravel_index(found.heat.argmax(), found.heat.shape)
    assert (frame, found.heat.shape) == (FRAME, (8, 10, 10)) and abs(row - ROW // 4) < 2 and abs(column - 3) < 2
    np.testing.assert_allclose(found.rows[:2], [7.5, 11.5])
    np.testing.assert_allclose(found.columns[:2], [9.5, 13.5])
