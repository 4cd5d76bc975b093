"""Evidence planted in one frame of sixteen, in networks whose weights are set by hand."""

import copy
import inspect
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam.attribution.attention import find_context
from vidcam.errors import MediaError, ModelError, OptionError
from vidcam.explaining.agreement import spearman
from vidcam.explaining.explain import explain
from vidcam.explaining.ranking import RANKINGS, RankedFrame, Ranking, rank
from vidcam.models.cnn_rnn import AdditiveAttention, CnnRnn, RecurrentOutput
from vidcam.models.model import Model
from vidcam.rendering.sheet import pick, rank_sheet

FRAMES = 16
RED, BRIGHT = 3, 10
"""The frame with the evidence, and the one that attention likes."""


class Planted(nn.Module):
    """A CNN-LSTM that answers class 0 if it has seen red, wherever it was.

    The backbone tells red and bright. With attention the LSTM forgets at once, and attention looks for what is bright
    and gray; without, it remembers for ever, and the head reads the last state.
    """

    def __init__(self, *, attention: bool) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 2, 4, stride=4), nn.ReLU())
        self.rnn = nn.LSTM(2, 2, batch_first=True)
        self.attention = AdditiveAttention(2, 1) if attention else None
        self.head = nn.Linear(2, 2)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.backbone[0].weight[:] = torch.tensor([[1.0, -1, -1], [1, 1, 1]])[:, :, None, None] / 16
            self.backbone[0].bias[1] = -2.0
            gates = self.rnn.bias_ih_l0.view(4, 2)  # in, forget, cell, out
            gates[:] = torch.tensor([20.0, -20.0 if attention else 20.0, 0, 20.0])[:, None]
            self.rnn.weight_ih_l0[4:6] = torch.eye(2)
            self.head.weight[0, 0] = 6.0
            self.head.bias[0] = -1.0
            if self.attention is not None:
                self.attention.mix.weight[0, 3] = 4.0
                self.attention.rate.weight[0, 0] = 3.0

    def forward(self, x: Tensor) -> Tensor | RecurrentOutput:
        maps = self.backbone(x.transpose(1, 2).flatten(0, 1))
        states, _ = self.rnn(maps.mean((2, 3)).unflatten(0, (len(x), -1)))
        if self.attention is None:
            return self.head(states[:, -1])
        context, weights = self.attention(states, states[:, -1])
        return RecurrentOutput(self.head(context), weights)


class Constant(nn.Module):
    """An answer that takes part of the input, but is the same for all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv3d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        score = (self.look(x) * 0).mean((1, 2, 3, 4))
        return torch.stack([score + 1, score], 1)


def planted(*, attention: bool = True, frames: int = FRAMES, **changes: Any) -> Model:
    told = (lambda output: output.attention) if attention else None
    net = Planted(attention=attention)
    return Model(net, "backbone", layout="(b t) c h w", frames=frames, attention=told, **changes)


def pictures(*, red: int | None = RED, bright: int | None = BRIGHT, count: int = FRAMES) -> np.ndarray:
    """(F, 16, 24, 3) gray frames; a red square in one, and all of another is bright."""
    rng = np.random.default_rng(0)
    found = rng.integers(90, 110, (count, 16, 24, 1), dtype=np.uint8).repeat(3, axis=3)
    if bright is not None:
        found[bright] = 250
    if red is not None:
        found[red, 4:12, 8:20] = (255, 0, 0)
    return found


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write frames as pictures, bit by bit."""

    def write(frames: np.ndarray, name: str = "clip") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for i, frame in enumerate(frames):
            height, width, _ = frame.shape
            (folder / f"{i}.ppm").write_bytes(b"P6 %d %d 255\n" % (width, height) + frame.tobytes())
        return folder

    return write


@pytest.fixture
def ranking(write: Callable[..., Path]) -> Ranking:
    return rank(planted(), write(pictures()), target=0, by="contribution")


def test_all_but_plain_attention_find_the_evidence(ranking: Ranking) -> None:
    assert list(ranking.scores) == list(RANKINGS)
    peaks = {name: int(scores.argmax()) for name, scores in ranking.scores.items()}
    assert peaks == {"attention": BRIGHT, "contribution": RED, "heat": RED, "leave_out": RED}
    assert ranking.top(1)[0].index == RED
    assert ranking.verdict.startswith("attention agrees with none of the others")


def test_attention_to_the_evidence_agrees_with_what_is_measured(write: Callable[..., Path]) -> None:
    found = rank(planted(), write(pictures(red=RED, bright=RED)), target=0)
    assert {int(scores.argmax()) for scores in found.scores.values()} == {RED}
    assert found.scores["attention"][RED] > 0.5
    shared = "(1 of 1 top frame shared)"
    assert found.verdict == f"attention agrees with contribution {shared}, heat {shared}, leave_out {shared}"


def test_flat_attention_is_said_to_be_flat(write: Callable[..., Path]) -> None:
    model = planted()
    with torch.no_grad():
        model.net.attention.rate.weight.mul_(1e-5)
    found = rank(model, write(pictures()), target=0, draws=1)
    assert 0 < np.ptp(found.scores["attention"]) < 1e-4
    assert found.verdict == "attention cannot be compared: no frame stands out by attention"


def test_reversing_the_clip_moves_the_peaks(write: Callable[..., Path]) -> None:
    found = rank(planted(), write(pictures()[::-1]), target=0)
    peaks = {name: int(scores.argmax()) for name, scores in found.scores.items()}
    assert peaks == {"attention": 5, "contribution": 12, "heat": 12, "leave_out": 12}


@pytest.mark.parametrize("options", [{}, {"cell": "gru", "bidirectional": True, "layers": 2}])
def test_the_context_of_the_named_model_is_found(options: dict[str, Any]) -> None:
    net = CnnRnn(3, backbone="squeezenet1_1", attention=True, hidden=4, **options)
    assert find_context(net, torch.zeros(1, 3, 4, 64, 64), lambda output: output.attention) == "attention"


@pytest.mark.parametrize("red", [RED, 12])
def test_the_last_state_has_the_evidence_too(write: Callable[..., Path], red: int) -> None:
    found = rank(planted(attention=False), write(pictures(red=red)), target=0, by="leave_out")
    assert list(found.scores) == ["heat", "leave_out"]
    assert {name: int(scores.argmax()) for name, scores in found.scores.items()} == {"heat": red, "leave_out": red}
    assert found.top(1)[0] == RankedFrame(red, pytest.approx(red / 25), found.scores["leave_out"][red])
    assert "no attention" in found.notes[0]
    assert found.verdict.startswith("heat and leave_out")


@pytest.mark.parametrize(("changes", "count"), [({}, 13), ({"frame_rate": 100.0}, 4)])
def test_what_a_repeated_frame_gets_adds_up(write: Callable[..., Path], changes: dict[str, Any], count: int) -> None:
    """13 frames fill 16 places: the last has four of them. At four ticks a frame, of 4 frames the last has five."""
    source = write(pictures(red=count - 1, bright=None, count=count))
    model = planted(**changes)
    found = rank(model, source, target=0, by="contribution")
    places = np.repeat(np.arange(4), [3, 4, 4, 5]) if changes else np.arange(16).clip(max=12)
    clip = torch.tensor(pictures(red=count - 1, bright=None, count=count)[places]).permute(3, 0, 1, 2)[None] / 255
    with torch.no_grad():
        output = model.net(clip)
    told = np.bincount(places, output.attention[0].numpy())
    np.testing.assert_allclose(found.scores["attention"], told, rtol=1e-5)
    assert found.scores["attention"].sum() == pytest.approx(1, abs=1e-5)
    bias = model.net.head.bias[0].item()
    assert found.scores["contribution"].sum() == pytest.approx(output.logits[0, 0].item() - bias, rel=1e-4)
    assert found.scores["contribution"].argmax() == count - 1


def test_leave_out_is_the_drop_when_the_frame_is_its_neighbor(ranking: Ranking) -> None:
    model = planted()
    clip = torch.tensor(pictures()).permute(3, 0, 1, 2)[None] / 255
    versions = clip.repeat(FRAMES, 1, 1, 1, 1)
    for t in range(FRAMES):
        versions[t, :, t] = clip[0, :, t - 1 if t else 1]
    with torch.no_grad():
        drop = model.net(clip).logits[:, 0] - model.net(versions).logits[:, 0]
    np.testing.assert_allclose(ranking.scores["leave_out"], drop, atol=1e-5)
    assert drop[RED] > 0 > drop[RED + 1], "the frame after it turns red when it is left out"


def test_contributions_add_up_to_the_score_less_its_bias(ranking: Ranking) -> None:
    assert ranking.scores["contribution"].sum() == pytest.approx(ranking.kept.whole + 1, rel=1e-5)


def test_contribution_has_a_sign(write: Callable[..., Path]) -> None:
    model, source = planted(), write(pictures())
    with torch.no_grad():
        model.net.head.weight[1, 0] = -6.0
    found = [rank(model, source, target=target, by="contribution", shown=()) for target in (0, 1)]
    against, for_ = found[1].scores["contribution"], found[0].scores["contribution"]
    np.testing.assert_allclose(against, -for_, atol=1e-6)
    assert against.argmin() == RED


def test_the_frame_with_the_evidence_keeps_the_score(ranking: Ranking) -> None:
    """Shown alone, frame 3 fills the window: more than the whole; the bright one gives the bias alone."""
    kept = ranking.kept
    assert kept.k == (1, 2, 4, 8)
    for name in ("contribution", "heat", "leave_out"):
        assert kept.by[name][0] > kept.whole > kept.by["attention"][0] == pytest.approx(-1, abs=1e-4)
    assert kept.random.shape == (10, 4)
    assert (kept.by["contribution"][0] > kept.random_interval[0, 0]) and kept.random_mean[0] < kept.by["heat"][0]


def test_agreements_are_over_the_frames_that_were_seen(write: Callable[..., Path]) -> None:
    """At 5 frames per second of 25, every fifth frame is seen; the others are filled in and not ranked."""
    source = write(pictures(red=20, bright=40, count=80))
    found = rank(planted(frame_rate=5.0), source, target=0)
    assert np.flatnonzero(found.seen).tolist() == list(range(0, 80, 5))
    assert len(found.frames) == 16 and found.scores["heat"].shape == (80,)
    assert set(found.explanation.top_frames(99)) == set(range(0, 80, 5)), "what is between them was never looked at"
    assert found.frames[0].index == 20 and all(found.seen[frame.index] for frame in found.top(99))
    heat, attention = (found.scores[name][found.seen] for name in ("heat", "attention"))
    (pair,) = (a for a in found.agreements if a[:2] == ("attention", "heat"))
    assert pair.spearman == pytest.approx(spearman(attention, heat))


def test_long_videos_are_ranked_over_their_windows(write: Callable[..., Path]) -> None:
    counts: list[int] = []
    source = write(pictures(red=30, bright=5, count=41))
    found = rank(planted(), source, target=0, progress=lambda done, _: counts.append(done))
    peaks = {name: int(scores.argmax()) for name, scores in found.scores.items()}
    assert peaks == {"attention": 5, "contribution": 30, "heat": 30, "leave_out": 30}
    assert found.seen.all() and len(found.frames) == 41 and max(counts) == 41
    np.testing.assert_allclose(found.scores["attention"], found.explanation.attention)


def test_batches_do_not_matter_and_draws_repeat(write: Callable[..., Path]) -> None:
    source = write(pictures(count=24))
    one, other = (rank(planted(), source, target=0, batch=batch) for batch in (1, 5))
    for name in RANKINGS:
        np.testing.assert_allclose(one.scores[name], other.scores[name], atol=1e-5)
    np.testing.assert_allclose(one.kept.random, other.kept.random, atol=1e-5)
    assert (rank(planted(), source, target=0, seed=1).kept.random != one.kept.random).any()


def test_constant_scores_rank_nothing(write: Callable[..., Path]) -> None:
    model = Model(Constant(), "look", layout="b c t h w", frames=FRAMES)
    found = rank(model, write(pictures()), target=0, method="eigen_cam", draws=1)
    assert not found.scores["leave_out"].any()
    assert "cannot be compared" in found.verdict
    assert [a["spearman"] for a in found.as_dict()["agreements"]] == [None]
    np.testing.assert_allclose(found.kept.by["leave_out"], found.kept.whole)


@pytest.mark.parametrize("frames", [1, 4])
def test_a_single_frame(write: Callable[..., Path], frames: int) -> None:
    """A window of its own, or repeated to fill one."""
    found = rank(planted(frames=frames), write(pictures(red=0, bright=None, count=1)), target=0)
    assert [frame.index for frame in found.top(5)] == [0]
    assert found.scores["leave_out"].tolist() == [0]
    assert "cannot be compared" in found.verdict
    np.testing.assert_allclose(found.kept.by["heat"], found.kept.whole)
    json.dumps(found.as_dict(), default=str, allow_nan=False)


def test_the_model_is_left_as_it_was(write: Callable[..., Path]) -> None:
    model = planted()
    model.net.train()
    before, state = copy.deepcopy(model.net.state_dict()), torch.get_rng_state()
    rank(model, write(pictures()), target=0, draws=1)
    assert all(torch.equal(before[name], value) for name, value in model.net.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in model.net.modules())
    assert all(p.requires_grad and p.grad is None for p in model.net.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_it_saves_and_needs_force(ranking: Ranking, tmp_path: Path) -> None:
    path = ranking.save(tmp_path / "ranking.json")
    facts = json.loads(path.read_text())
    assert facts["by"] == "contribution" and facts["frames"][0]["index"] == RED
    assert facts["frames"][0]["attention"] == pytest.approx(ranking.scores["attention"][RED])
    assert facts["verdict"] == ranking.verdict and len(facts["agreements"]) == 6
    assert facts["kept"]["by"]["heat"] == pytest.approx(ranking.kept.by["heat"].tolist())
    with pytest.raises(MediaError, match="exists"):
        ranking.save(path)
    ranking.save(path, force=True)


def test_the_sheet_has_the_first_frames(ranking: Ranking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("vidcam.rendering.sheet.contact_sheet", lambda *given, **look: drawn.append((*given, look)))
    rank_sheet(ranking, tmp_path / "sheet.png")
    order = [frame.index for frame in ranking.frames]
    ((explanation, _, look),) = drawn
    assert pick(explanation, 4, order=look["order"]) == {frame: place for place, frame in enumerate(order[:4], 1)}
    assert look["how"] == "first frames by contribution"
    assert explanation is ranking.explanation


def test_the_sheet_is_a_picture(ranking: Ranking, tmp_path: Path) -> None:
    rank_sheet(ranking, tmp_path / "sheet.png", k=4, scale="frame")
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


class Inline(Planted):
    """Attention weighs the states where no module is asked."""

    def forward(self, x: Tensor) -> RecurrentOutput:
        weights = x.mean((1, 3, 4)).softmax(1)
        states, _ = self.rnn(self.backbone(x.transpose(1, 2).flatten(0, 1)).mean((2, 3)).unflatten(0, (len(x), -1)))
        return RecurrentOutput(self.head((weights[..., None] * states).sum(1)), weights)


def test_a_context_that_no_module_returns_leaves_the_rest(write: Callable[..., Path]) -> None:
    model, source = planted(), write(pictures())
    model.net = Inline(attention=False)
    found = rank(model, source, target=0, by="attention", draws=1)
    assert list(found.scores) == ["attention", "heat", "leave_out"]
    assert "no ranking by contribution" in found.notes[0]
    with pytest.raises(OptionError, match="no ranking by contribution; possible: attention, heat, leave_out"):
        rank(model, source, by="contribution")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "atention"}, "unknown by 'atention'; did you mean 'attention'"),
        ({"by": "attention"}, "has no attention, so no ranking by attention; possible: heat, leave_out"),
        ({"by": "contribution"}, "has no attention"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"shown": (0, 4)}, "must be at least 1"),
        ({"seed": -1}, "must not be negative"),
        ({"batch": 0}, "batch must be at least 1"),
    ],
)
def test_what_cannot_be_done(write: Callable[..., Path], options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        rank(planted(attention=False), write(pictures()), **options)


def test_options_have_the_defaults_of_explain() -> None:
    ours, theirs = (inspect.signature(function).parameters for function in (rank, explain))
    shared = set(theirs) - {"classes", "truth", "loss", "signed"}  # of regressors, and of several classes
    assert shared < set(ours)
    assert {name: theirs[name].default for name in shared} == {name: ours[name].default for name in shared}


def test_no_thread_is_left_after_an_exception(write: Callable[..., Path]) -> None:
    source, threads = write(pictures(count=60)), threading.active_count()
    with pytest.raises(ZeroDivisionError):
        rank(planted(), source, progress=lambda done, _: 1 // (40 - done))
    assert threading.active_count() == threads


def test_top_needs_a_frame(ranking: Ranking) -> None:
    with pytest.raises(OptionError, match="k of at least 1"):
        ranking.top(0)


class Hungry(Planted):
    """Has memory for two clips at a time."""

    most = 2

    def forward(self, x: Tensor) -> Tensor | RecurrentOutput:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return super().forward(x)


def hungry(most: int = 2) -> Model:
    model = planted()
    model.net.__class__, model.net.most = Hungry, most
    return model


def test_a_batch_for_which_there_is_no_memory_is_halved(write: Callable[..., Path]) -> None:
    source = write(pictures(count=2 * FRAMES))
    expected = rank(planted(), source, target=0, batch=2)
    found = rank(hungry(), source, target=0)
    assert found.kept.as_dict() == expected.kept.as_dict()
    for name, scores in expected.scores.items():
        np.testing.assert_array_equal(found.scores[name], scores)


@pytest.mark.parametrize(
    ("most", "batch", "said"), [(2, 4, "3 windows.*a smaller batch=, "), (0, None, "1 clip of 16")]
)
def test_no_memory_at_all_is_one_line(write: Callable[..., Path], most: int, batch: int | None, said: str) -> None:
    with pytest.raises(ModelError, match=f"cpu has no memory for custom on {said}") as error:
        rank(hungry(most), write(pictures(count=2 * FRAMES)), target=0, batch=batch)
    assert "\n" not in str(error.value)
