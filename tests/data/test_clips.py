import pickle
import shutil

import numpy as np
import pytest
import torch

from vidcam.data.augmentation import Augmentation
from vidcam.data.clips import ClipDataset, collate
from vidcam.data.manifest import Row
from vidcam.data.preprocessing import Preprocessing
from vidcam.data.sampling import ClipSource, sample, spread, windows
from vidcam.errors import MediaError, OptionError
from vidcam.media import BACKENDS, open_video
from vidcam.training.loading import Batches, loader

PLAIN = Preprocessing()


def dataset(rows, **options):
    given = {"frames": 8, "frame_rate": 10, "preprocessing": PLAIN} | options
    return ClipDataset(rows, sorted({row.label for row in rows}), **given)


def numbers(x):
    """The number of every frame, told by its gray (C, T, H, W) -> T numbers."""
    return [round((gray * 255 - 16) / 5) for gray in x.mean(dim=(0, 2, 3)).tolist()]


@pytest.fixture
def rows(make):
    return [Row(make(f"{i}.mp4", count=30 + i, first=i), "odd" if i % 2 else "even", "train") for i in range(6)]


def broken_rows(rows, tmp_path):
    """One missing file and one of garbage among good ones."""
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"no video" * 100)
    return [*rows, Row(garbage, "odd", "train"), Row(tmp_path / "gone.mp4", "even", "train")]


@pytest.mark.parametrize("rate", [None, 7, 10, 20, 33])
def test_uniform_clips_are_windows_of_what_explain_samples(make, rate):
    path = make(count=40, rate=20)
    with open_video(path) as video:
        explained = list(windows((frame.index for frame in sample(video, rate)), length=8, hop=1))
    source = ClipSource(Row(path, "a", "train"))
    found = [source.uniform(clip, 3, 8, rate) for clip in range(3)]
    assert found[0] == list(explained[0].items)
    assert found[1] == list(explained[round((len(explained) - 1) / 2)].items)
    assert found[2] == list(explained[-1].items)
    assert source.uniform(0, 1, 8, rate) == found[1]


def test_pixels_are_those_of_the_chosen_frames(make):
    data = dataset([Row(make(count=40, rate=20), "a", "train"), Row(make("b.mp4"), "b", "train")], clips="uniform")
    first = data[0]
    # 20 ticks of 0.1 s, every other frame; 12 to spare, half of them before the clip: ticks 6 to 13.
    assert numbers(first["x"]) == [12, 14, 16, 18, 20, 22, 24, 26]
    assert first["x"].shape == (3, 8, 24, 32) and first["x"].dtype == torch.float32 and first["x"].is_contiguous()
    assert (first["y"], first["video"], first["clip"]) == (0, 0, 0) and data[1]["y"] == 1


def test_times_decide_and_not_frame_numbers(make):
    times = [0, 0.1, 0.2, 0.3, 0.7, 1.1, 1.5, 1.9]
    data = dataset([Row(make(count=8, times=times), "a", "train")], frames=5, frame_rate=2.5, clips="uniform")
    # Ticks at 0, 0.4, 0.8, 1.2, 1.6: nearest are 0.3, 0.7, 1.1 and 1.5.
    assert numbers(data[0]["x"]) == [0, 3, 4, 5, 6]


def test_a_short_video_has_its_last_frame_repeated(make):
    row = Row(make(count=5, rate=10), "a", "train")
    for clips in ("random", "uniform"):
        assert numbers(dataset([row], clips=clips)[0]["x"]) == [0, 1, 2, 3, 4, 4, 4, 4]
    single = Row(make("one.mp4", count=1), "a", "train")
    assert numbers(dataset([single])[0]["x"]) == [0] * 8


@pytest.mark.parametrize("rate", [10, 24, 30])
@pytest.mark.parametrize("count", [1, 2, 5, 8, 40, 41, 127])
def test_spread_frames_are_those_that_tsn_counts(count, rate):
    """At a constant rate, also where a container rounds times to milliseconds, time and numbers say the same."""
    for frames in (1, 3, 8, 16):
        wanted = [(2 * i + 1) * count // (2 * frames) for i in range(frames)]
        assert spread(np.arange(count) / rate, frames) == wanted
        assert spread(np.round(np.arange(count) / rate, 3), frames) == wanted
        if count % frames == 0:
            starts = [i * count // frames for i in range(frames)]
            assert spread(np.arange(count) / rate, frames, 0.0) == starts


def test_spread_clips_interleave_and_learn_from_anywhere(make):
    rows = [Row(make(count=40, rate=20), "a", "train"), Row(make("b.mp4"), "b", "train")]
    options = {"frames": 4, "frame_rate": None, "sampling": "spread", "per_video": 2}
    uniform = dataset(rows, clips="uniform", **options)
    assert [numbers(uniform[clip]["x"]) for clip in range(2)] == [[2, 12, 22, 32], [7, 17, 27, 37]]
    drawn = dataset(rows, **options)
    found = []
    for epoch in range(30):
        drawn.set_epoch(epoch)
        found += [numbers(drawn[clip]["x"]) for clip in range(2)]
    segments = np.array(found) // 10
    assert (segments == np.arange(4)).all()
    assert len({tuple(each) for each in found}) > 50
    offsets = np.array(found) % 10
    assert {*offsets.ravel().tolist()} == {*range(10)} and abs(np.corrcoef(offsets[:, 0], offsets[:, 1])[0, 1]) < 0.4


def test_start_and_end_bound_spread_clips(make):
    row = Row(make(count=40, rate=20), "a", "train", start_seconds=0.5, end_seconds=1.5)
    source = ClipSource(row)
    assert source.spread(4, 0.5) == [12, 17, 22, 27]  # the middles of frames 10 to 29: 12.5, 17.5 ...


def test_start_and_end_bound_the_clips(make):
    row = Row(make(count=40, rate=20), "a", "train", 0.5, 1.0)
    data = dataset([row], frames=4, frame_rate=20)
    seen = set()
    for epoch in range(60):
        data.set_epoch(epoch)
        seen |= set(numbers(data[0]["x"]))
    assert seen == set(range(10, 20))
    nothing = dataset([Row(row.path, "a", "train", 5, 6)], clips="uniform")
    assert nothing[0] is None
    assert "no frame from 5 to 6 seconds" in nothing.broken()[0]


def test_random_clips_start_with_every_frame_that_leaves_time_alike(make):
    source = ClipSource(Row(make(count=40, rate=20), "a", "train"))
    rng = np.random.default_rng(0)
    starts = [source.random(rng, 8, 10)[0] for _ in range(2600)]
    # 8 ticks of 0.1 s need 0.7 s and half a frame: the last start is frame 25 (1.25 s; 1.95 s is the last frame).
    counts = np.bincount(starts)
    assert len(counts) == 26 and counts.min() > 60 and counts.max() < 145  # 100 +- 4.5 standard deviations
    assert all(source.random(rng, 8, 10)[-1] <= 39 for _ in range(50))


def test_random_clips_of_all_frames(make):
    source = ClipSource(Row(make(count=10), "a", "train"))
    rng = np.random.default_rng(0)
    found = {tuple(source.random(rng, 8, None)) for _ in range(100)}
    assert found == {tuple(range(start, start + 8)) for start in range(3)}


def everything(data, workers, epochs=(0, 1)):
    batches = Batches(len(data), batch=4, seed=data.seed)
    load = loader(data, workers, collate, batch_sampler=batches)
    found = []
    for epoch in epochs:
        data.set_epoch(epoch)
        batches.place(epoch)
        found.append(list(load))
    return found


def equal(one, other):
    return all((one[key] == other[key]).all() for key in ("x", "y", "video", "clip"))


def test_any_number_of_workers_gives_the_same_samples(rows, tmp_path):
    options = {"augment": Augmentation(hue=0.1), "per_video": 2, "seed": 3}
    runs = [everything(dataset(broken_rows(rows, tmp_path), **options), workers) for workers in (0, 1, 2)]
    for run in runs[1:]:
        for epoch, expected in zip(run, runs[0], strict=True):
            assert len(epoch) == len(expected) == 4
            assert all(equal(one, other) for one, other in zip(epoch, expected, strict=True))
    first, second = (torch.cat([batch["video"] for batch in epoch]).tolist() for epoch in runs[0])
    assert first != second  # the order changes from epoch to epoch
    again = everything(dataset(broken_rows(rows, tmp_path), **options), 0)
    other = everything(dataset(broken_rows(rows, tmp_path), **(options | {"seed": 4})), 0)
    assert equal(again[1][2], runs[0][1][2]) and not equal(other[1][2], runs[0][1][2])


def test_epochs_change_random_clips_and_not_uniform_ones(rows):
    for clips, changes in (("random", True), ("uniform", False)):
        data = dataset(rows, clips=clips)
        before = [data[i]["x"] for i in range(len(data))]
        data.set_epoch(1)
        assert any((data[i]["x"] != before[i]).any() for i in range(len(data))) == changes


def test_loading_leaves_the_global_random_states_alone(rows):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    everything(dataset(rows, augment=Augmentation()), 0)
    assert (torch.get_rng_state() == torch_state).all() and (np.random.get_state()[1] == numpy_state).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_videos_are_left_out_counted_and_named_in_any_process(rows, tmp_path, workers):
    data = dataset(broken_rows(rows, tmp_path), clips="uniform", per_video=2)
    seen = torch.cat([batch["video"] for batch in loader(data, workers, collate, batch_size=3)]).tolist()
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    broken = data.broken()
    assert set(broken) == {6, 7}
    assert "garbage.mp4" in broken[6] and "damaged" in broken[6] and "no such file" in broken[7]


def test_another_video_of_the_class_takes_a_broken_ones_place_in_training(rows, tmp_path):
    data = dataset(broken_rows(rows, tmp_path))
    places = []
    for epoch in range(12):
        data.set_epoch(epoch)
        found = data[6]
        assert found["y"] == data.labels.index("odd")
        places.append(found["video"])
    assert set(places) == {1, 3, 5}


def test_nothing_readable_gives_empty_batches(tmp_path):
    rows = [Row(tmp_path / f"{i}.mp4", "a", "train") for i in range(3)]
    data = dataset(rows)
    (batch,) = loader(data, 0, collate, batch_size=4)
    assert len(batch["y"]) == len(batch["x"]) == 0 and set(data.broken()) == {0, 1, 2}


def test_a_video_that_recovered_is_told_so(make, tmp_path):
    path = make("good.mp4")
    hidden = tmp_path / "hidden.mp4"
    shutil.move(path, hidden)
    data = dataset([Row(path, "a", "train")])
    assert data[0] is None
    shutil.move(hidden, path)
    assert "now it can" in data.broken()[0]
    assert data[0] is not None


def test_collate_drops_none_and_keeps_the_rest():
    sample = {"x": torch.ones(3, 2, 4, 4), "y": 1, "video": 2, "clip": 0}
    batch = collate([None, sample, sample])
    assert batch["x"].shape == (2, 3, 2, 4, 4) and batch["y"].tolist() == [1, 1] and batch["y"].dtype == torch.int64


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_agree(rows, backend, require_backend):
    require_backend(backend)
    data, other = dataset(rows), dataset(rows, backend=backend)
    assert all(numbers(data[i]["x"]) == numbers(other[i]["x"]) for i in range(len(data)))


def test_a_pickled_copy_shares_nothing_decoded(rows):
    data = dataset(rows)
    data[0]
    assert pickle.loads(pickle.dumps(data))._sources == {}


def test_wrong_arguments(rows):
    with pytest.raises(OptionError, match=r"1\.mp4.*unknown label 'odd'; possible: even"):
        ClipDataset(rows, ["even"], frames=8, frame_rate=10, preprocessing=PLAIN)
    for wrong, said in (
        ({"clips": "randm"}, "did you mean 'random'"),
        ({"backend": "pyavi"}, "did you mean 'pyav'"),
        ({"frames": 0}, "frames must be positive"),
        ({"frame_rate": -1}, "frame_rate must be positive"),
        ({"per_video": 0}, "per_video must be positive"),
    ):
        with pytest.raises(OptionError, match=said):
            dataset(rows, **wrong)
    with pytest.raises(OptionError, match="no rows"):
        ClipDataset([], ["a"], frames=8, frame_rate=10, preprocessing=PLAIN)
    with pytest.raises(IndexError):
        dataset(rows)[6]


def test_a_source_reads_only_what_is_asked_for(make):
    source = ClipSource(Row(make(count=40), "a", "train"))
    assert [frame.index for frame in source.read([3, 3, 7, 7])] == [3, 7]
    assert source.ends == (0, 39) and source.duration_seconds == pytest.approx(2.0)
    with pytest.raises(MediaError):
        ClipSource(Row(make("none.mp4").with_name("absent.mp4"), "a", "train"))


@pytest.mark.shared
def test_real_hmdb51_clips_load(data):
    rows = [Row(path, path.parent.name, "train") for path in sorted((data / "hmdb51" / "videos").glob("*/*.avi"))]
    wanted = Preprocessing(resize=(128, 171), crop=(112, 112))
    loaded = dataset(rows, frames=16, frame_rate=15, preprocessing=wanted, augment=Augmentation())
    (batch,) = loader(loaded, 0, collate, batch_size=4)
    assert batch["x"].shape == (4, 3, 16, 112, 112) and not loaded.broken()
    assert batch["x"].flatten(1).std(dim=1).min() > 0.05


def test_clips_do_not_reach_across_a_gap(make) -> None:
    """A second, a minute of nothing, a frame alone, a minute of nothing, 0.9 seconds; at 20 frames per second."""
    times = [*(i / 20 for i in range(20)), 60.0, *(120 + i / 20 for i in range(18))]
    source = ClipSource(Row(make(count=39, times=times), "a", "train"))
    rng = np.random.default_rng(0)
    assert {source.random(rng, 16, 20)[0] for _ in range(300)} == {*range(5), *range(21, 24)}
    assert all(np.diff(source.random(rng, 16, 20)).tolist() == [1] * 15 for _ in range(50))
    uniform = [source.uniform(clip, 3, 16, 20) for clip in range(3)]
    assert uniform == [[*range(16)], [*range(4, 20)], [*range(23, 39)]]
