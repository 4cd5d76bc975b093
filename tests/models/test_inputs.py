"""Several named inputs: what the network is given, by hand, and where its layers look in each."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.attention import find_context
from vidcam.attribution.capturing import capture
from vidcam.attribution.geometry import Axis
from vidcam.attribution.layers import infer_layout, output_shapes
from vidcam.attribution.methods import cam
from vidcam.attribution.receptive_field import effective_centers
from vidcam.attribution.scores import class_score
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import OptionError
from vidcam.models.inputs import Input
from vidcam.models.model import Model

FRAMES = 8


class TwoStreams(nn.Module):
    """The score is the mean of color seen by one convolution, plus three times that of flow seen by another."""

    def __init__(self) -> None:
        super().__init__()
        self.color = nn.Conv3d(3, 1, (1, 2, 2), (1, 2, 2), bias=False)
        self.flow = nn.Conv3d(1, 1, (3, 4, 4), (1, 4, 4), (1, 0, 0), bias=False)
        self.fused = nn.Identity()
        for part, value in ((self.color, 1.0), (self.flow, 3.0)):
            nn.init.constant_(part.weight, value)

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        color, motion = self.color(rgb), self.flow(flow)
        fused = self.fused(color[..., ::2, ::2] + motion)
        return torch.stack([color.sum((1, 2, 3, 4)), motion.sum((1, 2, 3, 4)), fused.sum((1, 2, 3, 4))], 1)


def steps(frames: Tensor) -> Tensor:
    """(T, 3, H, W) -> (T, 1, H, W): how much the red of the next frame differs; the last frame has none."""
    red = frames[:, :1]
    return torch.cat([red[1:] - red[:-1], torch.zeros_like(red[:1])])


def two_streams(**slots: object) -> Model:
    inputs = {"rgb": Input(), "flow": Input(Preprocessing(resize=(8, 16)), make=steps)}
    given = {"layout": "b c t h w", "inputs": inputs, "frames": FRAMES, "sees": {"flow": "flow"}, **slots}
    return Model(TwoStreams(), "color", **given)  # type: ignore[arg-type]


def frames(count: int = FRAMES) -> list[np.ndarray]:
    """Red grows by one each frame."""
    pixels = np.zeros((count, 8, 16, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(count)[:, None, None]
    return list(pixels)


def given(model: Model, count: int = FRAMES) -> dict[str, Tensor]:
    x = model.batch([[model.prepare(pixels) for pixels in frames(count)]])
    assert isinstance(x, dict)
    return x


def test_prepare_gives_every_input_its_own_pixels() -> None:
    model = two_streams(
        inputs={"rgb": Input(), "flow": Input(Preprocessing(resize=(4, 8), mean=(1,) * 3, std=(2,) * 3))}
    )
    prepared = model.prepare(frames()[5])
    assert isinstance(prepared, Mapping) and list(prepared) == ["rgb", "flow"]
    assert prepared["rgb"].shape == (3, 8, 16) and prepared["flow"].shape == (3, 4, 8)
    assert prepared["rgb"][0, 0, 0].item() == pytest.approx(5 / 255)
    assert prepared["flow"][0, 0, 0].item() == pytest.approx((5 / 255 - 1) / 2)
    alone = Model(TwoStreams(), "color").prepare(frames()[5])
    assert isinstance(alone, Tensor) and torch.equal(alone, prepared["rgb"])


def test_batch_takes_every_so_manieth_frame_and_makes_what_is_made() -> None:
    model = two_streams(inputs={"rgb": Input(every=3), "flow": Input(make=steps)})
    x = given(model)
    assert list(x) == ["rgb", "flow"]
    assert x["rgb"].shape == (1, 3, 3, 8, 16) and x["flow"].shape == (1, 1, 8, 8, 16)
    torch.testing.assert_close(x["rgb"][0, 0, :, 0, 0] * 255, torch.tensor([0.0, 3.0, 6.0]))
    torch.testing.assert_close(x["flow"][0, 0, :, 0, 0] * 255, torch.tensor([1.0] * 7 + [0.0]))
    first = given(two_streams(input_layout="b t c h w"))
    assert first["rgb"].shape == (1, 8, 3, 8, 16) and first["flow"].shape == (1, 8, 1, 8, 16)


def test_what_is_made_keeps_the_size() -> None:
    halved = two_streams(inputs={"rgb": Input(), "flow": Input(make=lambda frames: frames[..., ::2, ::2])})
    with pytest.raises(OptionError, match="keeps height and width, 8x16; it returned 4x8"):
        given(halved)


def test_positions_in_the_window() -> None:
    assert Input().positions(4, 4).tolist() == [0, 1, 2, 3]
    assert Input(every=3).positions(3, 8).tolist() == [0, 3, 6]
    assert Input(make=steps).positions(4, 8).tolist() == [0.5, 2.5, 4.5, 6.5]  # pairs of frames
    model = two_streams(inputs={"rgb": Input(every=2), "flow": Input()})
    assert model.positions_of("color", 4).tolist() == [0, 2, 4, 6]
    assert model.positions_of("flow", 8).tolist() == list(range(8))


def test_capture_of_two_streams_by_hand() -> None:
    """Flow is 1/255 in all frames but the last: a convolution over three frames and 4 x 4 pixels adds 3 of each."""
    model = two_streams()
    captured = capture(model.net, given(model), layers=["color", "flow"], scores=[class_score(1), class_score(2)])
    torch.testing.assert_close(
        captured.activations["flow"][0, 0, :, 0, 0] * 255, torch.tensor([2.0, 3, 3, 3, 3, 3, 2, 1]) * 48
    )
    torch.testing.assert_close(captured.activations["color"][0, 0, :, 0, 0] * 255, torch.arange(8.0) * 4)
    only_flow, both = captured.gradients
    assert not only_flow["color"].any() and (only_flow["flow"] == 1).all()
    assert both["color"].sum() == 8 * 2 * 4 and (both["flow"] == 1).all()  # every second cell, down and across
    heat = cam(model.net, given(model), layer="flow", target=1, layout="b c t h w")
    torch.testing.assert_close(heat[0, :, 0, 0], captured.activations["flow"][0, 0, :, 0, 0])


def test_the_input_that_a_layer_is_measured_against() -> None:
    model, x = two_streams(), given(two_streams())
    assert [model.input_of(name) for name in ("color", "flow", "flow.0", "flowing", "fused", "input")] == [
        *("rgb", "flow", "flow", "rgb", "rgb", "rgb")
    ]
    assert model.seen_by("flow", x) is x["flow"] and model.seen_by("fused", x) is x["rgb"]
    assert model.preprocessing_of("flow").resize == (8, 16) and model.preprocessing.resize is None
    assert model.clip_shape(x) == {"rgb": (3, 8, 8, 16), "flow": (1, 8, 8, 16)}
    assert Model(TwoStreams(), "color").clip_shape(x["rgb"]) == (3, 8, 8, 16)


@pytest.mark.parametrize("layout", ["b c t h w", "b t c h w"])
def test_axes_of_two_streams(layout: str) -> None:
    """The other stream is held at zero; behind the fusion its size follows, so that both can be added."""

    class TimeFirst(TwoStreams):
        def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
            return super().forward(rgb.transpose(1, 2), flow.transpose(1, 2))

    model = two_streams(input_layout=layout)
    if layout == "b t c h w":
        model.net = TimeFirst()
    shape = {"rgb": (3, 8, 16, 16), "flow": (1, 8, 16, 16)}
    assert model.axes_of("color", shape, "b c t h w") == (Axis(1, 0, 1), Axis(2, 0.5, 2), Axis(2, 0.5, 2))
    assert model.axes_of("flow", shape, "b c t h w") == (Axis(1, 0, 3), Axis(4, 1.5, 4), Axis(4, 1.5, 4))
    assert model.axes_of("fused", shape, "b c t h w") == (Axis(1, 0, 1), Axis(4, 0.5, 2), Axis(4, 0.5, 2))


def test_effective_centers_hold_the_others_at_their_values() -> None:
    class Product(TwoStreams):
        def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
            return super().forward(rgb * flow.mean(), flow)

    model = two_streams()
    model.net = Product()
    x = given(model)
    net, name = model.channels_first("color", x)
    assert name == "net.color" and torch.equal(net(x["rgb"]), model.net(**x))
    time, down, across = effective_centers(net, model.seen_by("color", x), name)
    assert time.tolist() == pytest.approx(list(range(8)))
    assert down.tolist() == pytest.approx([0.5, 2.5, 4.5, 6.5]) and across[0] == pytest.approx(0.5)


def test_layouts_of_two_streams() -> None:
    model, x = two_streams(layout=None), given(two_streams())
    shapes = output_shapes(model.net, x, ["color", "flow"])
    assert shapes["flow"][0] == (1, 1, 8, 2, 4)
    assert model.layout_of("flow", shapes["flow"][0], x) == "b c t h w" == infer_layout((1, 1, 8, 4, 8), x)


def test_attention_of_two_streams() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weigh = Weigh()

        def forward(self, rgb: Tensor, flow: Tensor) -> dict[str, Tensor]:
            states, weights = rgb.mean((3, 4)).transpose(1, 2), flow.mean((1, 3, 4)).softmax(1)
            return {"context": self.weigh(states, weights), "weights": weights}

    class Weigh(nn.Module):
        def forward(self, states: Tensor, weights: Tensor) -> Tensor:
            return torch.einsum("bt,btd->bd", weights, states)

    x = {"rgb": torch.rand(1, 3, 4, 5, 5), "flow": torch.rand(1, 1, 4, 5, 5)}
    assert find_context(Attending(), x, lambda output: output["weights"]) == "weigh"


def test_mistakes() -> None:
    with pytest.raises(OptionError, match="every first, second or later frame; given every=0"):
        Input(every=0)
    with pytest.raises(OptionError, match="unknown input 'flows'; did you mean 'flow'"):
        two_streams(sees={"flow": "flows"})
    with pytest.raises(OptionError, match="a preprocessing per input"):
        two_streams(preprocessing=Preprocessing(resize=9))
