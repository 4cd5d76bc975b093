from fractions import Fraction

import numpy as np
import pytest

from vidcam.media import VideoWriter

A, B, C = "aaaaaaaaaaA", "bbbbbbbb_-B", "ccccccccccC"


@pytest.fixture
def video(tmp_path):
    def write(name, seconds=1):
        path = tmp_path / "k" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, width=16, height=16, rate=Fraction(10)) as writer:
            for index in range(10 * seconds):
                writer.write(np.full((16, 16, 3), index, np.uint8))
        return path

    return write


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / "k" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_lists_are_read_by_header_name_and_problems_are_listed(video, write, run, tmp_path):
    video(f"train/{A}_000001_000011.mp4")
    video(f"val/{B}_000002_000012.mp4")
    write(f"val/{C}_000003_000013.mp4", "garbage " * 50)
    write("annotations/train.csv", f"split,time_end,time_start,youtube_id,label\ntrain,11,1,{A},tai chi\n")
    rows = f'"skiing (not slalom or crosscountry)",{B},2,12,validate\nabseiling,{C},3,13,val\n'
    rows += "abseiling,ddddddddddD,4,14,val\n"
    write("annotations/val.csv", "label,youtube_id,time_start,time_end,split\n" + rows)
    write("annotations/test.csv", f"youtube_id,time_start,time_end,split\n{A},1,11,test\n")
    done = run("kinetics", tmp_path / "k")
    assert [(row.path.parent.name, row.label, row.split, row.group) for row in done.manifest.rows] == [
        ("train", "tai chi", "train", A),
        ("val", "skiing (not slalom or crosscountry)", "val", B),
    ]
    assert len(done.manifest.labels) == 400 and done.manifest.labels[308].startswith("skiing (not")
    assert done.facts["missing"] == ["ddddddddddD_000004_000014"] and len(done.facts["unlabeled"]) == 1
    assert [name.rpartition("/")[2] for name in done.facts["corrupt"]] == [f"{C}_000003_000013.mp4"]
    assert len(done.said) == 3
    unchecked = run("kinetics", tmp_path / "k", "--no-check", output="unchecked.csv")
    assert unchecked.facts["present"] == 3


@pytest.mark.parametrize("layout", ["train/{}/{}_000001_000011.mp4", "videos_train/{}/{}_000001_000011.mp4"])
@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("skiing_not_slalom_or_crosscountry", "skiing (not slalom or crosscountry)"),
        ("massaging_person's_head", "massaging person's head"),
        ("tai chi", "tai chi"),
    ],
)
def test_folders_decide_without_lists(video, run, tmp_path, layout, folder, label):
    video(layout.format(folder, A))
    (row,) = run("kinetics", tmp_path / "k").manifest.rows
    assert (row.label, row.split) == (label, "train")


def test_numbered_lists(video, write, run, tmp_path):
    video(f"videos_val/tai_chi/{A}_000001_000011.mp4")
    video(f"videos_val/yoga/{B}_000001_000011.mp4")
    write("kinetics400_val_list_videos.txt", f"tai_chi/{A}_000001_000011.mp4 349\nyoga/{B}_000001_000011.mp4 300 399\n")
    done = run("kinetics", tmp_path / "k")
    labels = done.manifest.labels
    assert [(row.label, row.split) for row in done.manifest.rows] == [(labels[349], "val"), (labels[399], "val")]
    write("kinetics400_val_list_videos.txt", f"tai_chi/{A}_000001_000011.mp4 400\n")
    assert "line 1: label 400 is not from 0 to 399" in run("kinetics", tmp_path / "k", output="b.csv").said[0]


def test_whole_films_are_cut_by_the_lists_and_clips_are_not(video, write, run, tmp_path):
    video(f"train/{A}.mp4", seconds=10)
    video(f"train/{B}.mp4", seconds=3)
    write("train.csv", f"label,youtube_id,time_start,time_end\nyoga,{A},4,7\nyoga,{B},104,107\n")
    rows = run("kinetics", tmp_path / "k").manifest.rows
    assert [(row.start_seconds, row.end_seconds) for row in rows] == [(4, 7), (None, None)]


def test_other_versions_take_their_classes_from_the_lists(video, write, run, tmp_path):
    video(f"train/{A}_000001_000011.mp4")
    write("train.csv", f"label,youtube_id,time_start,time_end\nzorbing,{A},1,11\nadjusting glasses,{B},1,11\n")
    done = run("kinetics", tmp_path / "k", "--classes", "700")
    assert done.manifest.labels == ("adjusting glasses", "zorbing")
    assert any("2 classes instead of 700" in line for line in done.said)
    other = run("kinetics", tmp_path / "k", output="other.csv")
    assert other.code == 1 and "unknown label 'zorbing'" in other.said[0] and A in other.said[0]


def test_a_header_without_the_columns_and_a_bad_line(video, write, run, tmp_path):
    video(f"train/{A}_000001_000011.mp4")
    write("train.csv", "label,youtube_id,begin\n")
    assert "no column time_start, time_end" in run("kinetics", tmp_path / "k").said[0]
    write("train.csv", f"label,youtube_id,time_start,time_end\nyoga,{A},1,1e999\n")
    assert "line 2: youtube_id, time_start and time_end are expected" in run("kinetics", tmp_path / "k").said[0]
    write("train.csv", f"label,youtube_id,time_start,time_end\nyoga,{A},one,2\n")
    assert "train.csv, line 2" in run("kinetics", tmp_path / "k").said[0]


def test_a_clip_in_two_places_or_lines_is_taken_once_and_said(video, write, run, tmp_path):
    for name in ("train/yoga", "val/yoga", "replacement"):
        video(f"{name}/{A}_000001_000011.mp4")
    video(f"train/zumba/{B}_000001_000011.mp4")
    copied = f"warning: 1 videos lie in several places, and one of each is taken: {A}_000001_000011"
    done = run("kinetics", tmp_path / "k")
    assert [(row.path.parent.parent.name, row.group) for row in done.manifest.rows] == [("train", A), ("train", B)]
    assert done.said == [copied]
    write("train.csv", f"label,youtube_id,time_start,time_end\nzumba,{B},1,11\nyoga,{A},1,11\n")
    write("val.csv", f"label,youtube_id,time_start,time_end\nyoga,{A},1,11\n")
    write("kinetics_train_list.txt", f"zumba/{B}_000001_000011.mp4 399\n")
    listed = run("kinetics", tmp_path / "k", output="listed.csv")
    assert {(row.split, row.group) for row in listed.manifest.rows} == {("train", A), ("train", B)}
    relisted = f"zumba/{B}_000001_000011.mp4"
    assert listed.said == [
        f"warning: 1 videos are listed more than once, and the first line of each counts: {relisted}",
        copied,
    ]


def test_names_that_are_no_clips_names_say_nothing_of_what_is_in_them(video, run, tmp_path):
    for name in ("train/yoga/0001.mp4", "train/zumba/0001.mp4", "val/yoga/0001.mp4"):
        video(name)
    done = run("kinetics", tmp_path / "k")
    assert [(row.label, row.split) for row in done.manifest.rows] == [
        *(("yoga", "train"), ("zumba", "train"), ("yoga", "val"))
    ]
    assert done.said == []


def test_wrong_options_are_one_line(video, run, tmp_path):
    video(f"train/yoga/{A}_000001_000011.mp4")
    for option, said in (("--classes", "unknown number of classes 0;"), ("--workers", "--workers must be 1 or more")):
        done = run("kinetics", tmp_path / "k", option, "0")
        assert done.code == 1 and len(done.said) == 1 and said in done.said[0]
