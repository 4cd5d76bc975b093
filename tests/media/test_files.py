from pathlib import Path

import pytest

from vidcam.errors import MediaError
from vidcam.media import replacing


def test_success_renames_and_leaves_nothing_else(tmp_path: Path) -> None:
    with replacing(tmp_path / "clip.mp4") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".mp4"
        assert not (tmp_path / "clip.mp4").exists()
        temporary.write_text("whole")
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_text() == "whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "clip.mp4").write_text("old")
    with pytest.raises(error), replacing(tmp_path / "clip.mp4", force=True) as temporary:
        temporary.write_text("half")
        raise error
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_text() == "old"


def test_existing_file_is_refused_before_the_body_runs(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("old")
    with pytest.raises(MediaError, match=r"exists; force=True replaces it"), replacing(tmp_path / "clip.mp4"):
        pytest.fail("the body ran")


def test_force_replaces(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with replacing(tmp_path / "a.txt", force=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("target", ["no/such/a.txt", "."])
def test_where_nothing_can_be_written(tmp_path: Path, target: str) -> None:
    with pytest.raises(MediaError, match="cannot write") as caught, replacing(tmp_path / target):
        pytest.fail("the body ran")
    assert "\n" not in str(caught.value)


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="nothing was written"), replacing(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".clip.part.mp4").write_text("half, and longer than what comes")
    with replacing(tmp_path / "clip.mp4") as temporary:
        assert temporary.read_text() == ""
        temporary.write_text("whole")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("clip.mp4", "whole")]


def test_of_two_that_write_one_file_the_second_says_so(tmp_path: Path) -> None:
    with replacing(tmp_path / "clip.mp4", force=True) as temporary:
        temporary.write_text("first")
        with pytest.raises(MediaError, match="another process is writing"), replacing(tmp_path / "clip.mp4"):
            pytest.fail("the body ran")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("clip.mp4", "first")]


def test_long_names_that_begin_alike_do_not_clash(tmp_path: Path) -> None:
    one, other = (tmp_path / f"{'n' * 200}{last}.txt" for last in "ab")
    with replacing(one) as first, replacing(other) as second:
        first.write_text("one"), second.write_text("other")
    assert (one.read_text(), other.read_text()) == ("one", "other")
