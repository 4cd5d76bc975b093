"""Laying slots on frames: what cannot be placed as asked is placed linearly, and that is said."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vidcam.data.preprocessing import Preprocessing
from vidcam.explaining.choices import Choices
from vidcam.explaining.explain import explain
from vidcam.explaining.mapping import Readout
from vidcam.explaining.plan import make_plan
from vidcam.media import VideoWriter
from vidcam.models.build import load_model
from vidcam.models.model import Model


@pytest.mark.parametrize("centroids", [[3.0, 2.0, 9.0, 12.0], [1.0, np.nan, 5.0, 9.0]])
def test_centroids_out_of_order_fall_back_and_say_so(centroids: list[float]) -> None:
    placement = ("effective", "linear")
    plan = make_plan(load_model("demo"), Choices(when=None, placement=placement))
    plan.placing._centroids = {"t": np.array(centroids)}
    x, reading = torch.zeros(1, 3, 32, 48, 64), Readout("layer4", "b c t h w")
    for _ in range(2):
        positions, spread = plan.placing.positions(reading, "t", 4, 32, x)
    np.testing.assert_allclose(positions, [3.5, 11.5, 19.5, 27.5])
    assert spread == "linear" and len(plan.placing.notes) == 1
    assert "'linear' places them instead" in plan.placing.notes[0]
    plan.placing._centroids = {"t": np.array([1.0, 4.0, 9.0, 20.0])}
    np.testing.assert_allclose(plan.placing.positions(reading, "t", 4, 32, x)[0], [1, 4, 9, 20])


class Colors(nn.Module):
    """Red speaks for class 0 and against class 1; a layer in between that tells when."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.AvgPool3d((1, 4, 4))
        self.deep = nn.AvgPool3d((2, 2, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        red = self.deep(self.early(x)).mean(dim=(2, 3, 4))[:, 0]
        return torch.stack([red, -red, 0 * red], dim=1)


@pytest.fixture
def red_clip(tmp_path: Path) -> Path:
    """Black, but for a red square in frames 8 to 11 of 24."""
    path = tmp_path / "red.mp4"
    with VideoWriter(path, width=64, height=64, rate=Fraction(10)) as writer:
        for i in range(24):
            pixels = np.zeros((64, 64, 3), np.uint8)
            pixels[16:32, 32:48, 0] = 255 * (8 <= i < 12)
            writer.write(pixels)
    return path


def colors(net: nn.Module | None = None, *, frames: int = 24) -> Model:
    labels = ["red", "blue", "none"]
    return Model(net or Colors(), layer="deep", layout="b c t h w", frames=frames, when="early", labels=labels)


@pytest.mark.parametrize(("method", "target"), [("grad_cam", "red"), ("counterfactual", "blue")])
def test_when_is_that_of_the_score_whose_heat_it_is(red_clip: Path, method: str, target: str) -> None:
    for when in (None, "early", "input"):
        scores = explain(colors(), red_clip, method=method, target=target, when=when).frame_scores
        assert scores[7:13].sum() > 0.8 * scores.sum() > 0


def test_methods_without_a_class_say_the_same_of_every_class(red_clip: Path) -> None:
    for method in ("eigen_cam", "fem"):
        one, other = (explain(colors(), red_clip, method=method, target=target) for target in ("red", "blue"))
        np.testing.assert_array_equal(one.heat, other.heat)
        assert one.provenance["when"] is None


def test_an_earlier_layer_tells_when_for_a_method_without_gradients(red_clip: Path) -> None:
    net = Colors()
    alone, timed = (explain(colors(net), red_clip, method="fem", target="red", when=when) for when in (None, "input"))
    assert timed.frame_scores[7:13].sum() > 0.8 * timed.frame_scores.sum() > 0
    assert timed.provenance["when"] == "input" and alone.provenance["when"] is None


def test_a_layer_that_tells_no_frame_from_another_is_said(red_clip: Path) -> None:
    found = explain(colors(frames=4), red_clip, target="red")
    assert any("tells no frame from another" in note for note in found.notes)  # windows of black frames
    scores = found.frame_scores
    assert scores[7:13].sum() > 0.8 * scores.sum() > 0


def test_an_early_layer_that_a_window_silences_does_not_stop_the_video(red_clip: Path) -> None:
    class Silenced(Colors):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * (x.amax() > 0.5)  # black windows have no gradient

    scores = explain(colors(Silenced(), frames=4), red_clip, target="red").frame_scores
    assert scores[7:13].sum() > 0.8 * scores.sum() > 0


def test_what_a_method_without_gradients_tells_of_forces_lies_where_its_features_do(red_clip: Path) -> None:
    """Numbers of the windows are stacked with it, on a GPU as well: here a device without any memory stands for one."""
    plan = make_plan(load_model("demo"), Choices(method="fem"))

    class Asked:
        activations = torch.empty(2, 3, 4, device="meta")

    assert [tuple(part.shape) for part in plan.forces(Asked())] == [(2,), (2,)]  # type: ignore[arg-type]
    assert all(part.device.type == "meta" for part in plan.forces(Asked()))  # type: ignore[arg-type]


def test_equal_bins_in_place_of_a_geometry_that_cannot_be_measured_are_said(red_clip: Path) -> None:
    class Mixing(nn.Module):
        """Every cell sees every row, by a layer whose width fits this size alone."""

        def __init__(self) -> None:
            super().__init__()
            self.mix, self.deep, self.fc = nn.Linear(32, 32), nn.Conv3d(3, 4, (1, 8, 8), (1, 8, 8)), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.deep(self.mix(x.transpose(3, 4)).transpose(3, 4)).mean((2, 3, 4)))

    model = Model(Mixing(), "deep", layout="b c t h w", frames=4, preprocessing=Preprocessing(resize=(32, 32)))
    say = "along h every cell of 'deep' sees everything, or what it sees could not be measured"
    assert any(say in note for note in explain(model, red_clip, placement=("linear", "centers"), target=0).notes)
    assert not any(say in note for note in explain(model, red_clip, target=0).notes)


@pytest.mark.parametrize("order", [1, -1])
def test_a_network_that_goes_through_a_clip_part_by_part_is_explained_as_one_that_does_not(
    red_clip: Path, order: int
) -> None:
    class Parts(nn.Module):
        """Red counts, most in later slots; parts of four frames, from the first or from the last on."""

        def __init__(self, frames: int, order: int = 1) -> None:
            super().__init__()
            self.frames, self.order, self.deep = frames, order, nn.AvgPool3d((2, 4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = [self.deep(part) for part in x.split(self.frames, 2)[:: self.order]][:: self.order]
            red = torch.cat(parts, 2).mean((3, 4))[:, 0]
            red = (red * torch.arange(1, 1 + red.shape[1])).sum(1)
            return torch.stack([red, -red], 1)

    def explained(net: nn.Module, placement: tuple[str, str]) -> np.ndarray:
        size = Preprocessing(resize=(32, 32))
        model = Model(net, layer="deep", frames=12, labels=["red", "not"], preprocessing=size)
        return explain(model, red_clip, target="red", placement=placement).heat

    for placement in (("linear", "linear"), ("centers", "centers"), ("effective", "effective")):
        whole, parts = explained(Parts(12), placement), explained(Parts(4, order), placement)
        np.testing.assert_allclose(parts, whole, atol=1e-3 * whole.max())
