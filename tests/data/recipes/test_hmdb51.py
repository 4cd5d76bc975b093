import os
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest

LISTS = "testTrainMulti_7030_splits"


@pytest.fixture
def tree(tmp_path) -> Path:
    """Two classes of which one's name begins with the other's, and names that trip programs."""
    root = tmp_path / "hmdb"
    names = {
        "climb": ["#1_[best]_climb_f_cm_np1_ba_med_0.avi", "Yes!!!_climb_f_cm_np1_ba_med_1.avi", "x_climb_u_0.avi"],
        "climb_stairs": ["a & b; (c)_climb_stairs_f_0.avi", "film_climb_stairs_u_1.avi", "film_climb_stairs_u_2.avi"],
    }
    (root / LISTS).mkdir(parents=True)
    for label, videos in names.items():
        (root / "videos" / label).mkdir(parents=True)
        text = "".join(f"{name} {code} \n" for name, code in zip(videos, (1, 2, 0), strict=True))
        (root / LISTS / f"{label}_test_split1.txt").write_text(text)
        for name in videos:
            (root / "videos" / label / name).touch()
    return root


def test_a_small_tree(tree, run):
    done = run("hmdb51", tree)
    assert {name: done.facts[name] for name in ("train", "test", "unused", "present")} == {
        "train": 2,
        "test": 2,
        "unused": 2,
        "present": 6,
    }
    assert done.facts["classes"] == ["climb", "climb_stairs"] and done.facts["absent"] == []
    rows = {(row.label, row.path.name): (row.split, row.group) for row in done.manifest.rows}
    assert rows["climb", "#1_[best]_climb_f_cm_np1_ba_med_0.avi"] == ("train", "climb/#1_[best]")
    assert rows["climb_stairs", "a & b; (c)_climb_stairs_f_0.avi"] == ("train", "climb_stairs/a & b; (c)")
    assert rows["climb_stairs", "film_climb_stairs_u_2.avi"] == ("unused", "climb_stairs/film")
    assert len(done.said) == 1 and "not the official lists: 2 classes (51)" in done.said[0]


def test_absent_videos_are_listed_or_an_error(tree, run):
    (tree / "videos" / "climb" / "Yes!!!_climb_f_cm_np1_ba_med_1.avi").unlink()
    done = run("hmdb51", tree)
    assert done.facts["absent"] == ["climb/Yes!!!_climb_f_cm_np1_ba_med_1.avi"] and done.facts["present"] == 5
    assert done.facts["test"] == 2
    strict = run("hmdb51", tree, "--require-all", output="other.csv")
    assert strict.code == 1 and "1 of the listed videos are absent" in strict.said[-1] and "Yes!!!" in strict.said[-1]


def test_a_malformed_list_names_its_line(tree, run):
    with (tree / LISTS / "climb_test_split1.txt").open("a") as file:
        file.write("odd.avi 3 \n")
    done = run("hmdb51", tree)
    assert done.code == 1 and "climb_test_split1.txt, line 4" in done.said[0]
    assert "no lists *_test_split2.txt" in run("hmdb51", tree, "--split", "2").said[0]


@pytest.fixture
def packed(tree, tmp_path, monkeypatch) -> Path:
    """The download: an archive of archives; tar plays the program that unpacks, as it takes bsdtar's arguments."""
    if (tar := shutil.which("tar")) is None:
        pytest.skip("no tar")
    for folder in sorted((tree / "videos").iterdir()):
        with tarfile.open(tmp_path / f"{folder.name}.rar", "w") as archive:
            archive.add(folder, folder.name)
    with tarfile.open(tree / "hmdb51_org.rar", "w") as archive:
        for label in ("climb", "climb_stairs"):
            archive.add(tmp_path / f"{label}.rar", f"{label}.rar")
            (tmp_path / f"{label}.rar").unlink()
    shutil.rmtree(tree / "videos")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bsdtar").symlink_to(tar)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tree


def test_nested_archives_are_unpacked_once(packed, run):
    done = run("hmdb51", packed)
    assert done.code == 0 and done.facts["present"] == 6
    assert [line for line in done.said if "unpacking" in line] == ["unpacking climb.rar", "unpacking climb_stairs.rar"]
    assert sorted(path.name for path in packed.iterdir()) == sorted(["hmdb51_org.rar", LISTS, "videos"])
    assert sorted(path.name for path in (packed / "videos").iterdir()) == ["climb", "climb_stairs"]
    again = run("hmdb51", packed, output="again.csv")
    assert again.facts["present"] == 6 and not any("unpacking" in line for line in again.said)


def test_without_a_program_to_unpack_it_says_which(packed, run, monkeypatch):
    monkeypatch.setenv("PATH", str(packed))
    done = run("hmdb51", packed)
    assert done.code == 1 and done.said == [
        f"error: {packed}/hmdb51_org.rar has to be unpacked, and none of unar, unrar, bsdtar, 7z is installed"
    ]


def test_a_damaged_archive_leaves_nothing_behind(packed, run):
    (packed / "hmdb51_org.rar").write_bytes(b"garbage" * 100)
    done = run("hmdb51", packed)
    assert done.code == 1 and "bsdtar cannot unpack" in done.said[0] and len(done.said) == 1
    assert sorted(path.name for path in packed.iterdir()) == sorted(["hmdb51_org.rar", LISTS])


@pytest.mark.shared
@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_official_lists(data, recipe, run, tmp_path, split):
    hmdb51 = recipe("hmdb51")
    lists = hmdb51.read_lists(data / "hmdb51" / LISTS, split)
    assert list(lists) == (data / "labels" / "hmdb51_label_map.txt").read_text().split()
    for videos in lists.values():
        assert Counter(videos.values())["train"] == 70 and Counter(videos.values())["test"] == 30
    done = run("hmdb51", data / "hmdb51", "--split", str(split))
    assert [done.facts[name] for name in ("train", "test", "unused", "present")] == [3570, 1530, 1666, 4]
    assert len(done.facts["absent"]) == 6762 and done.manifest.labels == tuple(lists)
    assert not any("official" in line for line in done.said)
    # Clips of one film never stand on both sides: the names give the films right.
    sides: dict[str, set[str]] = {}
    for label, videos in lists.items():
        for name, side in videos.items():
            sides.setdefault(f"{label}/{hmdb51.source(name, label)}", set()).add(side)
    assert len(sides) == 2291 and not any({"train", "test"} <= found for found in sides.values())


@pytest.mark.shared
def test_a_read_only_root_is_enough(data, recipe, tmp_path):
    before = os.stat(data / "hmdb51").st_mtime_ns
    recipe("hmdb51").collect(data / "hmdb51", 1)
    assert os.stat(data / "hmdb51").st_mtime_ns == before
