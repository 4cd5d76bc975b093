"""Files that break readers; the counts are those of the FFmpeg command line tool."""

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from vidcam.errors import MediaError
from vidcam.media import open_video

pytestmark = pytest.mark.shared
# frames, width, height, and how far a pixel may be from FFmpeg's: PyAV's newer FFmpeg conceals damage and
# up-samples the colors of 10-bit pictures another way; all else is identical. Frames that cannot be decoded are counted
# here as well (see HELD), FFmpeg leaves them out.
READABLE = {
    "-video-with-dash-.mp4": (5, 1, 1, 0),
    "bbb_176x144_128kbps_15fps_h263.3gp": (15, 176, 144, 0),
    "bbb_642x642_768kbps_30fps_vp9.webm": (90, 642, 642, 0),
    "bt709_full_range.mp4": (30, 1280, 720, 0),
    "corrupted.mp4": (49, 1280, 720, 1),
    "edit_list_positive_shift.mp4": (270, 1920, 1080, 0),
    "h264_10bits.mp4": (30, 200, 200, 4),
    "h265_video.mp4": (10, 128, 128, 0),
    "hlg10-color-test.mp4": (9, 1920, 1080, 1),
    "minimal.mp4": (1, 320, 240, 0),
    "no_duration.webm": (74, 1280, 720, 0),
    "no_timescale.mp4": (170, 320, 240, 1),
    "pigs_in_a_polka.gif": (30, 314, 273, 0),
    "sample_android_slow_motion.mp4": (7, 1280, 720, 0),
    "sample_av1.mkv": (30, 720, 1280, 0),
    "sample_empty_track.mp4": (30, 1080, 720, 0),
    "sample_fragmented.mp4": (30, 1080, 720, 0),
    "sample_mdat_too_long.mp4": (30, 1080, 720, 0),
    "sample_rotate_and_reflect.mp4": (30, 720, 1080, 0),
    "sample_with_increasing_timestamps.mp4": (30, 1920, 1080, 0),
    "sample_with_invalid_nalu.mp4": (29, 1080, 720, 0),
    "tiny_av1.mp4": (1, 64, 64, 0),
    "unordered.mov": (4, 50, 50, 0),
    "video_0.mov": (3, 568, 320, 0),
    "video_180.mov": (3, 568, 320, 0),
    "video_270.mov": (3, 320, 568, 0),
    "video_90.mov": (3, 320, 568, 0),
    "video_rotation_90.mp4": (1, 60, 100, 0),
    "video_with_failing_audio.mp4": (280, 640, 360, 0),
}
UNREADABLE = {"sample_audio_only.mp4": "only sound", "sine_mono_s16.wav": "only sound"}
HELD = {"corrupted.mp4": 1, "no_timescale.mp4": 12, "sample_with_invalid_nalu.mp4": 1}
NOTES = {"corrupted.mp4": 3, "no_timescale.mp4": 3, "sample_with_invalid_nalu.mp4": 2}
NOTES |= {"hlg10-color-test.mp4": 1, "sample_av1.mkv": 1}  # HDR
PACKED = {"golf": 89, "shoot_bow": 81, "swing_baseball": 140, "wave": 72}
COMPARED = 12  # pictures compared per file; all are counted


def reference(path: Path, size: int) -> list[np.ndarray]:
    """The first pictures as FFmpeg's own tool gives them."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no FFmpeg command line tool")
    command = ["ffmpeg", "-v", "quiet", "-i", f"file:{path}", "-map", "0:v:0", "-frames:v", str(COMPARED)]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-fps_mode", "passthrough", "-"]
    data = subprocess.run(command, capture_output=True).stdout
    return [np.frombuffer(data[start : start + size], np.uint8) for start in range(0, len(data), size)]


def check(path: Path, *, count: int, tolerance: float) -> None:
    video = open_video(path)
    expected = reference(path, video.info.width * video.info.height * 3)
    seconds = []
    for frame in video:
        seconds.append(frame.seconds)
        if frame.index < len(expected):
            difference = np.abs(frame.pixels.ravel().astype(np.int16) - expected[frame.index])
            assert difference.mean() <= tolerance
    assert len(seconds) == count
    assert all(a < b for a, b in pairwise(seconds))


@pytest.mark.parametrize("name", READABLE)
def test_frames_equal_those_of_ffmpeg(data: Path, name: str) -> None:
    count, width, height, tolerance = READABLE[name]
    count += HELD.get(name, 0)
    video = open_video(data / "nasty" / name)
    assert (video.info.width, video.info.height) == (width, height)
    check(data / "nasty" / name, count=count, tolerance=tolerance)


@pytest.mark.parametrize("name", [*HELD, "unordered.mov", "minimal.mp4", "video_270.mov", "pigs_in_a_polka.gif"])
def test_frames_are_numbered_once(data: Path, name: str) -> None:
    video = open_video(data / "nasty" / name)
    frames = list(video)
    assert len(frames) == READABLE[name][0] + HELD.get(name, 0)
    assert video.times() == [frame.seconds for frame in frames]


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable(data: Path, name: str) -> None:
    with pytest.raises(MediaError, match=UNREADABLE[name]):
        open_video(data / "nasty" / name)


def test_every_file_is_expected(data: Path) -> None:
    assert {file.name for file in (data / "nasty").iterdir()} == {*READABLE, *UNREADABLE}


@pytest.mark.parametrize("name", READABLE)
def test_damage_is_told_and_nothing_else(data: Path, name: str) -> None:
    if READABLE[name][0] <= 170:
        video = open_video(data / "nasty" / name)
        for _ in video:
            pass
        assert len(video.notes) == NOTES.get(name, 0)


@pytest.mark.parametrize("action", PACKED)
def test_packed_avi_comes_in_the_decoder_s_order(data: Path, action: str) -> None:
    (path,) = (data / "hmdb51" / "videos" / action).glob("*.avi")
    check(path, count=PACKED[action], tolerance=0)
    video = open_video(path)
    assert video.info.frame_count == PACKED[action] + 1  # what the header claims
    assert [frame.seconds for frame in video] == [float(i / video.info.rate) for i in range(PACKED[action])]
    (frame,) = video.frames_at([40])
    np.testing.assert_array_equal(frame.pixels, next(f for f in video if f.index == 40).pixels)


@pytest.mark.parametrize("backend", ["torchcodec", "decord"])
@pytest.mark.filterwarnings("default")
def test_backends_agree_or_refuse(data: Path, backend: str, require_backend) -> None:
    """TorchCodec may run on another FFmpeg than PyAV: 10-bit colors differ as above, all else is identical."""
    require_backend(backend)
    files = [data / "nasty" / name for name, found in READABLE.items() if found[0] <= 90]
    refused = set()
    for path in [*files, *sorted((data / "ucf101").glob("*/*01.avi")), *(data / "hmdb51").rglob("*.avi")]:
        pairs = zip(open_video(path, backend="pyav"), range(COMPARED), strict=False)
        tolerance = {"h264_10bits.mp4": 4, "hlg10-color-test.mp4": 1}.get(path.name, 0)
        try:
            other = open_video(path, backend=backend).frames_at(range(min(COMPARED, READABLE.get(path.name, [99])[0])))
        except MediaError as error:
            assert "backend 'pyav' can" in str(error)
            refused.add(path.suffix if "hmdb51" in path.parts else path.name)
            continue
        for (frame, _), same in zip(pairs, other, strict=False):
            assert frame.seconds == same.seconds
            assert np.abs(frame.pixels.astype(np.int16) - same.pixels).mean() <= tolerance
    assert {".avi", "sample_rotate_and_reflect.mp4"} <= refused
    assert len(refused) <= (3 if backend == "torchcodec" else 9)
