"""Clips whose pictures carry their number as a binary code: which picture comes when, exactly, from every reader."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from vidcam.data.checking import check_manifest
from vidcam.data.manifest import Row, write_manifest
from vidcam.data.sampling import ClipSource
from vidcam.errors import MediaError
from vidcam.media import Frame, VideoWriter, open_video

pytestmark = pytest.mark.shared
SPOILED = ("dm_ff_inter.mp4", "dm_ff_vp9d.webm", "intra_damaged.mp4")
WHOLE = ("h264.ts", "mpeg2.ts", "inter.mp4", "h264_opengop.mp4", "cut_copy.mp4", "gap_1min.mp4")


@pytest.fixture
def clips(data: Path) -> Path:
    return data.parent / "cases" / "media"


def number(frame: Frame) -> int:
    """Read a picture's number: bit k is the brightness of the k-th of 16 blocks in the top sixth."""
    height, width, _ = frame.pixels.shape
    blocks = frame.pixels[2 : height // 6 - 2].mean(axis=(0, 2)).reshape(16, width // 16)
    return sum(1 << k for k in range(10) if blocks[k, 2:-2].mean() > 128)


@pytest.mark.parametrize(("name", "count"), [("h264.ts", 60), ("mpeg2.ts", 60), ("seg4.ts", 250)])
def test_time_counts_from_the_first_picture(clips: Path, name: str, count: int) -> None:
    video = open_video(clips / name)
    wanted = [index / 25 for index in range(count)]
    assert [frame.seconds for frame in video] == pytest.approx(wanted, abs=1e-9)
    assert video.times() == pytest.approx(wanted, abs=1e-9)


def test_an_animated_webp(clips: Path) -> None:
    frames = list(open_video(clips / "anim.webp"))
    assert [number(frame) for frame in frames] == list(range(12))


def test_rows_of_a_manifest_count_from_the_first_picture(clips: Path) -> None:
    source = ClipSource(Row(clips / "h264.ts", "x", "train", 0.4, 0.8))
    assert [number(frame) for frame in source.read(range(source.ends[0], source.ends[1] + 1))] == list(range(10, 20))


@pytest.mark.parametrize("name", [*SPOILED, *WHOLE])
def test_single_pictures_are_those_of_the_iteration(clips: Path, name: str) -> None:
    video = open_video(clips / name)
    frames = list(video)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert video.times() == [frame.seconds for frame in frames]
    for frame in frames:
        (single,) = open_video(clips / name).frames_at([frame.index])
        assert single.seconds == frame.seconds
        np.testing.assert_array_equal(single.pixels, frame.pixels)


@pytest.mark.parametrize("name", SPOILED)
def test_a_lost_picture_is_held_by_the_one_before_and_said(clips: Path, name: str) -> None:
    video = open_video(clips / name)
    numbers = [number(frame) for frame in video]
    held = next(index for index, (a, b) in enumerate(pairwise(numbers), start=1) if a == b)
    assert numbers[:held] == [*range(held)] and numbers[held] == held - 1
    assert numbers[-10:] == [*range(len(numbers) - 10, len(numbers))]  # behind the next key frame all is well
    assert any("1 frame could not be decoded" in note for note in video.notes)


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_said_of_whole_files(clips: Path, name: str) -> None:
    """Of `cut_copy.mp4` an edit list shows 87 of 120 frames: that is no damage."""
    video = open_video(clips / name)
    assert len(list(video)) == {"inter.mp4": 120, "h264_opengop.mp4": 120, "cut_copy.mp4": 87}.get(name, 60)
    assert video.notes == []


@pytest.mark.parametrize("name", SPOILED)
def test_a_damaged_file_can_be_checked(clips: Path, name: str, tmp_path: Path) -> None:
    write_manifest([Row(clips / name, "x", "train"), Row(clips / "inter.mp4", "y", "train")], tmp_path / "manifest.csv")
    assert check_manifest(tmp_path / "manifest.csv").problems == ()


@pytest.mark.parametrize("backend", ["torchcodec", "decord"])
@pytest.mark.parametrize("name", [*SPOILED, *WHOLE])
def test_other_readers_give_the_same_pictures_or_refuse(clips: Path, backend: str, name: str, require_backend) -> None:
    require_backend(backend)
    wanted = [(number(frame), frame.seconds) for frame in open_video(clips / name)]
    for index, expected in enumerate(wanted):
        try:
            (frame,) = open_video(clips / name, backend=backend).frames_at([index])
        except MediaError as error:
            assert "backend 'pyav' can" in str(error)
            break
        assert (number(frame), frame.seconds) == expected


def test_the_sound_moves_along(clips: Path, tmp_path: Path) -> None:
    source = open_video(clips / "seg4.ts")
    size = {"width": source.info.width, "height": source.info.height}
    with VideoWriter(tmp_path / "a.mp4", **size, rate=source.info.rate, audio_from=clips / "seg4.ts") as writer:
        for frame in source:
            writer.write(frame.pixels, frame.seconds)
    late = [end(path, "audio") - end(path, "video") for path in (clips / "seg4.ts", tmp_path / "a.mp4")]
    assert late[1] == pytest.approx(late[0], abs=1e-3)
    written = open_video(tmp_path / "a.mp4")
    assert written.info.duration_seconds == pytest.approx(10, abs=0.05)
    assert len(list(written)) == 250


def end(path: Path, kind: str) -> float:
    """Return when the last frame of a stream begins, on the container's clock."""
    with av.open(str(path)) as container:
        return max(float(frame.pts * frame.time_base) for frame in container.decode(**{kind: 0}))


@pytest.mark.parametrize(("name", "aspect"), [("anamorphic.mkv", "2"), ("anamorphic_pal.mp4", "64/45")])
def test_pixels_that_are_not_square_are_said(clips: Path, name: str, aspect: str) -> None:
    video = open_video(clips / name)
    assert video.info.pixel_aspect == Fraction(aspect)
    (note,) = video.notes
    assert "not square: a network sees the picture squeezed" in note
