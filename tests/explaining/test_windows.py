"""Windows of sources that have gaps in time: what no frame shows is not made up."""

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import vidcam
from vidcam.explaining.ranking import rank
from vidcam.explaining.windows import Stream
from vidcam.media import VideoWriter, open_video
from vidcam.metrics.changes import score_drop
from vidcam.metrics.deletion_curve import deletion

LENGTH, RATE = 8, 10


class Moves(nn.Module):
    """Says "moves" with certainty where neighboring frames differ anywhere in the clip, else "rests"."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv3d(3, 1, 1, bias=False)
        nn.init.constant_(self.look.weight, 1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = self.look(x)
        steps = (seen[:, :, 1:] - seen[:, :, :-1]).abs().mean((1, 3, 4))
        moves = 500 * steps.mean(1) - 3
        return torch.stack([moves, -moves], 1)


@pytest.fixture
def model() -> vidcam.Model:
    size = vidcam.Preprocessing(resize=(24, 32), mean=(0, 0, 0), std=(1, 1, 1))
    options = {"layer": "look", "frames": LENGTH, "frame_rate": RATE, "preprocessing": size}
    return vidcam.Model(Moves(), labels=["moves", "rests"], **options)


def film(path: Path, times: list[float]) -> Path:
    """A bright column that moves one step with every frame."""
    with VideoWriter(path, width=32, height=24, rate=Fraction(RATE)) as writer:
        for index, seconds in enumerate(times):
            pixels = np.full((24, 32, 3), 40, np.uint8)
            pixels[:, (index * 4) % 32 : (index * 4) % 32 + 4] = 220
            writer.write(pixels, seconds)
    return path


def cut(path: Path, model: vidcam.Model) -> list[list[int]]:
    with open_video(path) as video:
        return [
            [fed.index for fed in window.items] for group in Stream(video, model, None, 1, None) for window in group
        ]


def even(count: int, start: float = 0.0) -> list[float]:
    return [start + index / RATE for index in range(count)]


@pytest.mark.parametrize("gap", [1.5, 60, 3600])
def test_nothing_is_made_up_in_a_gap(model: vidcam.Model, tmp_path: Path, gap: float) -> None:
    path = film(tmp_path / "a.mp4", even(12) + even(8, 1.1 + gap))
    assert cut(path, model) == [[*range(8)], [*range(4, 12)], [*range(12, 20)]]
    explanation = vidcam.explain(model, path)
    assert explanation.target_name == "moves" and explanation.probability > 0.9
    assert explanation.windows.tolist() == pytest.approx(
        np.array([(0, 0.8), (0.4, 1.2), (1.1 + gap, 1.9 + gap)]), abs=1e-6
    )
    (note,) = [note for note in explanation.notes if "no frame" in note]
    assert note.startswith("from 1.1 s to ") and "apart" in note


def test_a_short_pause_is_no_gap(model: vidcam.Model, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", even(8) + even(8, 1.6))
    assert cut(path, model)[1] == [4, 5, 6, 7, 7, 7, 7, 7]
    assert not any("no frame" in note for note in vidcam.explain(model, path).notes)


def test_a_window_of_one_frame_does_not_vote(model: vidcam.Model, tmp_path: Path) -> None:
    """Three frames stand alone, and eight in a row move: what is said of those eight is the answer."""
    path = film(tmp_path / "a.mp4", [0, 60, 120, *even(8, 180)])
    assert cut(path, model) == [[0] * 8, [1] * 8, [2] * 8, [*range(3, 11)]]
    explanation = vidcam.explain(model, path)
    assert explanation.target_name == "moves" and explanation.probability > 0.9
    assert len(explanation.windows) == len(explanation.probabilities) == 1
    assert len(explanation.heat) == 11


def test_a_time_lapse_costs_what_its_frames_cost(model: vidcam.Model, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [10.0 * index for index in range(20)])
    assert cut(path, model) == [[index] * 8 for index in range(20)]
    calls: list[int] = []
    model.net.register_forward_pre_hook(lambda _net, given: calls.append(len(given[0])))
    explanation = vidcam.explain(model, path, target="rests")
    assert explanation.probability > 0.9 and len(explanation.windows) == 20
    assert any("each alone" in note for note in explanation.notes)
    assert 20 <= sum(calls) <= 40  # with the probes of its geometry; before, every second of the pauses cost a window


def test_a_frame_that_is_held_is_run_once(tmp_path: Path) -> None:
    size = vidcam.Preprocessing(resize=(24, 32))
    model = vidcam.Model(Moves(), layer="look", frames=2, frame_rate=RATE, preprocessing=size)
    path = film(tmp_path / "a.mp4", [0, 0.5, 1.0])
    assert cut(path, model) == [[0, 0], [0, 1], [1, 1], [1, 2], [2, 2]]


@pytest.mark.shared
def test_a_minute_without_frames(model: vidcam.Model, data: Path) -> None:
    clips = data.parent / "cases" / "media"
    assert cut(clips / "gap_1min.mp4", model)[-1] == [*range(36, 60, 3)]
    assert len(cut(clips / "gap_1min.mp4", model)) == 4  # 10 samples at each side: two windows of 8
    assert len(cut(clips / "fps_1_10.mp4", model)) == 40


def test_a_window_of_one_frame_is_not_counted_anywhere(model: vidcam.Model, tmp_path: Path) -> None:
    """Frames that stand alone are not ranked, and neither kept scores nor deletion count what is said of them."""
    path = film(tmp_path / "a.mp4", [0, 60, 120, *even(8, 180)])
    with open_video(path) as video, closing(iter(Stream(video, model, None, 1, None))) as groups:
        *_, (window,) = groups
    with torch.no_grad():
        moving, held = (
            model.net(model.batch([[window.items[place].pixels for place in places]]))[0, 0].item()
            for places in (range(8), [0] * 8)
        )
    found = rank(model, path, target="moves", shown=(1,), draws=1)
    assert sorted(frame.index for frame in found.frames) == [*range(3, 11)]
    assert found.kept.whole == pytest.approx(moving, rel=1e-4)
    assert found.kept.by["leave_out"].tolist() == pytest.approx([held], rel=1e-4)
    assert (found.scores["leave_out"][3:] > 0).all()  # less moves without any of them
    measures = {"moves": score_drop(lambda said: said[:, 0])}
    report = deletion(model, path, found.explanation, measures=measures, draws=1)
    assert report.starts == (window.start,) and report.flat == 0


def test_where_every_frame_stands_alone_each_is_counted(model: vidcam.Model, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [10.0 * index for index in range(4)])
    assert len(rank(model, path, target="rests", draws=1).frames) == 4
