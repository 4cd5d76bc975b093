import shutil
from pathlib import Path

import pytest

from vidcam.data.checking import check_manifest
from vidcam.data.manifest import Row, read_manifest, write_manifest
from vidcam.errors import MediaError, OptionError


@pytest.fixture
def manifest(make, tmp_path) -> Path:
    """One of each: good ones, a copy with another label and side, a short one, garbage, a missing one, a torn group."""
    good = [make(f"good{i}.mp4", first=i) for i in range(3)]
    copy = shutil.copy(good[0], tmp_path / "copy.mp4")
    short = make("short.mp4", count=4, rate=20)
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"no video" * 100)
    rows = [
        Row(good[0], "run", "train", group="ann"),
        Row(good[1], "walk", "train", group="bob"),
        Row(good[2], "walk", "test", group="bob"),
        Row(copy, "walk", "test", group="cid"),
        Row(short, "run", "train"),
        Row(garbage, "run", "train"),
        Row(tmp_path / "gone.mp4", "run", "train"),
        Row(good[1], "walk", "unused", 0.5, 1.5, group="bob"),
        Row(good[2], "walk", "test", 7, 8, group="dan"),
    ]
    write_manifest(rows, tmp_path / "manifest.csv")
    return tmp_path / "manifest.csv"


def test_every_problem_is_found_once_and_nothing_else(manifest):
    report = check_manifest(manifest, min_seconds=0.5)
    found = [(problem.line, problem.kind) for problem in report.problems]
    assert found == [
        (4, "both sides"),
        (5, "duplicate"),
        (6, "short"),
        (7, "unreadable"),
        (8, "unreadable"),
        (10, "unreadable"),
    ]
    about = {problem.line: problem.about for problem in report.problems}
    assert about[4] == "group 'bob' is in test here and in train in line 3"
    assert "good0.mp4" in about[5] and "in train and not in test" in about[5] and "'run' instead of 'walk'" in about[5]
    assert "0.20 s (4 frames), less than 0.5 s" in about[6]
    assert "damaged" in about[7] and "no such file" in about[8] and "no frame from 7 to 8" in about[10]
    assert report.counts == {"unreadable": 3, "short": 1, "duplicate": 1, "both sides": 1}
    assert report.as_dict()["counts"] == report.counts and report.splits == {"train": 5, "test": 3, "unused": 1}
    lines = list(report.lines())
    assert lines[0].startswith(f"{manifest}, line 4: ") and lines[-1].startswith(
        "9 videos checked: 3 unreadable, 1 short"
    )
    assert not any("\n" in line for line in lines)


def test_nothing_wrong(make, tmp_path):
    rows = [Row(make(f"{i}.mp4", first=i), str(i % 2), "train") for i in range(3)]
    write_manifest(rows, tmp_path / "manifest.csv")
    report = check_manifest(read_manifest(tmp_path / "manifest.csv"))
    assert report.problems == () and list(report.lines()) == ["3 videos checked: nothing wrong"]


def test_a_file_without_group_on_both_sides(make, tmp_path):
    path, other = make("a.mp4"), make("b.mp4", first=3)
    rows = [Row(path, "x", "train", 0, 1), Row(path, "x", "test", 1, 2), Row(other, "y", "train")]
    write_manifest(rows, tmp_path / "manifest.csv")
    assert [problem.kind for problem in check_manifest(tmp_path / "manifest.csv").problems] == ["both sides"]


def test_progress_counts_every_video(manifest):
    told = []
    check_manifest(manifest, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 9) for done in range(1, 10)]


def test_folders_of_pictures_are_compared_too(data_folder, tmp_path):
    copy = shutil.copytree(data_folder, tmp_path / "copy")
    rows = [Row(data_folder, "x", "train"), Row(copy, "y", "train")]
    write_manifest(rows, tmp_path / "manifest.csv")
    assert [problem.kind for problem in check_manifest(tmp_path / "manifest.csv").problems] == ["duplicate"]


@pytest.fixture
def data_folder(tmp_path):
    import numpy as np
    from matplotlib.image import imsave

    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(15):
        imsave(folder / f"{index}.png", np.full((8, 8, 3), index * 10, np.uint8))
    return folder


def test_wrong_arguments(manifest, tmp_path):
    with pytest.raises(OptionError, match="backend"):
        check_manifest(manifest, backend="none")
    with pytest.raises(OptionError, match="min_seconds"):
        check_manifest(manifest, min_seconds=-1)
    with pytest.raises(MediaError, match="cannot read the manifest"):
        check_manifest(tmp_path / "absent.csv")


@pytest.mark.shared
def test_nasty_videos_end_in_words(data, tmp_path):
    rows = [Row(path, "xy"[i % 2], "train") for i, path in enumerate(sorted((data / "nasty").iterdir()))]
    write_manifest(rows, tmp_path / "manifest.csv")
    report = check_manifest(tmp_path / "manifest.csv", min_seconds=0)
    unreadable = {Path(problem.path).name for problem in report.problems if problem.kind == "unreadable"}
    assert {"sample_audio_only.mp4", "sine_mono_s16.wav"} <= unreadable and len(unreadable) <= 6
