import pytest


@pytest.fixture
def root(touch, tmp_path):
    touch(*(f"ucf/UCF-101/{label}/v_{label}_g{g:02}_c01.avi" for label in ("YoYo", "Archery") for g in range(1, 26)))
    return tmp_path / "ucf"


@pytest.mark.parametrize(("split", "tested"), [(1, range(1, 8)), (2, range(8, 15)), (3, range(15, 22))])
def test_groups_decide_without_lists(root, run, split, tested):
    done = run("ucf101", root, "--split", str(split))
    assert (done.facts["train"], done.facts["test"]) == (36, 14) and "the groups gNN decide" in done.said[0]
    expected = {f"{label}/g{g:02}" for label in ("YoYo", "Archery") for g in tested}
    assert {row.group for row in done.manifest.split("test")} == expected
    assert done.facts["classes"] == ["Archery", "YoYo"]


def test_lists_decide_and_classes_keep_their_numbers(root, run):
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 YoYo\r\n2 Archery\r\n")
    (lists / "trainlist01.txt").write_text("YoYo/v_YoYo_g09_c01.avi 1\nArchery/v_Archery_g09_c01.avi 2\n")
    (lists / "testlist01.txt").write_text("YoYo/v_YoYo_g01_c01.avi\nYoYo/v_YoYo_g01_c99.avi\n")
    done = run("ucf101", root)
    assert done.manifest.labels == ("YoYo", "Archery") == tuple(done.facts["classes"])
    assert {(row.path.name, row.split) for row in done.manifest.rows} == {
        ("v_YoYo_g09_c01.avi", "train"),
        ("v_Archery_g09_c01.avi", "train"),
        ("v_YoYo_g01_c01.avi", "test"),
    }
    assert done.facts["absent"] == ["YoYo/v_YoYo_g01_c99.avi"] and len(done.facts["left_out"]) == 47
    assert "not trainlist02.txt" in run("ucf101", root, "--split", "2", output="other.csv").said[0]


@pytest.mark.shared
def test_real_clips(data, run):
    done = run("ucf101", data / "ucf101")
    assert done.facts["present"] == 10 and done.facts["test"] == 10
    assert any("no video is on the train side" in line for line in done.said)


def write_lists(root):
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "classInd.txt").write_text("1 Archery\n2 HandstandPushups\n")
    (lists / "trainlist01.txt").write_text(
        "HandstandPushups/v_HandStandPushups_g09_c01.avi 2\nArchery/v_Archery_g09_c01.avi 1\n"
    )
    (lists / "testlist01.txt").write_text("HandstandPushups/v_HandStandPushups_g01_c01.avi\n")
    return lists


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(
    ("layout", "suffix"),
    [
        ("{label}/{name}", ".avi"),
        ("{label}/{name}", ".mp4"),
        ("UCF-101/{label}/{name}", ".webm"),
        ("UCF101/UCF-101/{label}/{name}", ".MP4"),
        ("{side}/{label}/{name}", ".avi"),
        ("videos/{side}/{label}/{name}", ".mkv"),
        ("{side}/{name}", ".avi"),
        ("frames/{label}/{name}", "/0001.jpg"),
    ],
)
@pytest.mark.parametrize("folder", ["HandstandPushups", "HandStandPushups"])
def test_copies_that_people_have(touch, run, tmp_path, folder, layout, suffix, listed):
    sides = {"v_HandStandPushups_g09_c01": "train", "v_HandStandPushups_g01_c01": "test", "v_Archery_g09_c01": "train"}
    for name, side in sides.items():
        label = "Archery" if "Archery" in name else folder
        touch("ucf/" + layout.format(label=label, name=name, side=side) + suffix)
    if listed:
        write_lists(tmp_path / "ucf")
    done = run("ucf101", tmp_path / "ucf")
    rows = {row.path.name.partition(".")[0]: (row.label, row.split, row.group) for row in done.manifest.rows}
    assert rows == {
        "v_HandStandPushups_g09_c01": ("HandstandPushups", "train", "HandstandPushups/g09"),
        "v_HandStandPushups_g01_c01": ("HandstandPushups", "test", "HandstandPushups/g01"),
        "v_Archery_g09_c01": ("Archery", "train", "Archery/g09"),
    }
    assert done.manifest.labels == ("Archery", "HandstandPushups")
    assert done.facts["absent"] == [] == done.facts["left_out"]
    assert [line for line in done.said if "not the folders test, train" in line] == (
        ["warning: the official split is followed, and not the folders test, train"] if "side" in layout else []
    )


def test_a_clip_in_two_places_or_lines_is_taken_once_and_said(touch, run, tmp_path):
    touch("ucf/UCF-101/train/Archery/v_Archery_g09_c01.avi", "ucf/UCF-101/val/Archery/v_Archery_g09_c01.mp4")
    touch("ucf/UCF-101/test/HandStandPushups/v_HandStandPushups_g01_c01.avi")
    lists = write_lists(tmp_path / "ucf")
    with (lists / "testlist01.txt").open("a") as file:
        file.write("Archery/v_Archery_g09_c01.avi\n")
    done = run("ucf101", tmp_path / "ucf")
    assert [(row.path.name, row.split) for row in done.manifest.rows] == [
        ("v_HandStandPushups_g01_c01.avi", "test"),
        ("v_Archery_g09_c01.avi", "train"),
    ]
    assert done.said == [
        "warning: 1 listed videos are absent: HandstandPushups/v_HandStandPushups_g09_c01.avi",
        "warning: 1 videos are listed more than once, and the first line of each counts: v_archery_g09_c01",
        "warning: 1 videos lie in several places, and one of each is taken: v_archery_g09_c01",
        "warning: the official split is followed, and not the folders test, train, val",
    ]


def test_a_list_that_is_no_text_is_one_line(root, run):
    (write_lists(root) / "testlist01.txt").write_bytes(b"\xff\xfe\x00")
    done = run("ucf101", root)
    assert done.code == 1 and len(done.said) == 1 and done.said[0].endswith("testlist01.txt is not UTF-8")
