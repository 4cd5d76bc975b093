"""Networks that look at frames of the whole video, and at every frame: the frame that speaks is the hottest."""

import json
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import vidcam
from vidcam.attribution.scores import components
from vidcam.errors import OptionError
from vidcam.explaining.ranking import rank
from vidcam.explaining.windows import Stream
from vidcam.media import Video, VideoWriter, open_video
from vidcam.metrics.changes import score_drop
from vidcam.metrics.deletion_curve import deletion
from vidcam.rendering.curves import output
from vidcam.rendering.sheet import pick

RATE = 20
SIZE = vidcam.Preprocessing(resize=(24, 32), mean=(0, 0, 0), std=(1, 1, 1))


class Red(nn.Module):
    """Each frame by itself, (B, 3, T, H, W): says "red" as far as any cell of any frame is redder than blue."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv3d(3, 1, (1, 8, 8), (1, 8, 8), bias=False)
        with torch.no_grad():
            self.look.weight.copy_(torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1, 1).expand(1, 3, 1, 8, 8) / 64)

    def forward(self, x: Tensor) -> Tensor:
        score = self.look(x).relu().amax((1, 2, 3, 4))
        return torch.stack([20 * score - 1, 1 - 20 * score], 1)


def model(**slots) -> vidcam.Model:
    given = {
        "frames": 4,
        "sampling": "spread",
        "layout": "b c t h w",
        "preprocessing": SIZE,
        "labels": ["red", "gray"],
    } | slots
    return vidcam.Model(Red(), "look", **given)


def film(path: Path, count: int, red: int | None = None, times: list[float] | None = None) -> Path:
    """Gray frames, of which one has a red patch in the third cell of the second row."""
    with VideoWriter(path, width=64, height=48, rate=Fraction(RATE)) as writer:
        for index in range(count):
            pixels = np.full((48, 64, 3), 110, np.uint8)
            if index == red:
                pixels[16:32, 32:48] = (230, 20, 20)
            writer.write(pixels, index / RATE if times is None else times[index])
    return path


def cut(path: Path, of: vidcam.Model, batch: int | None = 1) -> list[list[list[int]]]:
    with open_video(path) as video, closing(iter(Stream(video, of, None, batch, None))) as groups:
        return [[[fed.index for fed in window.items] for window in group] for group in groups]


def test_the_middles_of_equal_segments(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40)
    assert cut(path, model()) == [[[5, 15, 25, 35]]]
    assert cut(path, model(clips=2)) == [[[2, 12, 22, 32]], [[7, 17, 27, 37]]]
    assert cut(path, model(clips=2), batch=2) == [[[2, 12, 22, 32], [7, 17, 27, 37]]]


@pytest.mark.parametrize(("clips", "red", "seen"), [(1, 25, [5, 15, 25, 35]), (1, 5, [5, 15, 25, 35])])
@pytest.mark.parametrize("time", ["linear", "nearest"])
def test_the_frame_that_speaks_is_the_hottest(tmp_path: Path, clips: int, red: int, seen: list[int], time: str) -> None:
    path = film(tmp_path / "a.mp4", 40, red)
    explanation = vidcam.explain(model(clips=clips), path, placement=(time, "linear"))
    heat = explanation.heat
    assert explanation.target_name == "red" and heat.shape == (40, 3, 4)
    assert np.flatnonzero(explanation.seen).tolist() == seen
    assert explanation.top_frames(1) == [red] and {*explanation.top_frames(40)} == {*seen}
    assert np.unravel_index(heat.argmax(), heat.shape)[1:] == (1, 2)
    peak = heat[red, 1, 2]
    # a frame 3 of the 10 behind it, between sampled ones
    assert heat[red + 3, 1, 2] == pytest.approx(peak * (0.7 if time == "linear" else 1), rel=1e-5)
    assert heat[red + 8, 1, 2] == pytest.approx(peak * (0.2 if time == "linear" else 0), rel=1e-5, abs=1e-7)
    assert any("4 frames, spread evenly" in note for note in explanation.notes)


def test_pictures_show_frames_that_were_seen(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40, 25)
    explanation = vidcam.explain(model(), path)
    assert pick(explanation, 8) == {25: 1, 5: 2, 15: 3, 35: 4}


def test_several_clips_interleave_and_all_vote(tmp_path: Path) -> None:
    """Of three clips of four frames only the second sees the red frame: it says so, the others do not."""
    path = film(tmp_path / "a.mp4", 60, 22)
    explanation = vidcam.explain(model(clips=3), path, target="red")
    assert np.flatnonzero(explanation.seen).tolist() == [*range(2, 60, 5)]
    assert explanation.top_frames(1) == [22]
    said = explanation.probabilities[:, 0]
    assert said.shape == (3,) and said[1] > 0.9 and said[[0, 2]] == pytest.approx(1 / (1 + np.e**2), rel=0.5)
    assert explanation.probability == pytest.approx(said.mean())
    assert explanation.windows == pytest.approx(np.tile([0, 3], (3, 1)))  # each tells of the whole video
    assert output(explanation)[1] == pytest.approx([said.mean()] * 3)
    assert explanation.provenance["sampling"] == "spread" and explanation.provenance["clips"] == 3
    assert any("3 clips of 4 frames" in note for note in explanation.notes)


@pytest.mark.parametrize("clips", [1, 3])
def test_batches_make_no_difference(tmp_path: Path, clips: int) -> None:
    path = film(tmp_path / "a.mp4", 60, 22)
    one, eight = (vidcam.explain(model(clips=clips), path, target="red", batch=batch) for batch in (1, 8))
    np.testing.assert_allclose(one.maps, eight.maps, rtol=1e-6)
    np.testing.assert_allclose(one.probabilities, eight.probabilities, rtol=1e-6)
    assert (one.windows == eight.windows).all() and (one.seen == eight.seen).all()


def test_every_frame_goes_sixteen_at_a_time(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40, 23)
    pictures = model(frames=1, sampling="windows")
    assert [len(group) for group in cut(path, pictures, None)] == [16, 16, 8]
    calls: list[int] = []
    pictures.net.register_forward_pre_hook(lambda _net, given: calls.append(len(given[0])))
    explanation = vidcam.explain(pictures, path, target="red")
    assert max(calls) == 16 and len(explanation.windows) == 40
    assert explanation.top_frames(1) == [23] and explanation.seen.all()
    assert explanation.heat[22].max() < 0.1 * explanation.heat[23].max() > 10 * explanation.heat[24].max()
    alone = vidcam.explain(pictures, path, target="red", batch=1)
    np.testing.assert_allclose(alone.maps, explanation.maps, rtol=1e-5, atol=1e-7)


def test_a_shorter_video_has_frames_repeated(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 3, 1)
    assert cut(path, model(frames=6)) == [[[0, 0, 1, 1, 2, 2]]]
    explanation = vidcam.explain(model(frames=6), path, target="red")
    assert explanation.top_frames(1) == [1]
    assert any("the video has 3 frames" in note and "several times" in note for note in explanation.notes)
    one = film(tmp_path / "b.mp4", 1, 0)
    assert cut(one, model(clips=2)) == [[[0] * 4], [[0] * 4]]
    assert vidcam.explain(model(clips=2), one).target_name == "red"


def test_time_counts_and_not_the_number_of_frames(tmp_path: Path) -> None:
    """The second half has a quarter of the frames; a minute without a frame counts as a second."""
    times = [index / 20 for index in range(16)] + [0.8 + index / 5 for index in range(4)]
    path = film(tmp_path / "a.mp4", 20, times=times)
    assert cut(path, model()) == [[[4, 12, 17, 19]]]  # at 0.2, 0.6, 1.0, 1.4 s of 1.6 s
    gap = film(
        tmp_path / "b.mp4", 20, 14, [index / 20 for index in range(10)] + [60 + index / 20 for index in range(10)]
    )
    assert cut(gap, model(frames=3)) == [[[6, 9, 13]]]  # at 0.325, 0.975 and 1.625 s of 0.45 + 1 + 0.5 s
    (note,) = [each for each in vidcam.explain(model(frames=3), gap, target="red").notes if "no frame" in each]
    assert note.startswith("from 0.45 s to 60 s") and "1 s count" in note


class Counting(Video):
    """A video that tells its times and counts what is read of it."""

    def __init__(self, video: Video) -> None:
        self.video, self.info, self.read = video, video.info, 0

    def __iter__(self):
        for frame in self.video:
            self.read += 1
            yield frame


def test_a_length_that_no_header_tells_is_counted(tmp_path: Path) -> None:
    """Read once to count and once for what is chosen, which alone is kept."""
    path = film(tmp_path / "a.mp4", 40)
    with open_video(path) as video:
        counting = Counting(video)
        stream = Stream(counting, model(), None, 1, None)
        with closing(iter(stream)) as groups:
            ((window,),) = groups
        assert [fed.index for fed in window.items] == [5, 15, 25, 35] and len(stream.seconds) == 40
        assert counting.read == 40 + 36  # to the last that is wanted


def test_memory_does_not_grow_with_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    for count in (40, 400):
        spread = model(clips=2)
        path, prepared = film(tmp_path / f"{count}.mp4", count), []
        monkeypatch.setattr(type(SIZE), "__call__", _noting(type(SIZE).__call__, prepared), raising=True)
        assert len(cut(path, spread)) == 2
        monkeypatch.undo()
        held.append(len(prepared))
    assert held == [8, 8]


def _noting(call, prepared: list[int]):
    def noted(self, pixels):
        prepared.append(1)
        return call(self, pixels)

    return noted


def test_a_file_that_is_damaged_has_the_same_frames(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.mp4", 40, 25)
    data = bytearray(whole.read_bytes())
    middle = data.find(b"mdat") + 4 + len(data[data.find(b"mdat") :]) // 3
    data[middle : middle + 40] = bytes(40)
    path = tmp_path / "b.mp4"
    path.write_bytes(data)
    explanation = vidcam.explain(model(), path, target="red")
    with open_video(path) as video:
        assert len(explanation.heat) == len(list(video))


def test_frames_are_ranked(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40, 25)
    found = rank(model(), path, target="red", draws=2, shown=(1, 2))
    assert found.frames[0].index == 25 and sorted(f.index for f in found.frames) == [5, 15, 25, 35]
    assert found.scores["leave_out"][25] == found.scores["leave_out"].max() > 0
    assert found.kept.by["leave_out"].tolist() == pytest.approx([found.kept.whole] * 2, rel=1e-5)


def test_cells_are_erased(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40, 25)
    explanation = vidcam.explain(model(clips=2), film(tmp_path / "b.mp4", 40, 22), target="red")
    measures = {"red": score_drop(lambda said: said[:, 0])}
    report = deletion(model(clips=2), tmp_path / "b.mp4", explanation, measures=measures, draws=2, fractions=(0.2,))
    assert report.starts == (0,) and report.flat == 1
    assert report.changes["red"]["hottest"].mean() > report.changes["red"]["coldest"].mean() + 0.5
    assert path.exists()


class Speed(Red):
    def forward(self, x: Tensor) -> Tensor:
        return self.look(x).relu().mean((2, 3, 4))


def test_a_regressor_answers_once(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40, 25)
    options = {"layout": "b c t h w", "frames": 4, "sampling": "spread", "preprocessing": SIZE}
    speed = vidcam.Model(Speed(), "look", scores=components("speed"), **options)
    explanation = vidcam.explain(speed, path)
    assert explanation.top_frames(1) == [25] and len({*explanation.values.tolist()}) == 1


class Stacked(nn.Module):
    """Stacks its frames, so that no layer knows time."""

    def __init__(self) -> None:
        super().__init__()
        self.look, self.head = nn.Conv2d(12, 2, 8, 8), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.look(x.flatten(1, 2)).relu().mean((2, 3)))


def test_a_stacking_regressor_is_told_of_all_frames_alike(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40, 25)
    torch.manual_seed(1)
    options = {"layout": "b c h w", "frames": 4, "sampling": "spread", "preprocessing": SIZE}
    explanation = vidcam.explain(vidcam.Model(Stacked(), "look", scores=components("speed"), **options), path)
    assert np.flatnonzero(explanation.seen).tolist() == [5, 15, 25, 35]
    assert (explanation.maps == explanation.maps[:, :1]).all()


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        ({"sampling": "sprad"}, "spread"),
        ({"frame_rate": 15}, "frame_rate must be None; given 15"),
        ({"clips": 0}, "at least 1; given 0"),
        ({"clips": 2, "sampling": "windows"}, "clips="),
        ({"clips": 1.5}, "whole number"),
        ({"state": "carried"}, "state='fresh'"),
        ({"extras": {"path": vidcam.Extra(lambda output: output, join=lambda parts: parts)}}, "windows"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(slots: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said) as error:
        model(**slots)
    assert "\n" not in str(error.value)


def test_a_hop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="leave hop_seconds out"):
        vidcam.explain(model(), film(tmp_path / "a.mp4", 8), hop_seconds=0.5)


class Lrcn(nn.Module):
    """A CNN-LSTM that others trained on UCF50, with (B, T, 3, H, W) in RGB where theirs is in BGR."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for channels, out, pool in ((3, 16, 4), (16, 32, 4), (32, 64, 2), (64, 64, 2)):
            parts += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(pool)]
        self.cnn, self.lstm, self.fc = nn.Sequential(*parts), nn.LSTM(64, 32, batch_first=True), nn.Linear(32, 50)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.cnn(x.flatten(0, 1)[:, [2, 1, 0]]).flatten(1).unflatten(0, x.shape[:2])
        return self.fc(self.lstm(frames)[0][:, -1])


@pytest.mark.shared
def test_a_real_network_knows_ten_of_ten_videos(data: Path) -> None:
    net, folder = Lrcn(), data / "networks" / "lrcn_ucf50"
    net.load_state_dict(load_file(folder / "model.safetensors"))
    size = vidcam.Preprocessing(resize=(64, 64), mean=(0, 0, 0), std=(1, 1, 1))
    slots = {"layout": "(b t) c h w", "input_layout": "b t c h w", "frames": 20, "sampling": "spread"}
    labels = json.loads((folder / "labels.json").read_text())
    lrcn = vidcam.Model(net.eval(), "cnn.4", preprocessing=size, labels=labels, **slots)
    for path in sorted((data / "ucf101").glob("*/*.avi")):
        explanation = vidcam.explain(lrcn, path)
        assert explanation.target_name == path.parent.name and explanation.probability > 0.5
        assert explanation.seen.sum() == 20 == len(explanation.top_frames(20))
