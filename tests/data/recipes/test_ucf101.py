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
    assert "not trainlist02.txt" in run("ucf101", root, "--split", "2").said[0]


@pytest.mark.shared
def test_real_clips(data, run):
    done = run("ucf101", data / "ucf101")
    assert done.facts["present"] == 10 and done.facts["test"] == 10
    assert any("no video is on the train side" in line for line in done.said)
