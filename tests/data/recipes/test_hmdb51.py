import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest

import vidcam
from vidcam.data.recipes import hmdb51

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


def in_a_process(root, output, **places):
    command = ["manifest", "hmdb51", str(root), "--output", str(output)]
    environment = os.environ | {"PYTHONPATH": str(Path(vidcam.__file__).parents[1])} | places
    return subprocess.Popen([sys.executable, "-m", "vidcam", *command], env=environment, stderr=subprocess.PIPE)


def wait_for(there) -> None:
    until = time.monotonic() + 20
    while not there() and time.monotonic() < until:
        time.sleep(0.02)
    assert there()


@pytest.fixture
def slow(packed, tmp_path):
    """The program that unpacks waits where it is given the archive of a class."""
    tool = tmp_path / "bin" / "bsdtar"
    real = tool.resolve()
    tool.unlink()
    sleep = shutil.which("sleep", path=os.defpath)
    tool.write_text(f'#!/bin/sh\n{real} "$@"\ncase "$3" in *climb*) : > {tmp_path}/reached; {sleep} 30;; esac\n')
    tool.chmod(0o755)

    def quick() -> None:
        tool.unlink()
        tool.symlink_to(real)

    return quick


def test_what_a_killed_run_left_is_swept(packed, slow, run, tmp_path):
    process = in_a_process(packed, tmp_path / "killed.csv")
    wait_for((tmp_path / "reached").exists)
    process.kill()
    process.communicate()
    assert not (packed / "videos").exists() and (packed / ".unpacking").exists()
    slow()
    done = run("hmdb51", packed)
    assert done.code == 0 and done.facts["present"] == 6
    assert sorted(path.name for path in packed.iterdir()) == sorted(["hmdb51_org.rar", LISTS, "videos"])
    assert sorted(path.name for path in (packed / "videos").iterdir()) == ["climb", "climb_stairs"]


def test_a_run_killed_between_two_folders_is_repeated(packed, run):
    assert run("hmdb51", packed).facts["present"] == 6
    shutil.rmtree(packed / "videos" / "climb_stairs")  # as if it had not been moved yet
    (packed / ".unpacking").mkdir()
    assert run("hmdb51", packed, output="again.csv").facts["present"] == 6
    assert not (packed / ".unpacking").exists()


def test_of_two_that_unpack_one_says_so(packed, slow, run, tmp_path):
    process = in_a_process(packed, tmp_path / "first.csv")
    wait_for((tmp_path / "reached").exists)
    other = run("hmdb51", packed)
    assert other.code == 1 and len(other.said) == 1 and "another process" in other.said[0]
    process.kill()
    process.communicate()


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


@pytest.mark.parametrize(
    "layout",
    ["{label}/{name}", "{label}/{label}/{name}", "hmdb51_org/{label}/{name}", "{side}/{label}/{name}", "videos/{name}"],
)
@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_copies_that_people_have(tree, run, layout, suffix):
    before = run("hmdb51", tree)
    lists, videos = tree / LISTS, tree / "as_downloaded"
    (tree / "videos").rename(videos)
    for index, file in enumerate(sorted(videos.rglob("*.avi"))):
        place = layout.format(label=file.parent.name, side=("train", "test", "val")[index % 3], name=file.name)
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        file.rename((tree / place).with_name(file.stem + suffix))
    shutil.rmtree(videos)
    (tree / "test_train_splits").mkdir()  # the archive of the lists, unpacked into a folder of its own
    lists.rename(tree / "test_train_splits" / LISTS)
    done = run("hmdb51", tree, output="copy.csv")
    assert done.facts["present"] == 6 and done.facts["absent"] == [] and done.manifest.labels == before.manifest.labels
    rows, official = (
        {(row.path.stem, row.label, row.split, row.group) for row in of.manifest.rows} for of in (done, before)
    )
    assert rows == official and {row.path.suffix for row in done.manifest.rows} == {suffix}
    assert [line for line in done.said if "folders" in line] == (
        ["warning: the official split is followed, and not the folders test, train, val"] if "side" in layout else []
    )


def test_a_clip_in_two_places_or_lines_is_taken_once_and_said(tree, run):
    name = "film_climb_stairs_u_1.avi"
    (tree / "videos" / "copy" / "climb_stairs").mkdir(parents=True)
    (tree / "videos" / "copy" / "climb_stairs" / name).touch()
    (tree / "videos" / "climb" / "new.avi").touch()
    with (tree / LISTS / "climb_stairs_test_split1.txt").open("a") as file:
        file.write(f"{name} 1 \n")
    done = run("hmdb51", tree)
    assert [row.split for row in done.manifest.rows if row.path.name == name] == ["test"]
    assert done.facts["train"] == 2 and done.facts["test"] == 2 and done.facts["present"] == 6
    assert done.said[1:] == [
        "warning: 1 videos are left out, as no list or name tells their side: climb/new.avi",
        "warning: 1 videos are listed more than once, and the first line of each counts: film_climb_stairs_u_1",
        "warning: 1 videos lie in several places, and one of each is taken: film_climb_stairs_u_1",
    ]


def test_archives_beside_the_folders_they_were_unpacked_to_stay_packed(tree, run, monkeypatch):
    for folder in (tree / "videos").iterdir():
        shutil.move(folder, tree / folder.name / folder.name)
        (tree / f"{folder.name}.rar").write_bytes(b"")
    (tree / "videos").rmdir()
    (tree / "hmdb51_org.rar").write_bytes(b"")
    monkeypatch.setenv("PATH", str(tree))
    done = run("hmdb51", tree)
    assert done.facts["present"] == 6 and not (tree / "videos").exists()


@pytest.mark.shared
@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_official_lists(data, run, tmp_path, split):
    lists: dict[str, dict[str, str]] = {}
    for label, name, side in hmdb51.read_lists(data / "hmdb51" / LISTS, split):
        lists.setdefault(label, {})[name] = side
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
def test_a_read_only_root_is_enough(data):
    before = os.stat(data / "hmdb51").st_mtime_ns
    hmdb51.collect(data / "hmdb51", split=1)
    assert os.stat(data / "hmdb51").st_mtime_ns == before
