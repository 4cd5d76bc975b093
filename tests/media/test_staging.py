"""Several files that appear together or not at all."""

from pathlib import Path

import pytest

from vidcam.errors import MediaError
from vidcam.media.files import digest, staged


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
