"""Several files that appear together or not at all."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vidcam.errors import MediaError
from vidcam.media.files import check_free, digest, replacing_folder, staged


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the files' contents."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def fill(part: Path, names: list[str], text: str = "new") -> None:
    for name in names:
        (part / name).write_text(text)


NAMES = ["a.txt", "b.txt"]


def test_files_appear_together(tmp_path: Path) -> None:
    with staged(tmp_path / "x" / "y", NAMES) as part:
        fill(part, NAMES)
        assert not [p for p in (tmp_path / "x" / "y").iterdir() if p.name in NAMES]
    assert tree(tmp_path) == {"x": None, "x/y": None, "x/y/a.txt": b"new", "x/y/b.txt": b"new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_exception_nothing_is_left(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), staged(tmp_path / "x" / "y", NAMES) as part:
        fill(part, ["a.txt", "scratch.txt"])
        raise error
    assert tree(tmp_path) == {}


def test_an_existing_folder_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError), staged(tmp_path, NAMES) as part:
        fill(part, ["a.txt"])
        raise ValueError
    assert tree(tmp_path) == {"mine.txt": b"mine"}


def test_existing_files_need_force(tmp_path: Path) -> None:
    fill(tmp_path, ["b.txt"], "old")
    with pytest.raises(MediaError, match=r"b\.txt exists already; use force=True"), staged(tmp_path, NAMES):
        pytest.fail("the body must not run")
    assert tree(tmp_path) == {"b.txt": b"old"}
    with staged(tmp_path, NAMES, force=True) as part:
        fill(part, NAMES)
    assert tree(tmp_path) == {"a.txt": b"new", "b.txt": b"new"}


def test_with_force_an_exception_leaves_the_old_files(tmp_path: Path) -> None:
    fill(tmp_path, NAMES, "old")
    with pytest.raises(ValueError), staged(tmp_path, NAMES, force=True) as part:
        fill(part, NAMES)
        raise ValueError
    assert tree(tmp_path) == {"a.txt": b"old", "b.txt": b"old"}


def test_a_file_that_was_not_written_is_an_error_and_moves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"nothing was written to .*b\.txt"), staged(tmp_path / "x", NAMES) as part:
        fill(part, ["a.txt"])
    assert tree(tmp_path) == {}


def test_a_folder_in_the_way_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(MediaError, match="it is a folder"), staged(tmp_path, NAMES, force=True):
        pytest.fail("the body must not run")
    assert tree(tmp_path) == {"b.txt": None}


def test_what_others_put_there_meanwhile_stays(tmp_path: Path) -> None:
    with pytest.raises(ValueError), staged(tmp_path / "x" / "y", NAMES):
        (tmp_path / "x" / "theirs.txt").write_text("theirs")
        raise ValueError
    assert tree(tmp_path) == {"x": None, "x/theirs.txt": b"theirs"}


@pytest.mark.parametrize("name", ["file.txt", "file.txt/deeper/still", "n" * 300, "new/" + "n" * 300])
def test_a_directory_that_cannot_be_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("a file")
    with pytest.raises(MediaError, match="cannot write into the directory"), staged(tmp_path / name, NAMES):
        pytest.fail("the body must not run")
    assert tree(tmp_path) == {"file.txt": b"a file"}


def test_a_system_folder_that_takes_nothing() -> None:
    with pytest.raises(MediaError, match="cannot write into the directory /proc/vidcam"), staged("/proc/vidcam", NAMES):
        pytest.fail("the body must not run")
    with pytest.raises(MediaError, match="cannot write into the directory /proc"), staged("/proc", NAMES):
        pytest.fail("the body must not run")


KILLED = """
import os, signal, sys
from pathlib import Path
from vidcam.media import files

moved = []

def dying(source, target):
    if len(moved) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    moved.append(target)
    replace(source, target)

replace, os.replace = os.replace, dying
with files.staged(Path(sys.argv[1]), ["a.txt", "b.txt", "c.txt"], force=len(sys.argv) > 3) as part:
    for name in ("a.txt", "b.txt", "c.txt"):
        (part / name).write_text("killed")
"""


@pytest.mark.parametrize("moves", [0, 1, 2])
@pytest.mark.parametrize("force", [False, True])
def test_a_kill_between_renames_leaves_a_run_that_can_be_repeated(tmp_path: Path, moves: int, force: bool) -> None:
    names = ["a.txt", "b.txt", "c.txt"]
    if force:
        fill(tmp_path, names, "old")
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(moves), *(["force"] if force else [])]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    check_free(tmp_path, names, force=force)
    with staged(tmp_path, names, force=force) as part:
        fill(part, names)
    assert tree(tmp_path) == dict.fromkeys(names, b"new")
    with pytest.raises(MediaError, match="exists already"):
        check_free(tmp_path, names)


def test_of_two_processes_one_wins_and_the_other_says_so(tmp_path: Path) -> None:
    for force in (False, True):
        with staged(tmp_path, NAMES, force=force) as part:
            fill(part, NAMES, "first")
            with pytest.raises(MediaError, match="another process is writing"), staged(tmp_path, NAMES, force=force):
                pytest.fail("the body must not run")
            with staged(tmp_path, ["z.txt"], force=force) as other:  # of other files
                fill(other, ["z.txt"], "beside")
        assert tree(tmp_path) == dict.fromkeys(NAMES, b"first") | {"z.txt": b"beside"}


def test_what_somebody_else_wrote_meanwhile_is_not_replaced_without_force(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"b\.txt exists already"), staged(tmp_path, NAMES) as part:
        fill(part, NAMES)
        fill(tmp_path, ["b.txt"], "theirs")
    assert tree(tmp_path) == {"b.txt": b"theirs"}


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_whose_process_was_killed_between_renames_is_back(tmp_path: Path, there: bool) -> None:
    """Killed after the old folder was put aside, or after the new one took its place."""
    (tmp_path / ".scene.old").mkdir()
    fill(tmp_path / ".scene.old", NAMES, "old")
    (tmp_path / ".scene.part").mkdir()
    fill(tmp_path / ".scene.part", NAMES, "half")
    if there:
        (tmp_path / "scene").mkdir()
        fill(tmp_path / "scene", NAMES, "new")
    with pytest.raises(ValueError), replacing_folder(tmp_path / "scene") as part:
        assert not [name for name in part.iterdir() if name.name in NAMES]
        raise ValueError
    kept = b"new" if there else b"old"
    assert tree(tmp_path) == {"scene": None, "scene/a.txt": kept, "scene/b.txt": kept}
    with replacing_folder(tmp_path / "scene") as part:
        fill(part, NAMES, "next")
    assert tree(tmp_path) == {"scene": None, "scene/a.txt": b"next", "scene/b.txt": b"next"}


def test_digest_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, NAMES, "abc")
    one = digest(tmp_path / "a.txt")
    assert one == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    before = digest(tmp_path)
    assert before == digest(tmp_path) != one
    (tmp_path / "a.txt").rename(tmp_path / "c.txt")
    assert digest(tmp_path) != before
    (tmp_path / "c.txt").rename(tmp_path / "a.txt")
    (tmp_path / "below").mkdir()
    assert digest(tmp_path) == before
    (tmp_path / "b.txt").write_text("abd")
    assert digest(tmp_path) != before
