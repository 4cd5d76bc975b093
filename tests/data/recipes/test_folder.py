import pytest


def test_groups_stay_together(touch, run, tmp_path):
    touch(
        *(f"root/{label}/{person}_{label}.avi" for label in ("run", "walk") for person in ("ann", "bob", "cid", "dan"))
    )
    done = run("folder", tmp_path / "root", "--group", "^[^_]+", "--test-groups", "ann", "--test-groups", "c*")
    assert [done.facts[side] for side in ("train", "val", "test")] == [4, 0, 4] and done.said == []
    assert {row.group for row in done.manifest.split("test")} == {"ann", "cid"}
    assert done.facts["groups"] == ["ann", "bob", "cid", "dan"] and done.manifest.labels == ("run", "walk")


@pytest.mark.parametrize("seed", range(4))
def test_drawn_groups_hold_about_the_share_and_repeat(touch, run, tmp_path, seed):
    touch(*(f"root/{label}/p{person}-{n}.mp4" for label in "ab" for person in range(10) for n in range(3)))
    options = ("--group", r"^(p\d)-", "--test-share", "0.3", "--val-share", "0.2", "--seed", str(seed))
    done = run("folder", tmp_path / "root", *options)
    assert [done.facts[side] for side in ("train", "val", "test")] == [30, 12, 18]
    sides = {(row.group, row.split) for row in done.manifest.rows}
    assert len(sides) == 10
    again = run("folder", tmp_path / "root", *options, output="again.csv")
    assert again.manifest.digests == done.manifest.digests


def test_without_groups_every_class_is_split_and_a_warning_given(touch, run, tmp_path):
    touch(*(f"root/{label}/{n}.mp4" for label in "abc" for n in range(8)))
    done = run("folder", tmp_path / "root")
    assert len(done.said) == 1 and "nobody knows" in done.said[0]
    assert [sum(row.label == label for row in done.manifest.split("test")) for label in "abc"] == [2, 2, 2]


def test_several_captures_and_names_that_do_not_match(touch, run, tmp_path):
    touch("root/a/red_star_1.mp4", "root/a/blue_star_2.mp4", "root/b/red_disc_1.mp4", "root/b/odd.mp4")
    done = run("folder", tmp_path / "root", "--group", "(.+)_(.+)_", "--test-groups", "red/*")
    assert sorted(done.facts["groups"]) == ["b/odd", "blue/star", "red/disc", "red/star"]
    assert done.facts["test"] == 2 and "1 names do not match" in done.said[0] and "b/odd.mp4" in done.said[0]


def test_split_folders_are_taken_as_they_are_and_torn_groups_told(touch, run, tmp_path):
    touch("root/train/a/x_1.mp4", "root/train/b/y_1.mp4", "root/validation/a/z_1.mp4", "root/test/a/x_2.mp4")
    done = run("folder", tmp_path / "root", "--group", "^(.)_")
    assert [done.facts[side] for side in ("train", "val", "test")] == [2, 1, 1]
    assert "1 groups are on both sides" in done.said[0] and "x" in done.said[0]
    assert "1 classes have no video in test: b" in done.said[1]


def test_folders_of_pictures_are_videos_and_other_files_are_not(touch, run, tmp_path):
    touch(
        "root/a/one/0.png", "root/a/two.mp4", "root/a/notes.txt", "root/a/.hidden.mp4", "root/b/x/1.jpg", "root/b/y.mkv"
    )
    done = run("folder", tmp_path / "root")
    assert sorted(row.path.name for row in done.manifest.rows) == ["one", "two.mp4", "x", "y.mkv"]


def test_split_folders_may_have_others_beside_them_unless_those_are_classes(touch, run, tmp_path):
    touch("root/train/a/1.mp4", "root/train/b/2.mp4", "root/test/a/3.mp4", "root/test/b/4.mp4", "root/lists/a.txt")
    done = run("folder", tmp_path / "root")
    assert [done.facts[side] for side in ("train", "val", "test")] == [2, 0, 2]
    assert done.said[1:] == ["warning: 1 folders hold no videos of a class and are left out: lists"]
    touch("root/bus/5.mp4", "root/bus/6.mp4", "root/train/7.mp4", "root/train/8.mp4")
    classes = run("folder", tmp_path / "root", output="classes.csv")
    assert classes.facts["classes"] == ["bus", "train"] and "are left out: lists, test" in classes.said[-1]


def test_a_name_that_a_class_has_twice_is_said(touch, run, tmp_path):
    touch("root/train/a/1.mp4", "root/train/b/1.mp4", "root/test/a/1.avi", "root/test/b/2.mp4")
    done = run("folder", tmp_path / "root")
    assert done.facts["train"] == 2 == done.facts["test"]
    assert "1 videos lie in several places of a class, and all are taken: a/1" in done.said[-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--group", "("), "no regular expression"),
        (("--group", "^(.)", "--test-groups", "q"), "no group is called 'q'"),
        (("--test-groups", "a/1", "--val-groups", "a/1"), "both choose a/1"),
        (("--test-share", "1.5"), "--test-share must be from 0 to below 1"),
    ],
)
def test_wrong_options_are_one_line(touch, run, tmp_path, options, said):
    touch("root/a/1.mp4", "root/b/2.mp4")
    done = run("folder", tmp_path / "root", *options)
    assert done.code == 1 and len(done.said) == 1 and said in done.said[0]


@pytest.mark.shared
def test_weizmann_by_person(data, run):
    done = run("folder", data / "weizmann", "--group", "^[^_]+", "--test-groups", "daria", "--test-groups", "denis")
    assert [done.facts[side] for side in ("train", "val", "test")] == [40, 0, 20] and done.said == []
    people = [{row.group for row in done.manifest.split(side)} for side in ("train", "test")]
    assert people == [{"eli", "ido", "ira", "lena"}, {"daria", "denis"}]


@pytest.mark.shared
def test_colored_shapes_by_color_and_shape(data, run):
    options = ("--group", "(.+)_(.+)_", "--test-groups", "bluegreen/*", "--test-groups", "*/star")
    done = run("folder", data / "colored_shapes", *options)
    assert [done.facts[side] for side in ("train", "test")] == [60, 75] and done.said == []
    assert len(done.facts["groups"]) == 9 and done.manifest.labels == ("circular", "horizontal", "vertical")
    assert not any("bluegreen" in row.path.name or "star" in row.path.name for row in done.manifest.split("train"))
