"""Model: checks of what it is given, its digest, and its geometry."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.geometry import Axis
from vidcam.errors import LayerError, OptionError, TargetError
from vidcam.models.inputs import Input
from vidcam.models.model import Model


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 4, 3, 2, 1), nn.BatchNorm3d(4), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2)
    )


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"layer": "7"}, LayerError, "unknown layer '7'"),
        ({"layer": ""}, LayerError, "unknown layer"),
        ({"frames": 0}, OptionError, "must be positive"),
        ({"frame_rate": 0}, OptionError, "must be positive"),
        ({"frame_rate": -15.0}, OptionError, "must be positive"),
        ({"frame_rate": float("nan")}, OptionError, "must be positive"),
        ({"input_layout": "b h w t c"}, OptionError, "b c t h w, b t c h w"),
        ({"labels": ["a", "a"]}, TargetError, "'a' comes 2 times"),
    ],
)
def test_mistakes(changes: dict[str, Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        Model(net(), **{"layer": "0"} | changes)


def test_only_net_and_layer_are_needed() -> None:
    model = Model(net(), layer="0")
    assert (model.frames, model.frame_rate, model.labels, model.when) == (16, None, (), None)
    assert model.device.type == "cpu"
    assert Model(nn.Sequential(nn.ReLU()), layer="0").device.type == "cpu"  # nothing to ask


CHANGES: dict[str, Callable[[nn.Module], Any]] = {
    "a weight": lambda n: n[0].weight.data[0, 0, 0, 0, 0].add_(1e-3),
    "a buffer": lambda n: n[1].running_mean.add_(1e-3),
    "a count": lambda n: n[1].num_batches_tracked.add_(1),
    "the type": lambda n: n.double(),
    "two weights swapped": lambda n: n[4].bias.data.copy_(n[4].bias.data.flip(0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_changes_with_every_number(change: str) -> None:
    one, other = Model(net(), layer="0"), Model(net(), layer="0")
    assert one.digest == other.digest and len(one.digest) == 64
    CHANGES[change](other.net)
    assert one.digest != other.digest


def test_the_digest_knows_types_that_numpy_does_not() -> None:
    assert Model(net().bfloat16(), layer="0").digest != Model(net(), layer="0").digest


def test_a_batch_is_laid_out_as_the_network_takes_it() -> None:
    clips = [[torch.full((3, 2, 5), 10.0 * b + t) for t in range(4)] for b in range(2)]
    given = Model(net(), layer="0").batch(clips)
    assert given.shape == (2, 3, 4, 2, 5) and given.is_contiguous()
    assert given[1, 2, 3, 1, 4] == 13
    first = Model(net(), layer="0", input_layout="b t c h w").batch(clips)
    assert first.shape == (2, 4, 3, 2, 5) and torch.equal(first.transpose(1, 2), given)


def test_axes_are_measured_once() -> None:
    model = Model(net(), layer="0")
    axes = model.axes_of("0", (3, 8, 16, 16), "b c t h w")
    assert axes == (Axis(2, 0, 3),) * 3
    model.net = nn.Sequential()  # nothing left to measure
    assert model.axes_of("0", (3, 8, 16, 16), "b c t h w") == axes


def test_a_model_with_another_network_is_measured_anew() -> None:
    """And neither learns from the other, whichever is measured first."""
    model, shape = Model(net(), layer="0"), (3, 8, 16, 16)
    assert model.axes_of("0", shape, "b c t h w") == (Axis(2, 0, 3),) * 3
    other = replace(model, net=nn.Sequential(nn.Conv3d(3, 4, 5, (1, 4, 4), 2)))
    assert other.axes_of("0", shape, "b c t h w") == (Axis(1, 0, 5), *(Axis(4, 0, 5),) * 2)
    assert model.axes_of("0", shape, "b c t h w") == (Axis(2, 0, 3),) * 3
    first_frame = replace(model, input_layout="b c h w", frames=1, net=nn.Sequential(nn.Conv2d(3, 4, 3, 3)))
    assert first_frame.axes_of("0", (3, 1, 16, 16), "b c h w") == (Axis(3, 1, 3),) * 2


def test_axes_that_are_told_are_believed() -> None:
    told = (Axis(7, 1, 9),) * 3
    assert Model(net(), layer="0", axes={"0": told}).axes_of("0", (3, 8, 16, 16), "b c t h w") == told


def test_axes_where_time_comes_before_channels() -> None:
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(3, 4, (3, 5, 7), (1, 2, 3), (1, 2, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.transpose(1, 2)).mean(dim=(2, 3, 4))

    model = Model(TimeFirst(), layer="conv", input_layout="b t c h w")
    assert model.axes_of("conv", (3, 8, 20, 21), "b c t h w") == (Axis(1, 0, 3), Axis(2, 0, 5), Axis(3, 0, 7))
    assert model.channels_first("conv")[1] == "net.conv"


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        ({}, "Model(custom, 0, 16 frames, weights custom)"),
        (
            {"name": "r3d_18", "frame_rate": 7.5, "labels": ["a", "b"], "weights": "none"},
            "Model(r3d_18, 0, 16 frames at 7.5 per second, 2 classes, weights none)",
        ),
        ({"frames": 1, "labels": ["a"]}, "Model(custom, 0, 1 frame, 1 class, weights custom)"),
        ({"options": {"classes": 51}}, "Model(custom, 0, 16 frames, 51 classes, weights custom)"),
        ({"scores": {"speed": len}}, "Model(custom, 0, 16 frames, 1 score, weights custom)"),
        (
            {"inputs": {"rgb": Input(), "flow": Input()}},
            "Model(custom, 0, 16 frames, inputs rgb and flow, weights custom)",
        ),
    ],
)
def test_it_says_in_a_line_what_it_is(slots: dict[str, Any], said: str) -> None:
    assert repr(Model(net(), "0", **slots)) == said


def test_help_tells_every_slot() -> None:
    told = Model.__doc__ or ""
    assert not [
        field.name
        for field in fields(Model)
        if field.name[0] != "_" and not re.search(rf"^ +{field.name}: ", told, re.M)
    ]
