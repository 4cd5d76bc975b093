"""Several scores in the same forwards, and other networks than those of one tensor: each as if it were alone."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution import orders
from vidcam.attribution.methods import METHODS
from vidcam.attribution.question import Question, method
from vidcam.attribution.scores import class_score, component, components
from vidcam.attribution.tokens import find_tokens
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import LayerError, ModelError, OptionError, TargetError
from vidcam.explaining.explain import explain
from vidcam.explaining.explanation import Explanation
from vidcam.explaining.ranking import rank
from vidcam.explaining.windows import Stream
from vidcam.media import VideoWriter
from vidcam.models.build import load_model
from vidcam.models.extra import Extra
from vidcam.models.inputs import Input
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning

SIZE = Preprocessing((32, 48))
LABELS = ("up", "down", "left", "right")
FRAMES = 24


class Small(nn.Module):
    """A convolution, an average, four classes."""

    forwards = 0

    def __init__(self) -> None:
        super().__init__()
        self.far = nn.Sequential(nn.Conv3d(3, 9, (3, 5, 5), (1, 4, 4), (1, 2, 2)), nn.ReLU())
        self.head = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        Small.forwards += 1
        return self.head(self.far(x).mean((2, 3, 4)))


def small(**changes: Any) -> Model:
    torch.manual_seed(3)
    facts = {"layer": "far", "frames": 8, "frame_rate": 10, "labels": LABELS, "preprocessing": SIZE}
    return Model(Small(), **facts | changes)


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    """Black, but for a gray square at rows 16 to 24, columns 32 to 40, in frames 12 to 15."""
    with VideoWriter(tmp_path / "movie.mp4", width=48, height=32, rate=Fraction(10)) as writer:
        for i in range(FRAMES):
            pixels = np.zeros((32, 48, 3), np.uint8)
            pixels[16:24, 32:40] = 200 * (12 <= i < 16)
            writer.write(pixels)
    return tmp_path / "movie.mp4"


def equal(one: Explanation, other: Explanation) -> None:
    np.testing.assert_array_equal(one.heat, other.heat)
    np.testing.assert_array_equal(one.outputs[:, one.explained.index(one.target)], other.values)
    assert (one.target_name, one.notes) == (other.target_name, other.notes)
    assert one.probability == pytest.approx(other.probability)


def test_each_of_several_classes_is_as_if_it_were_alone(movie: Path) -> None:
    model = small()
    explain(model, movie, target="up")  # measures where the layer looks, once
    Small.forwards = 0
    several = explain(model, movie, target=["left", 0, "down"])
    together, Small.forwards = Small.forwards, 0
    assert several.target_name == "left" and [several.name(i) for i in several.explained] == ["left", "up", "down"]
    for name in ("left", "up", "down"):
        equal(several.of(name), explain(model, movie, target=name))
    assert Small.forwards == 3 * together  # the classes of one run share its forwards
    with pytest.raises(TargetError, match="'right' was not explained; there are left, up, down"):
        several.of("right")


def test_the_likeliest_classes(movie: Path) -> None:
    three, one = explain(small(), movie, classes=3), explain(small(), movie)
    order = np.argsort(-three.probabilities.mean(axis=0))
    assert three.explained == tuple(order[:3]) and three.target == one.target == order[0]
    equal(three.of(one.target_name), one)
    for column in order[:3]:
        equal(three.of(int(column)), explain(small(), movie, target=int(column)))
    with pytest.raises(OptionError, match="at most 4"):
        explain(small(), movie, classes=5)
    for wrong in ("2", 1.5, 0):
        with pytest.raises(OptionError, match="classes must be a whole number"):
            explain(small(), movie, classes=wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="custom is a regressor, whose scores are all explained"):
        explain(small(labels=(), scores=components(*LABELS)), movie, classes=2)
    with pytest.raises(OptionError, match="given 1 and classes=2"):
        explain(small(), movie, target="up", classes=2)


def margin(output: Tensor) -> Tensor:
    """How far "up" is above "down"."""
    return output[:, 0] - output[:, 1]


def test_a_score_of_ones_own_stands_beside_the_classes(movie: Path) -> None:
    mixed = explain(small(), movie, target=[margin, "up"])
    assert (mixed.target_name, mixed.classes, mixed.is_class) == ("margin", 4, False)
    assert mixed.labels == (*LABELS, "margin") and mixed.probabilities.shape[1] == 5
    np.testing.assert_allclose(mixed.probabilities[:, :4].sum(axis=1), 1, rtol=1e-5)
    equal(mixed.of("up"), explain(small(), movie, target="up"))
    assert mixed.of("up").is_class
    equal(mixed, explain(small(), movie, target=margin))
    unnamed = explain(small(labels=()), movie, target=margin)
    assert unnamed.labels == ("0", "1", "2", "3", "margin") and unnamed.heat.any()
    with pytest.raises(OptionError, match="two different scores are called 'margin'"):
        other = lambda output: output[:, 0]  # noqa: E731
        other.__name__ = "margin"
        explain(small(), movie, target=[margin, other])
    assert explain(small(), movie, target=["up", "up", 0]).explained == (0,)  # one class, however often it is named


def test_a_class_is_what_a_score_of_it_is(movie: Path) -> None:
    """The map of a class and that of its logit as a function are the same numbers."""
    score = class_score(2)
    one, other = explain(small(), movie, target="left"), explain(small(), movie, target=score)
    np.testing.assert_array_equal(one.heat, other.heat)


def test_saved_with_all_its_maps(movie: Path, tmp_path: Path) -> None:
    several = explain(small(), movie, target=["left", margin])
    several.save(tmp_path / "all.npz")
    loaded = Explanation.load(tmp_path / "all.npz")
    for name in ("left", "margin"):
        equal(loaded.of(name), several.of(name))


class TwoStreams(nn.Module):
    """Color every frame, and every other frame once more; the class is the slow stream's brightness in one corner."""

    def __init__(self) -> None:
        super().__init__()
        self.color = nn.Sequential(nn.Conv3d(3, 9, 1, bias=False), nn.ReLU(), nn.AvgPool3d((1, 4, 4)))
        self.color[0].weight.data.abs_()
        self.slow = nn.Sequential(nn.AvgPool3d((1, 4, 4)), nn.Identity())

    def forward(self, color: Tensor, slow: Tensor) -> dict[str, Tensor]:
        bright, light = self.slow(slow).mean((1, 2, 3, 4)), self.color(color).mean((1, 2, 3, 4))
        return {"logits": torch.stack([bright, light], 1), "beat": color.mean((1, 3, 4))}


def two_streams() -> Model:
    torch.manual_seed(0)
    return Model(
        TwoStreams(),
        layer="color",
        layout="b c t h w",
        frames=8,
        frame_rate=10,
        labels=["bright", "light"],
        inputs={"color": Input(SIZE), "slow": Input(SIZE, every=2)},
        sees={"slow": "slow"},
        extras={"beat": Extra(lambda output: output["beat"], per_frame=True)},
    )


PLACES = [(row, column) for row in (17.5, 21.5) for column in (33.5, 37.5)]
"""The middles of the four cells that the square covers."""


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("layer", "target"), [("color", "light"), ("slow", "bright")])
@pytest.mark.parametrize("chosen", ["grad_cam", "hires_cam"])
def test_evidence_in_each_of_two_streams_is_found(
    movie: Path, layer: str, target: str, chosen: str, batch: int
) -> None:
    explanation = explain(two_streams(), movie, layer=layer, target=target, method=chosen, batch=batch)
    frame, row, column = np.unravel_index(explanation.heat.argmax(), explanation.heat.shape)
    assert 11 <= frame <= 16 and (explanation.rows[row], explanation.columns[column]) in PLACES
    quiet = [*range(9), *range(19, FRAMES)]
    assert explanation.frame_scores[quiet].max() < 0.2 * explanation.frame_scores.max()
    assert explanation.extras["beat"].shape == (FRAMES,)
    assert explanation.extras["beat"].argmax() in range(12, 16)


def test_two_streams_are_ranked(movie: Path) -> None:
    ranking = rank(two_streams(), movie, by="leave_out", target="light", shown=(2,), draws=2)
    assert ranking.top(1)[0].index == 12  # before it there is a dark one, which takes its place


def quarters(question: Question) -> Tensor:
    """Show how far the score falls without each quarter of the frame, frame by frame (no paper)."""
    x, falls = question.x, []
    for t in range(x.shape[2]):
        for row in range(2):
            for column in range(2):
                gray = x.clone()
                gray[:, :, t, 16 * row : 16 * row + 16, 24 * column : 24 * column + 24] = 0
                falls.append(question.scores(x) - question.scores(gray))
    return torch.stack(falls, 1).reshape(len(x), x.shape[2], 2, 2).relu()


class Blind(nn.Module):
    """The layer that is asked has no gradient; brightness in the picture decides."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(3, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.layer(x)
        return torch.stack([x.mean((1, 2, 3, 4)), 0 * x.mean((1, 2, 3, 4))], 1)


@pytest.mark.parametrize("regressor", [False, True])
def test_a_method_that_only_looks_forward(movie: Path, monkeypatch: pytest.MonkeyPatch, regressor: bool) -> None:
    """It has cells of its own, needs no gradient, and nothing false is said of one."""
    row = method(quarters, quarters, uses_gradient=False, pools_by_slot=False, cells="input", forwards=32)
    monkeypatch.setitem(METHODS, "quarters", row)
    facts: dict[str, Any] = (
        {"scores": components("light", "nothing")} if regressor else {"labels": ["light", "nothing"]}
    )
    model = Model(Blind(), layer="layer", layout="b c t h w", frames=8, frame_rate=10, preprocessing=SIZE, **facts)
    explanation = explain(model, movie, target="light", method="quarters")
    assert explanation.heat.shape == (FRAMES, 2, 2)
    np.testing.assert_allclose(explanation.rows, [7.5, 23.5])
    np.testing.assert_allclose(explanation.columns, [11.5, 35.5])
    assert not explanation.heat[:, 0].any() and not explanation.heat[:, :, 0].any()
    assert set(np.flatnonzero(explanation.heat[:, 1, 1])) == {12, 13, 14, 15}
    assert not explanation.is_vanishing.any() and explanation.gradient is None
    assert not [note for note in explanation.notes if "gradient" in note or "flat" in note]
    assert explanation.provenance["when"] is None and explanation.provenance["knows_time"]


@pytest.mark.parametrize(
    ("heat", "say"),
    [
        (torch.full((1, 4, 8, 8), torch.nan), "NaN or infinite"),
        (-torch.ones(1, 4, 8, 8), "negative heat, and its record does not say signed"),
        (torch.zeros(3), r"must return heat \(1, t, h, w\); it returned \(3,\)"),
        (np.zeros((1, 4, 8, 8)), r"must return a tensor \(B, \*S\); it returned ndarray"),
    ],
)
def test_a_method_that_returns_no_heat_is_named(
    movie: Path, monkeypatch: pytest.MonkeyPatch, heat: Any, say: str
) -> None:
    row = method(lambda question: heat, quarters, uses_gradient=False, pools_by_slot=False, cells="input")
    monkeypatch.setitem(METHODS, "quarters", row)
    with pytest.raises(ModelError, match=f"method 'quarters' .*{say}"):
        explain(small(), movie, method="quarters")


class Stacked(nn.Module):
    """The layer sees the mean of the frames alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.layer(x.mean(2))
        return torch.stack([x.mean((1, 2, 3, 4)), 0 * x.mean((1, 2, 3, 4))], 1)


def test_a_map_with_frames_of_its_own_keeps_them_where_the_layer_has_none(
    movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = method(quarters, quarters, uses_gradient=False, pools_by_slot=False, cells="input", forwards=32)
    monkeypatch.setitem(METHODS, "quarters", row)
    scores = components("light", "nothing")
    model = Model(
        Stacked(), layer="layer", layout="b c h w", frames=8, frame_rate=10, preprocessing=SIZE, scores=scores
    )
    explanation = explain(model, movie, target="light", method="quarters")
    assert set(np.flatnonzero(explanation.heat[:, 1, 1])) == {12, 13, 14, 15}
    assert not [note for note in explanation.notes if "flat" in note or "cells" in note or "stacks" in note]


def test_only_what_is_asked_for_is_explained_where_every_score_costs_forwards(
    movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "halves", method(halves, halves, uses_gradient=False, cells="input", forwards=2))
    model = small(labels=(), scores=components(*LABELS))
    Small.forwards = 0
    one = explain(model, movie, target="down", method="halves", batch=8)
    alone, Small.forwards = Small.forwards, 0
    two = explain(model, movie, target=["left", "down"], method="halves", batch=8)
    assert one.labels == ("down",) and two.labels == ("left", "down") and two.target_name == "left"
    assert Small.forwards == alone + 4  # two halves, of the score and of minus the score
    equal(two.of("down"), one)
    assert explain(model, movie, method="halves").labels == ("up",)
    with pytest.raises(TargetError, match=r"'up'.*down"):
        one.of("up")
    every = explain(model, movie, target="down")  # by the gradient all cost the same forward
    assert every.labels == LABELS
    np.testing.assert_allclose(every.values, one.values, rtol=1e-6)


def halves(question: Question) -> Tensor:
    """Show how far the score falls without the upper and the lower half (no paper)."""
    x = question.x
    falls = [question.captured.scores[question.which] - question.scores(x.roll(8 * half, 3)) for half in (1, 2)]
    return torch.stack(falls, 1).reshape(len(x), 1, 2, 1).abs()


def test_an_input_whose_layout_is_said_is_read_so(movie: Path) -> None:
    """Two channels with time first: 8 frames of 2 look like 2 of 8, and only what the model says tells them."""

    class TimeFirst(Small):
        def __init__(self) -> None:
            super().__init__()
            self.far = nn.Sequential(nn.Conv2d(2, 9, 4, 4), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            seen = self.far(x.flatten(0, 1)).unflatten(0, (len(x), 8))
            return self.head(seen.mean((1, 3, 4)))

    torch.manual_seed(0)
    two = {"x": Input(SIZE, make=lambda frames: frames[:, :2])}
    model = Model(TimeFirst(), "far", frames=8, frame_rate=10, inputs=two, input_layout="b t c h w", labels=LABELS)
    assert explain(model, movie, target="up", batch=2).heat.shape == (FRAMES, 8, 12)


def test_a_layer_of_which_nobody_said_what_it_looks_at(movie: Path) -> None:
    say = "layer 'color' is taken to look at input 'color', the first one; sees= says otherwise"
    assert say in explain(two_streams(), movie, target="light").notes
    told = replace(two_streams(), sees={"slow": "slow", "color": "color"})
    assert not [note for note in explain(told, movie, target="light").notes if "sees=" in note]
    assert not [note for note in explain(two_streams(), movie, target="bright", layer="slow").notes if "sees=" in note]


def test_a_function_does_not_take_the_name_of_a_score(movie: Path) -> None:
    def up(output: Tensor) -> Tensor:
        return output[:, 1]

    def loss(output: Tensor) -> Tensor:
        return output[:, 0]

    for model, target in ((small(), up), (small(labels=(), scores=components(*LABELS)), up)):
        with pytest.raises(OptionError, match="has a score called 'up'; give the function a name of its own"):
            explain(model, movie, target=target)
    with pytest.raises(OptionError, match="has a score called 'loss'"):
        explain(small(labels=()), movie, truth=np.zeros((FRAMES, 4)), target=loss)
    assert explain(small(), movie, target=loss).target_name == "loss"
    with pytest.raises(OptionError, match="give truth= too"):
        explain(small(), movie, loss=lambda a, b: a - b)


def test_windows_in_which_nothing_tells_when_are_counted_once(movie: Path) -> None:
    """A network whose earlier layer is the same in all frames: as many windows as there are, however many targets."""

    class Still(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.far, self.head = nn.Conv3d(3, 4, 1), nn.Conv3d(4, 9, 1), nn.Linear(9, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.far(self.early(x[:, :, :1].expand_as(x))).mean((2, 3, 4)))

    facts: dict[str, Any] = {"frames": 8, "frame_rate": 10, "labels": LABELS, "preprocessing": SIZE}
    found = explain(Model(Still(), "far", when="early", **facts), movie, target=["up", "left", "down"])
    assert f"in {len(found.windows)} window(s) 'early' tells no frame from another" in " ".join(found.notes)


def test_slots_of_a_model_that_cannot_be(movie: Path) -> None:
    with pytest.raises(LayerError, match="unknown layer 'slw'; did you mean 'slow'"):
        replace(two_streams(), sees={"slw": "slow"})
    with pytest.raises(OptionError, match=r"input 'color' must be a vidcam.Input; given Preprocessing"):
        replace(two_streams(), inputs={"color": SIZE, "slow": Input(SIZE)})
    with pytest.raises(OptionError, match="frames must be a whole number"):
        small(frames=2.5)


def test_what_another_model_opened_is_refused(movie: Path) -> None:
    model, other = small(), small(name="other")
    equal(explain(model, model.open(movie), target="up"), explain(model, movie, target="up"))
    assert other.open(other.open(movie)).model is other
    for ask in (explain, rank):
        with pytest.raises(OptionError, match="opened by another model, other"):
            ask(model, other.open(movie))
    with pytest.raises(OptionError, match="another model"):
        explain(replace(model, layer="far.0"), model.open(movie))


def test_what_is_told_per_frame_has_a_row_for_every_frame(movie: Path) -> None:
    short = replace(two_streams(), extras={"beat": Extra(lambda output: output["beat"][:, 1:], per_frame=True)})
    with pytest.raises(ModelError, match=r"beat tells of each of 8 frames.*\(B, T, ...\).*given shape \(\d+, 7\)"):
        explain(short, movie, target="light")


def test_values_of_a_component_by_hand(movie: Path) -> None:
    model = Model(
        Blind(), layer="layer", layout="b c t h w", frames=1, scores={"light": component(0)}, preprocessing=SIZE
    )
    explanation = explain(model, movie, method="fem")
    bright = 64 * 200 / 255 / (32 * 48)
    np.testing.assert_allclose(explanation.values[[0, 13, 20]], [0, bright, 0], atol=2e-3)


OUTPUTS: dict[str, Any] = {
    "features first": lambda features, answer: (features, answer),
    "feats and pred": lambda features, answer: {"feats": features, "pred": answer},
    "nested": lambda features, answer: {"aux": {"features": features}, "heads": [{"cls_score": answer}]},
    "maps and answer": lambda features, answer: [features[:, :, None, None], answer],
}


@pytest.mark.parametrize("pack", OUTPUTS)
def test_the_answer_is_found_among_what_a_network_returns(movie: Path, pack: str) -> None:
    class Returning(Small):
        def __init__(self) -> None:
            torch.manual_seed(3)
            super().__init__()

        def forward(self, x: Tensor) -> Any:
            features = self.far(x).mean((2, 3, 4))
            return OUTPUTS[pack](features, self.head(features))

    facts: dict[str, Any] = {"layer": "far", "frames": 8, "frame_rate": 10, "preprocessing": SIZE}
    expected = explain(small(), movie, target="down")
    equal(explain(Model(Returning(), labels=LABELS, **facts), movie, target="down"), expected)
    ranked = rank(Model(Returning(), labels=LABELS, **facts), movie, target="down", draws=1)
    np.testing.assert_array_equal(ranked.explanation.heat, expected.heat)


def test_an_answer_that_may_be_either_is_refused_until_it_is_said(movie: Path) -> None:
    class Two(Small):
        def forward(self, x: Tensor) -> Any:
            said = super().forward(x)
            return {"near": said.flip(1), "far": said}

    torch.manual_seed(3)
    facts: dict[str, Any] = {"layer": "far", "frames": 8, "frame_rate": 10, "preprocessing": SIZE, "labels": LABELS}
    with pytest.raises(OptionError, match=r"near \(1, 4\), far \(1, 4\); say output="):
        explain(Model(Two(), **facts), movie)
    torch.manual_seed(3)
    expected = explain(small(), movie)
    for which in ("far", lambda output: output["far"]):
        torch.manual_seed(3)
        equal(explain(Model(Two(), output=which, **facts), movie), expected)


class Ending(Small):
    """Two labels that are both almost sure, or one logit."""

    def __init__(self, ending: Any, biases: tuple[float, ...]) -> None:
        torch.manual_seed(1)
        super().__init__()
        self.head, self.ending = nn.Linear(9, len(biases)), ending
        nn.init.normal_(self.head.weight, 0, 0.01)
        self.head.bias.data[:] = torch.tensor(biases)

    def forward(self, x: Tensor) -> Tensor:
        return self.ending(super().forward(x))


def ending(end: Any, biases: tuple[float, ...], **facts: Any) -> Model:
    return Model(Ending(end, biases), "far", frames=8, frame_rate=10, preprocessing=SIZE, labels=["a", "b"], **facts)


def test_several_labels_at_once_keep_their_probabilities(movie: Path) -> None:
    """Logits of 6.2 and 5 are 0.998 and 0.993, each for itself; a softmax of them would make 0.77 and 0.23."""
    expected = torch.tensor([6.2, 5.0]).sigmoid().numpy()
    for model in (ending(torch.sigmoid, (6.2, 5)), ending(lambda z: z, (6.2, 5), activation="sigmoid")):
        for target in (None, "b"):
            found = explain(model, movie, target=target)
            np.testing.assert_allclose(found.probabilities.mean(axis=0), expected, atol=2e-3)
    np.testing.assert_allclose(explain(ending(lambda z: z, (6.2, 5)), movie).probabilities.sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(OptionError, match="unknown activation 'relu'; possible: softmax, sigmoid, none"):
        ending(torch.sigmoid, (6.2, 5), activation="relu")


def test_an_ending_is_said_and_leaves_the_map(movie: Path) -> None:
    plain, soft = (explain(ending(end, (30, 0)), movie) for end in (lambda z: z, nn.Softmax(1)))
    np.testing.assert_allclose(soft.heat, plain.heat, rtol=1e-6)
    np.testing.assert_allclose(soft.probabilities, plain.probabilities, rtol=1e-6)
    assert "the network ends in a softmax: what goes into it is explained, not the probability" in soft.notes
    assert not [note for note in plain.notes if "ends in" in note]


def test_endings_that_only_their_numbers_tell(movie: Path) -> None:
    """The probability of the first class is 1 - 1e-13: its own map would be one of rounding."""

    def by_hand(z: Tensor) -> Tensor:
        e = (z - z.max(1, keepdim=True).values).exp()
        return e / e.sum(1, keepdim=True)

    plain = explain(ending(lambda z: z, (30, 0)), movie)
    for end in (by_hand, lambda z: z.log_softmax(1).exp(), lambda z: z.softmax(1).double().float()):
        found = explain(ending(end, (30, 0)), movie)
        np.testing.assert_allclose(found.heat, plain.heat, rtol=1e-4)
        np.testing.assert_allclose(found.probabilities, plain.probabilities, rtol=1e-4)
        assert [note for note in found.notes if "ends in a softmax" in note]
    crops = explain(ending(lambda z: torch.stack([z, 2 * z]).softmax(2).mean(0), (30, 0)), movie)
    assert [note for note in crops.notes if "ends in a mean of several softmax: what goes into it" in note]
    np.testing.assert_allclose(crops.heat, 1.5 * plain.heat, rtol=1e-4)


def test_probabilities_whose_scores_are_not_found_are_said_to_be_weak(movie: Path) -> None:
    smooth = explain(ending(lambda z: 0.9 * z.softmax(1) + 0.05, (1, 0)), movie)
    assert [note for note in smooth.notes if "lies within 0 and 1, and no softmax or sigmoid was found" in note]
    np.testing.assert_allclose(smooth.probabilities.mean(axis=0), [0.708, 0.292], atol=2e-2)
    for model in (*(ending(lambda z: z, biases) for biases in ((2, 0), (0.6, 0.5))), ending(torch.sigmoid, (2, 0))):
        assert not [note for note in explain(model, movie).notes if "lies within" in note]


def test_an_answer_without_an_axis_of_classes_or_of_samples(movie: Path) -> None:
    with pytest.raises(
        ModelError, match=r"\(B, K\), a number per class; it returns \(3,\); its axis of samples is missing"
    ):
        explain(replace(ending(lambda z: z[0], (1, 2, 3)), labels=["a", "b", "c"]), movie)
    with pytest.raises(ModelError, match=r"a number per class; it returns \(1, 2, 4\)"):
        explain(ending(lambda z: z[..., None].expand(-1, -1, 4), (1, 2)), movie)


@pytest.mark.parametrize("end", [lambda z: z, torch.sigmoid, lambda z: z[:, 0], lambda z: z.sigmoid().squeeze(1)])
def test_one_logit_of_two_labels_has_a_negative_class(movie: Path, end: Any) -> None:
    found = explain(ending(end, (-1,)), movie)
    assert found.target_name == "a" and found.probabilities.shape[1] == 2
    np.testing.assert_allclose(found.probabilities.mean(axis=0), [0.731, 0.269], atol=5e-3)
    yes, no = (explain(ending(end, (-1,)), movie, target=name) for name in ("b", "a"))
    both = explain(ending(end, (-1,)), movie, target="b", method="counterfactual")
    np.testing.assert_allclose(no.heat, both.heat, rtol=1e-6)
    assert not np.allclose(yes.heat, no.heat)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-4), (torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_networks_of_another_precision(movie: Path, dtype: torch.dtype, tolerance: float) -> None:
    expected = explain(small(), movie, target="down")
    model = small()
    model.net.to(dtype)
    found = explain(model, movie, target="down")
    assert all(p.dtype == dtype for p in model.net.parameters())
    np.testing.assert_allclose(found.heat, expected.heat, atol=tolerance * float(expected.heat.max()))


class Hungry(Small):
    """Has room for two windows at a time."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return super().forward(x)


def hungry() -> Model:
    torch.manual_seed(3)
    facts: dict[str, Any] = {"frames": 8, "frame_rate": 10, "labels": LABELS, "preprocessing": SIZE}
    return Model(Hungry(), "far", **facts)


def test_a_batch_of_the_user_s_for_which_there_is_no_memory_is_one_line(movie: Path) -> None:
    with pytest.raises(ModelError, match=r"cpu has no memory for custom on 5 windows of 8 frames; a smaller batch="):
        explain(hungry(), movie, batch=8)
    equal(explain(hungry(), movie, batch=2), explain(small(), movie, batch=2))


def test_a_batch_that_is_vidcam_s_own_is_halved_until_there_is_memory(
    movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Stream.__init__
    monkeypatch.setattr(Stream, "__init__", lambda self, *given: made(self, *given[:3], given[3] or 8, given[4]))
    found = explain(hungry(), movie)
    monkeypatch.undo()
    equal(found, explain(small(), movie, batch=1))


def test_a_layer_may_be_given_as_the_module(movie: Path) -> None:
    model = small()
    equal(explain(model, movie, target="up", layer=model.net.far[0]), explain(model, movie, target="up", layer="far.0"))
    assert Model(model.net, model.net.far).layer == "far"
    with pytest.raises(LayerError, match="a layer is a name or a module of Small; given Linear"):
        explain(model, movie, layer=nn.Linear(1, 1))


def test_attention_beside_the_answer_is_no_ending(movie: Path) -> None:
    """The built-in network whose output holds a softmax of another thing keeps its own probabilities."""
    options = {"backbone": "squeezenet1_1", "hidden": 8, "frames": 4, "size": [32, 32], "classes": 5}
    with pytest.warns(UntrainedWarning):
        model = load_model("cnn_lstm_attention", weights=None, options=options)
    found = explain(model, movie, target=0)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert not [note for note in found.notes if "ends in" in note]


def test_a_probe_leaves_nothing_in_what_a_network_remembers(movie: Path) -> None:
    class Remembering(Small):
        def __init__(self) -> None:
            super().__init__()
            self.far, self.memory = nn.Sequential(nn.Conv2d(3, 9, 4, 4), nn.ReLU()), torch.zeros(9)

        def forward(self, x: Tensor) -> Tensor:
            seen = self.far(x.transpose(1, 2).flatten(0, 1)).mean((2, 3))
            self.memory = 0.9 * self.memory + 0.1 * seen.mean(0).detach()
            return self.head(seen.unflatten(0, (len(x), -1)).mean(1) + 0 * self.memory)

    facts: dict[str, Any] = {"frames": 8, "frame_rate": 10, "labels": LABELS, "preprocessing": SIZE}
    model = Model(Remembering(), "far", **facts)
    assert explain(model, movie, classes=4).maps.any() and model.net.memory.isfinite().all()


@pytest.mark.parametrize(("grid", "times"), [((4, 2, 3), 1), (lambda tokens: (4, 2, 3), 0)])
def test_tokens_are_measured_once_and_not_where_the_model_knows_them(
    movie: Path, monkeypatch: pytest.MonkeyPatch, grid: Any, times: int
) -> None:
    class Tokens(Small):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.far = nn.Conv3d(3, 9, (2, 16, 16), (2, 16, 16)), nn.Linear(9, 9)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.far(self.patches(x).flatten(2).transpose(1, 2)).relu().mean(1))

    asked: list[str] = []
    monkeypatch.setattr(orders, "find_tokens", lambda *given: asked.append(given[-1]) or find_tokens(*given))
    facts: dict[str, Any] = {"frames": 8, "frame_rate": 10, "labels": LABELS, "preprocessing": SIZE}
    model = Model(Tokens(), "far", layout="b (t h w) c", grid=grid, **facts)
    assert explain(model, movie, target=0).heat.shape == (FRAMES, 2, 3)
    explain(model, movie, target=1, batch=3)
    assert asked == ["far"] * times
