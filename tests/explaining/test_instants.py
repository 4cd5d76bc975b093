"""Networks that answer at each time step: planted evidence, and plain autograd by hand."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam import At, Explanation, Model, explain, metrics, rank, timeline
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import LayerError, ModelError, OptionError, TargetError, VidcamError
from vidcam.media import VideoWriter, open_video
from vidcam.rendering.curves import output

SIZE, CELL, T = 32, 8, 6
FRAMES = 14
LABELS = ["rest", "wave"]


class PerFrame(nn.Module):
    """(B, T, 2): the second class at step t is the brightness of frame t + `ahead`."""

    def __init__(self, ahead: int = 0) -> None:
        super().__init__()
        self.cells = nn.Conv3d(3, 1, (1, CELL, CELL), (1, CELL, CELL), bias=False)
        nn.init.constant_(self.cells.weight, 1 / (3 * CELL * CELL))
        self.ahead = ahead

    def forward(self, x: Tensor) -> Tensor:
        bright = self.cells(x).mean((1, 3, 4))
        bright = torch.cat([bright[:, self.ahead :], torch.zeros_like(bright[:, : self.ahead])], 1)
        return torch.stack([-bright, bright], 2)


class Mixed(PerFrame):
    """Each step is made from several frames, and from several channels, and turned around by a nonlinearity."""

    def __init__(self, steps: int = T) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cells = nn.Conv3d(3, 4, (3, CELL, CELL), (1, CELL, CELL), (1, 0, 0))
        self.over = nn.Conv1d(4, 2, 3, padding=1)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        seen = self.cells(x).tanh().amax((3, 4))
        return nn.functional.adaptive_avg_pool1d(self.over(seen).tanh() * 3, self.steps).transpose(1, 2)


class As(nn.Module):
    """A network whose answer is changed."""

    def __init__(self, net: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.change = net, change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.net(x))


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that changes from frame to frame, 10 per second."""
    path = tmp_path_factory.mktemp("movie") / "noise.mp4"
    random = np.random.default_rng(0)
    with VideoWriter(path, width=SIZE, height=SIZE, rate=Fraction(10)) as writer:
        for frame in range(FRAMES):
            cells = random.integers(30, 255, (4, 4, 3), dtype=np.uint8)
            writer.write(np.kron(cells, np.ones((CELL, CELL, 1), np.uint8)), frame / 10)
    return path


def watching(net: nn.Module, layer: str = "cells", **slots: object) -> Model:
    slots = {"labels": LABELS, "frames": T, "preprocessing": Preprocessing(resize=(SIZE, SIZE))} | slots
    return Model(net, layer, **slots)  # type: ignore[arg-type]


def windows(model: Model, movie: Path) -> list[tuple[list[int], Tensor]]:
    """The frames of each window and what the network takes, as they are cut: half of one apart, the last one whole."""
    with open_video(movie) as video:
        frames = [model.prepare(frame.pixels) for frame in video]
    starts = sorted({*range(0, FRAMES - T, T // 2), FRAMES - T})
    return [([*range(s, s + T)], model.batch([frames[s : s + T]])) for s in starts]


def hand_map(
    model: Model, x: Tensor, score: Callable[[Tensor], Tensor], *, positive: bool = True
) -> tuple[np.ndarray, float]:
    """Grad-CAM with weights per slot, (T, h, w), and the score, by plain autograd."""
    kept = []
    layer = dict(model.net.named_modules())[model.layer]
    hook = layer.register_forward_hook(lambda *given: kept.append(given[2]))
    value = score(model.net(x))
    hook.remove()
    (slope,) = torch.autograd.grad(value, kept[0])
    heat = (slope.mean((3, 4), keepdim=True) * kept[0]).sum(1)
    return heat[0].detach().numpy().clip(0 if positive else None), float(value.detach())


def by_hand(
    model: Model, movie: Path, score: Callable[[Tensor, int], Tensor], steps: int = T, *, positive: bool = True
) -> np.ndarray:
    """Each frame's heat from the score of its own step, windows blended with weights 1, 2, .., 2, 1."""
    total, weight = np.zeros((FRAMES, 4, 4)), np.zeros((FRAMES, 1, 1))
    for frames, x in windows(model, movie):
        for place, frame in enumerate(frames):
            step = int((place + 0.5) / T * steps)
            heat = hand_map(model, x, lambda output, step=step: score(output, step), positive=positive)[0][place]
            share = min(place + 1, T - place)
            total[frame] += share * heat
            weight[frame] += share
    return total / weight


def wave(output: Tensor, step: int) -> Tensor:
    return output[0, step, 1]


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("net", [PerFrame(), Mixed()])
def test_each_frame_has_the_heat_of_its_own_step(net: nn.Module, batch: int, movie: Path) -> None:
    model = watching(net)
    explanation = explain(model, movie, target="wave", batch=batch)
    wanted = by_hand(model, movie, wave)
    assert wanted.any(axis=(1, 2)).sum() > FRAMES / 2
    np.testing.assert_allclose(explanation.heat, wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("ahead", [0, 1])
def test_a_time_shows_the_frames_that_its_answer_was_made_from(ahead: int, batch: int, movie: Path) -> None:
    """Evidence in frame 7 alone, whichever of the windows that hold 0.7 s is asked, and no other frame is warm."""
    model = watching(PerFrame(ahead))
    explanation = explain(model, movie, target=At("wave", seconds=(7 - ahead) / 10), batch=batch)
    assert np.flatnonzero(explanation.frame_scores).tolist() == [7]
    assert explanation.target_name == f"wave at 0.{7 - ahead} s"
    with open_video(movie) as video:
        bright = [frame.pixels for frame in video][7].reshape(4, CELL, 4, CELL, 3).mean((1, 3, 4)) / 255
    heat = explanation.heat[7]
    np.testing.assert_allclose(heat / heat.max(), bright / bright.max(), rtol=0.02)


def test_what_is_made_from_other_frames_is_said(movie: Path) -> None:
    explanation = explain(watching(PerFrame(ahead=1)), movie, target="wave")
    assert explanation.is_flat
    assert any("100% of the heat of all steps lies on frames of other steps" in note for note in explanation.notes)
    own = explain(watching(PerFrame()), movie, target="wave").notes
    assert any(f"at each of {T} time steps" in note and f"by {T} backward passes" in note for note in own)
    assert not any("other steps" in note for note in own)


def test_a_time_is_blended_over_the_windows_that_hold_it(movie: Path) -> None:
    model, frame = watching(Mixed()), 4
    total, weight, values = np.zeros((FRAMES, 4, 4)), np.zeros((FRAMES, 1, 1)), []
    for frames, x in windows(model, movie):
        if frame in frames:
            heat, _ = hand_map(model, x, lambda output, frames=frames: wave(output, frames.index(frame)))
            ramp = np.minimum(np.arange(T) + 1, np.arange(T, 0, -1))[:, None, None]
            total[frames] += ramp * heat
            weight[frames] += ramp
            values.append(float(model.net(x)[0, frames.index(frame)].softmax(0)[1].detach()))
    assert len(values) == 2
    explanation = explain(model, movie, target=At("wave", 0.4))
    np.testing.assert_allclose(explanation.heat, total / np.maximum(weight, 1), rtol=1e-4, atol=1e-7)
    assert min(values) <= explanation.values[frame] <= max(values)


def test_a_time_between_frames_is_that_of_the_nearest(movie: Path) -> None:
    model = watching(PerFrame())
    for seconds, frame in ((0.0, 0), (0.66, 7), (0.64, 6), (1.3, 13), (1.39, 13)):
        explanation = explain(model, movie, target=At(1, seconds))
        assert np.flatnonzero(explanation.frame_scores).tolist() == [frame]


def test_probabilities_per_frame(movie: Path) -> None:
    model = watching(Mixed())
    explanation = explain(model, movie)
    total, weight, means = np.zeros((FRAMES, 2)), np.zeros((FRAMES, 1)), []
    for frames, x in windows(model, movie):
        shares = model.net(x)[0].softmax(1).detach().numpy()
        ramp = np.minimum(np.arange(T) + 1, np.arange(T, 0, -1))[:, None]
        total[frames] += ramp * shares
        weight[frames] += ramp
        means.append(shares.mean(0))
    np.testing.assert_allclose(explanation.probabilities, means, rtol=1e-5)
    np.testing.assert_allclose(explanation.extras["answers"], total / weight, rtol=1e-5)
    np.testing.assert_allclose(explanation.values, explanation.extras["answers"][:, explanation.target], rtol=1e-5)
    assert explanation.target == int(np.mean(means, 0).argmax())


def test_layouts(movie: Path) -> None:
    """Classes before time, labels or none; three classes so that nothing reads both ways."""
    net = Mixed()
    wanted = explain(watching(net), movie, target=1).maps
    turned = As(net, lambda answer: answer.transpose(1, 2).contiguous())
    for slots in ({}, {"labels": ()}, {"answer_layout": "b k t"}):
        assert np.array_equal(explain(watching(turned, "net.cells", **slots), movie, target=1).maps, wanted)
    named = As(net, lambda answer: {"logits": answer, "features": answer[..., :1]})  # type: ignore[arg-type, return-value]
    assert np.array_equal(explain(watching(named, "net.cells"), movie, target=1).maps, wanted)


def test_as_many_classes_as_frames_are_refused_until_it_is_said(movie: Path) -> None:
    labels = ["rest", "wave", *"abcd"]
    net = As(PerFrame(), lambda answer: torch.cat([answer, answer.new_zeros(len(answer), T, 4)], 2))
    with pytest.raises(ModelError, match=r"\(1, 6, 6\), which as one per frame reads both ways .* answer_layout="):
        explain(watching(net, "net.cells", labels=labels), movie)
    said = watching(net, "net.cells", labels=labels, answer_layout="b t k")
    np.testing.assert_array_equal(
        explain(said, movie, target="wave").maps, explain(watching(PerFrame()), movie, target="wave").maps
    )
    with pytest.raises(OptionError, match=r"unknown answer layout 'b t c'.*b t k"):
        watching(net, "net.cells", answer_layout="b t c")
    with pytest.raises(ModelError, match=r"answer_layout='b k' says; it returns \(1, 6, 6\)"):
        explain(watching(net, "net.cells", answer_layout="b k"), movie)


def test_fewer_steps_than_frames_are_equal_bins_once_it_is_said(movie: Path) -> None:
    with pytest.raises(ModelError, match=r"\(1, 3, 2\), which is none per frame either with 6 frames and 2 classes"):
        explain(watching(Mixed(3)), movie)
    model = watching(Mixed(3), answer_layout="b t k")
    explanation = explain(model, movie, target="wave")
    np.testing.assert_allclose(explanation.heat, by_hand(model, movie, wave, steps=3), rtol=1e-4, atol=1e-7)
    assert explain(model, movie, target="wave@0.4").target_name == "wave at 0.4 s"


def test_a_signal(movie: Path) -> None:
    """(B, T): each frame's own value, and that of one time, as a regressor."""
    net = As(Mixed(), lambda answer: answer[..., 1])
    model = watching(net, "net.cells", labels=(), answer_layout="b t")
    explanation = explain(model, movie)
    signed = by_hand(model, movie, lambda output, step: output[0, step], positive=False)
    np.testing.assert_allclose(explanation.maps[0], signed, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(explanation.heat, signed.clip(0), rtol=1e-4, atol=1e-7)
    assert explanation.target_name == "signal"
    first = windows(model, movie)[0][1]
    np.testing.assert_allclose(explanation.values[:3], model.net(first)[0, :3].detach(), rtol=1e-4)
    pulse = replace(model, scores={"pulse": lambda output: output, "mean": lambda output: output.mean(1)})
    both = explain(pulse, movie, target=["pulse@0.4", "mean"])
    assert both.target_name == "pulse at 0.4 s"
    assert both.frame_scores[:6].any() and not both.frame_scores[10:].any()
    assert np.array_equal(both.of("pulse").maps[0], explanation.maps[0])


def test_a_signal_of_one_frame_each(movie: Path) -> None:
    model = watching(As(PerFrame(), lambda answer: answer[..., 1]), "net.cells", labels=(), answer_layout="b t")
    assert np.flatnonzero(explain(model, movie, target="signal@0.7").frame_scores).tolist() == [7]


def test_functions_over_time(movie: Path) -> None:
    def margin(output: Tensor) -> Tensor:
        return output[..., 1] - output[..., 0]

    def all_of_it(output: Tensor) -> Tensor:
        return output[..., 1].sum(1)

    model = watching(PerFrame())
    explanation = explain(model, movie, target=[margin, At(margin, 0.5), all_of_it, "wave"])
    np.testing.assert_allclose(explanation.heat, 2 * explanation.of("wave").heat, rtol=1e-5)
    assert np.flatnonzero(explanation.of("margin at 0.5 s").frame_scores).tolist() == [5]
    np.testing.assert_allclose(explanation.of("all_of_it").heat, explanation.of("wave").heat, rtol=1e-5)
    with pytest.raises(OptionError, match=r"one number per sample, shape \(1,\); given \(1, 2\)"):
        explain(model, movie, target=lambda output: output[:, 0])


def test_a_softmax_at_each_step_is_seen(movie: Path) -> None:
    plain = explain(watching(Mixed()), movie, target="wave")
    for ending in (lambda z: z.softmax(2), lambda z: z.exp() / z.exp().sum(2, keepdim=True)):
        said = explain(watching(As(Mixed(), ending), "net.cells"), movie, target="wave")
        np.testing.assert_allclose(said.heat, plain.heat, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(said.probabilities, plain.probabilities, rtol=1e-5)
        assert any("ends in a softmax" in note for note in said.notes)


def test_a_layer_that_no_step_depends_on_is_refused(movie: Path) -> None:
    net = PerFrame()
    net.spare = nn.Conv3d(3, 1, 1)
    blind = As(net, lambda answer: answer)
    forward = net.forward
    net.forward = lambda x: forward(x) + 0 * net.spare(x).mean()  # type: ignore[method-assign]
    for target in ("wave", "wave@0.9"):
        with pytest.raises(LayerError, match=r"net\.spare"):
            explain(watching(blind, "net.spare"), movie, target=target)


def test_as_many_numbers_as_frames_are_said_to_be_taken_for_classes(movie: Path) -> None:
    model = watching(As(PerFrame(), lambda answer: answer[..., 1]), "net.cells", labels=())
    assert any("answer_layout='b t' says that they are one per frame" in note for note in explain(model, movie).notes)
    settled = explain(replace(model, answer_layout="b k"), movie).notes
    assert not any("taken for classes" in note for note in settled)


def test_a_class_whose_name_holds_an_at(movie: Path) -> None:
    model = watching(PerFrame(), labels=["me@0.7", "me"])
    assert explain(model, movie, target="me@0.7").target == 0
    assert explain(model, movie, target="me@0.70").target_name == "me at 0.7 s"
    assert explain(model, movie, target="me@0.7@0.7").target_name == "me@0.7 at 0.7 s"


def test_what_is_no_time_is_refused(movie: Path) -> None:
    model = watching(PerFrame())
    with pytest.raises(TargetError, match=r"no frame at 9 s; the video has frames from 0 to 1\.3 s"):
        explain(model, movie, target="wave@9")
    with pytest.raises(OptionError, match="0 or later; given -1"):
        At("wave", seconds=-1)
    with pytest.raises(TargetError, match=r"unknown class 'wive'.*wave"):
        explain(model, movie, target="wive@1")
    once = watching(As(PerFrame(), lambda answer: answer.mean(1)), "net.cells")
    with pytest.raises(TargetError, match="the network answers once per window"):
        explain(once, movie, target="wave@0.5")
    with pytest.raises(TargetError, match="custom answers once per window; answer_layout="):
        explain(replace(once, scores={"speed": lambda output: output[:, 0]}), movie, target="speed@0.5")


def test_what_needs_one_answer_says_so(movie: Path) -> None:
    model = watching(PerFrame())
    for own in (model, replace(model, answer_layout="b t k")):
        with pytest.raises(VidcamError, match=r"custom answers at each time step.* output= "):
            rank(own, movie)
    with pytest.raises(OptionError, match=r"ranked by what they do for a class; given 'wave at 0\.5 s'"):
        rank(model, movie, target="wave@0.5")
    one = replace(model, output=lambda output: output.mean(1))
    assert rank(one, movie, target="wave").explanation.target_name == "wave"
    signal = watching(As(PerFrame(), lambda answer: answer[..., 1]), "net.cells", labels=(), answer_layout="b t")
    explanation = explain(signal, movie)
    with pytest.raises(OptionError, match="must return one number per version"):
        metrics.deletion(signal, movie, explanation)
    with pytest.raises(OptionError, match="truth= is of one answer per window, and custom answers at each time step"):
        explain(signal, movie, truth=np.zeros((FRAMES, T)))


def test_it_is_kept_and_drawn(movie: Path, tmp_path: Path) -> None:
    explanation = explain(watching(Mixed()), movie, target=["wave@0.4", "wave"])
    loaded = Explanation.load(explanation.save(tmp_path / "kept.npz"))
    assert np.array_equal(loaded.extras["answers"], explanation.extras["answers"])
    assert np.array_equal(loaded.heat, explanation.heat)
    timeline(loaded, tmp_path / "at.png")
    timeline(loaded.of("wave"), tmp_path / "class.png")
    seconds, drawn = output(loaded.of("wave"))
    assert np.array_equal(seconds, loaded.seconds)
    assert np.array_equal(drawn, loaded.extras["answers"][:, 1])


def test_a_text_held_fixed_is_a_score(movie: Path) -> None:
    """Video against text: a wrapper holds the text, and the score is a function of what the network returns."""

    class Likeness(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.cells = nn.Conv3d(3, 4, (1, CELL, CELL), (1, CELL, CELL))
            self.words = nn.Embedding(10, 4)

        def forward(self, pixel_values: Tensor, input_ids: Tensor) -> dict[str, Tensor]:
            video, text = self.cells(pixel_values).relu().mean((2, 3, 4)), self.words(input_ids).mean(1)
            return {"logits_per_video": nn.functional.cosine_similarity(video[:, None], text[None], dim=2)}

    class Asked(nn.Module):
        def __init__(self, net: nn.Module, input_ids: Tensor) -> None:
            super().__init__()
            self.net = net
            self.register_buffer("input_ids", input_ids)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.net(pixel_values=x, input_ids=self.input_ids)["logits_per_video"]
            return answer

    def a_dog_runs(output: Tensor) -> Tensor:
        return output[:, 1]

    texts = torch.tensor([[1, 2, 3], [4, 5, 6]])
    model = watching(Asked(Likeness(), texts), "net.cells", labels=("a cat sits", "a dog runs"))
    for target in (a_dog_runs, "a dog runs"):
        explanation = explain(model, movie, target=target, batch=2)
        total, weight = np.zeros((FRAMES, 4, 4)), np.zeros((FRAMES, 1, 1))
        for frames, x in windows(model, movie):
            ramp = np.minimum(np.arange(T) + 1, np.arange(T, 0, -1))[:, None, None]
            total[frames] += ramp * hand_map(model, x, lambda output: output[0, 1])[0]
            weight[frames] += ramp
        np.testing.assert_allclose(explanation.heat, total / weight, rtol=1e-4, atol=1e-7)
