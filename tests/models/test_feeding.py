"""What users get wrong about what a network takes and returns is one line that says what to try."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam import Extra, Input, Model, Preprocessing, explain
from vidcam.errors import LayerError, ModelError, OptionError, VidcamError
from vidcam.media import VideoWriter


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, pixels = tmp_path_factory.mktemp("fed") / "clip.mp4", np.random.default_rng(0)
    with VideoWriter(path, width=32, height=32, rate=Fraction(8)) as writer:
        for _ in range(8):
            writer.write(pixels.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    return path


class Net(nn.Module):
    def __init__(self, fail: Callable[[Tensor], Any] = lambda x: None) -> None:
        super().__init__()
        self.deep, self.late, self.head = nn.Conv3d(3, 6, 3, 2, 1), nn.Identity(), nn.Linear(6, 4)
        self.fail = fail

    def forward(self, x: Tensor) -> Tensor:
        self.fail(x)
        return self.head(self.late(self.deep(x).relu()).mean((2, 3, 4)))


class Two(Net):
    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        return super().forward(rgb) + super().forward(flow)


def model(net: nn.Module | None = None, **facts: Any) -> Model:
    return Model(net or Net(), **{"layer": "deep", "frames": 8, "frame_rate": 8, "labels": list("abcd"), **facts})


def flat(x: Tensor) -> Tensor:
    return nn.Linear(5, 2)(x.flatten(1))


class Broken(Preprocessing):
    returns: Any = None

    def __call__(self, pixels: Any) -> Any:
        return self.returns


def broken(value: Any) -> Preprocessing:
    made = Broken()
    object.__setattr__(made, "returns", value)
    return made


NETWORKS: dict[str, tuple[Callable[[], Model], str]] = {
    "layout": (
        lambda: model(input_layout="b t c h w"),
        r"given \(1, 8, 3, 32, 32\), fails: RuntimeError: .*'b t c h w' was assumed; "
        "it runs with input_layout='b c t h w'",
    ),
    "pictures": (
        lambda: model(input_layout="b c h w", frames=1),
        r"given \(8, 3, 32, 32\), fails.*it runs with input_layout='b c t h w'",
    ),
    "size": (
        lambda: model(Net(flat)),
        r"given \(1, 3, 8, 32, 32\), fails: RuntimeError: mat1.*'b c t h w' was assumed, input_layout=; "
        "frames= is 8, and size and colors come from preprocessing=",
    ),
    "an exception of several lines": (lambda: model(Net(lambda x: {}["one\ntwo"])), "fails: KeyError: 'one"),
    "an exception without words": (lambda: model(Net(lambda x: next(iter(())))), "fails: StopIteration;"),
    "names": (
        lambda: model(Two(), inputs={"rgb": Input(), "flo": Input()}),
        r"rgb \(1, 3, 8, 32, 32\), flo .*unexpected keyword argument 'flo'; .*its forward, which takes rgb, flow",
    ),
    "no names": (lambda: model(Two()), "its forward takes rgb, flow: give inputs=, or wrap it"),
}


@pytest.mark.parametrize("what", NETWORKS)
def test_a_network_that_fails_says_what_it_was_given_and_what_to_try(what: str, clip: Path) -> None:
    make, message = NETWORKS[what]
    with pytest.raises(ModelError, match=message) as raised:
        explain(make(), clip)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is not None and not isinstance(raised.value.__cause__, VidcamError)


RETURNS: dict[str, tuple[Callable[[], Model], dict[str, Any], str]] = {
    **{
        f"make {name}": (
            lambda make=make: model(Two(), inputs={"rgb": Input(), "flow": Input(make=make)}),
            {},
            message,
        )
        for name, make, message in (
            ("nothing", lambda f: None, "an input's make returns \\(T, C, H, W\\); it returned NoneType"),
            ("an array", lambda f: f.numpy(), "it returned ndarray"),
            ("a frame", lambda f: f[0], "it returned \\(3, 32, 32\\)"),
            ("no frames", lambda f: f[:0], "it returned \\(0, 3, 32, 32\\)"),
            ("an exception", lambda f: f.nope, "an input's make fails: AttributeError"),
        )
    },
    "loss by name": (model, {"truth": np.zeros((8, 4)), "loss": "l1"}, "loss must be a function .*; given 'l1'"),
    "loss that fails": (model, {"truth": np.zeros((8, 4)), "loss": lambda a, b: 1 / 0}, "the loss fails: ZeroDivision"),
    "whole score": (model, {"target": lambda output: output.argmax(1)}, "floating point numbers.*; given torch.int64"),
    "score that fails": (model, {"target": lambda output: output.nope}, "the score '<lambda>' fails: AttributeError"),
    "no score": (model, {"target": lambda output: None}, "one number per sample.*; given NoneType"),
    "several per sample": (model, {"target": lambda output: output}, r"shape \(1,\); given \(1, 4\)"),
    "not a number": (model, {"target": lambda output: output[:, 0] * torch.nan}, "not finite"),
    "output": (lambda: model(output=lambda said: said.nope), {}, "output= fails: AttributeError"),
    "attention": (lambda: model(attention=lambda said: said.nope), {}, "what reads attention fails: AttributeError"),
    "extra array": (lambda: model(extras={"m": Extra(lambda said: said.numpy())}), {}, "m must be a tensor .*ndarray"),
    "extra scalar": (
        lambda: model(extras={"m": Extra(lambda said: said.mean())}),
        {},
        r"m must be .*; given shape \(\)",
    ),
    "no frame": (lambda: model(preprocessing=broken(None)), {}, "preprocessing must return a floating point tensor"),
    "gray frame": (
        lambda: model(preprocessing=broken(torch.zeros(9, 9))),
        {},
        r"it returned \(9, 9\) of torch.float32",
    ),
    "bytes": (lambda: model(preprocessing=broken(torch.zeros(3, 9, 9).byte())), {}, "of torch.uint8"),
}


@pytest.mark.parametrize("what", RETURNS)
def test_what_functions_of_ones_own_must_return_is_said(what: str, clip: Path) -> None:
    make, asked, message = RETURNS[what]
    with pytest.raises((OptionError, ModelError), match=message) as raised:
        explain(make(), clip, **asked)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ({"net": lambda x: x}, "net must be a torch.nn.Module; given function"),
        ({"preprocessing": lambda pixels: None}, "preprocessing must be a vidcam.Preprocessing"),
        ({"frame_rate": "8"}, "frame_rate must be a number; given '8'"),
        ({"labels": 4}, "labels must be a list of names; given 4"),
        ({"scores": ["a"]}, "scores must be functions by name"),
        ({"scores": {"a": "b"}}, "scores must be functions by name"),
        ({"inputs": [Input()]}, "inputs must be vidcam.Input by the names"),
        ({"axes": {"deep": (1, 2, 3)}}, "axes must be tuples of vidcam.attribution.Axis"),
        ({"extras": {"m": "x"}}, "extras must be vidcam.Extra by name"),
        ({"notes": "abc"}, "notes must be a list of sentences; given 'abc'"),
        ({"layout": 5}, "layout must be an einops pattern"),
        ({"output": 1.5}, "output must be a key, an index or a function; given 1.5"),
    ],
)
def test_slots_of_another_kind(slots: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Model(**{"net": Net(), "layer": "deep", **slots})


def test_an_opener_that_returns_no_source(clip: Path) -> None:
    with pytest.raises(OptionError, match=r"the opener must return a vidcam\.Source; it returned NoneType"):
        explain(model(opener=lambda model, source: None), clip)


def test_a_layer_that_comes_later_cannot_tell_when(clip: Path) -> None:
    for late in ("late", "head"):
        with pytest.raises(LayerError, match=f"layer '{late}' cannot tell when: it comes behind layer 'deep'"):
            explain(model(when=late), clip)
    assert explain(model(layer="late"), clip, layer="late", when="deep").heat.any()
    assert explain(model(), clip, when="input").heat.any()


def test_the_input_is_a_layer(clip: Path) -> None:
    """Its heat lies where its pixels are: gradient times input, by hand."""
    net = Net().eval()
    asked: dict[str, Any] = {"target": 1, "method": "hires_cam", "placement": ("centers", "centers")}
    found = explain(model(net, layer="input"), clip, **asked)
    again = explain(model(net), clip, layer="input", **asked)
    np.testing.assert_array_equal(found.heat, again.heat)
    from vidcam.media import open_video

    x = torch.stack([Preprocessing()(frame.pixels) for frame in open_video(clip)], 1)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[:, 1].sum(), x)
    np.testing.assert_allclose(found.heat, (gradient * x).sum(1).relu()[0].detach(), atol=1e-7)
    np.testing.assert_allclose(found.rows, np.arange(32), atol=1e-6)
