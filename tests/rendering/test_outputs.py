"""What a run leaves behind: all files or none."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidcam.errors import MediaError, VidcamError
from vidcam.explaining.explanation import Explanation
from vidcam.media import VideoWriter, open_video
from vidcam.media.files import check_free
from vidcam.rendering.outputs import NAMES, describe, names, write_outputs


@pytest.fixture
def explanation(tmp_path: Path) -> Explanation:
    """Five frames of 41x30, of which the fourth is hot."""
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "clip.mp4"
    with VideoWriter(path, width=41, height=30, rate=Fraction(10)) as writer:
        for i in range(5):
            writer.write(np.full((30, 41, 3), 40 * i, np.uint8))
    return hot(path)


def hot(path: Path, **changes: Any) -> Explanation:
    with open_video(path) as video:
        width, height = video.info.width, video.info.height
    heat = np.zeros((5, 2, 2), np.float32)
    heat[3, 1, 1] = 1
    facts: dict[str, Any] = {
        "heat": heat,
        "seconds": np.arange(5) / 10,
        "rows": np.array([7.0, 22.0]),
        "columns": np.array([10.0, 30.0]),
        "spread": "linear",
        "region": (-0.5, -0.5, width - 0.5, height - 0.5),
        "width": width,
        "height": height,
        "rate": Fraction(10),
        "windows": np.array([[0.0, 0.5]]),
        "probabilities": np.array([[0.25, 0.75]]),
        "target": 1,
        "provenance": {"source": str(path)},
        "notes": ("a note",),
    }
    return Explanation.from_heat(**facts | changes)


def test_all_files_are_written(explanation: Explanation, tmp_path: Path) -> None:
    done: list[tuple[int, int | None]] = []
    paths, said = write_outputs(
        explanation, tmp_path / "out", options={"method": "x"}, progress=lambda *step: done.append(step)
    )
    written = [name for name in NAMES if name != "drive.mp4"]  # of networks that tell motion or depth
    assert paths == [tmp_path / "out" / name for name in written]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(written)
    assert done == [(i + 1, 5) for i in range(5)]
    np.testing.assert_array_equal(Explanation.load(paths[0]).heat, explanation.heat)
    assert len(list(open_video(paths[1]))) == 5
    for picture in paths[2:4]:
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    run = json.loads(paths[4].read_text())
    assert run["options"] == {"method": "x"}
    assert run["notes"] == ["a note", *said]
    assert run["explanation"]["target"] == 1
    assert any("padded" in note for note in said) == (explanation.width % 2 == 1)


def test_facts(explanation: Explanation) -> None:
    width, height = explanation.width, explanation.height
    assert describe(explanation, "a.mp4", [Path("x/y")]) == {
        "video": "a.mp4",
        "target": "1",
        "explained": ["1"],
        "probability": 0.75,
        "frames": 5,
        "size": [width, height],
        "duration_seconds": 0.5,
        "outputs": ["x/y"],
    }


def test_existing_files(explanation: Explanation, tmp_path: Path) -> None:
    for name in names():
        folder = tmp_path / name.replace(".", "_")
        check_free(folder, NAMES, force=False)
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(MediaError, match=f"{name} exists already"):
            check_free(folder, NAMES, force=False)
        with pytest.raises(MediaError, match=f"{name} exists already"):
            write_outputs(explanation, folder, options={})
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "mine")]
        check_free(folder, NAMES, force=True)
    write_outputs(explanation, tmp_path / "run_json", options={}, force=True)
    assert json.loads((tmp_path / "run_json" / "run.json").read_text())["options"] == {}


class Stop(Exception):
    """Somebody had enough."""


@pytest.mark.parametrize("moment", [1, 5])
def test_an_exception_leaves_nothing(explanation: Explanation, tmp_path: Path, moment: int) -> None:
    def progress(done: int, _: int | None) -> None:
        if done == moment:
            raise Stop

    with pytest.raises(Stop):
        write_outputs(explanation, tmp_path / "new" / "out", options={}, progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_heat_that_is_no_number_leaves_nothing(explanation: Explanation, tmp_path: Path) -> None:
    broken = hot(Path(explanation.provenance["source"]), heat=np.full((5, 2, 2), np.nan, np.float32))
    with pytest.raises(VidcamError, match="NaN"):
        write_outputs(broken, tmp_path / "out", options={})
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_gone_leaves_nothing(explanation: Explanation, tmp_path: Path) -> None:
    Path(explanation.provenance["source"]).unlink()
    with pytest.raises(MediaError, match="does not exist"):
        write_outputs(explanation, tmp_path / "out", options={})
    assert not (tmp_path / "out").exists()


def test_writing_beside_the_source_leaves_it_alone(explanation: Explanation) -> None:
    source = Path(explanation.provenance["source"])
    renamed = source.with_name("overlay.mp4")
    source.rename(renamed)
    with pytest.raises(MediaError, match="itself"):
        write_outputs(hot(renamed), renamed.parent, options={}, force=True)
    assert [path.name for path in renamed.parent.iterdir()] == ["overlay.mp4"]
    assert len(list(open_video(renamed))) == 5


def test_a_file_that_this_run_does_not_write_is_no_obstacle(explanation: Explanation, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "drive.mp4").write_text("of another network")
    assert "drive.mp4" not in names() and "drive.mp4" in names({"depth"})
    write_outputs(explanation, tmp_path / "out", options={})
    assert (tmp_path / "out" / "drive.mp4").read_text() == "of another network"
