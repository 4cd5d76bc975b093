from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidcam.errors import MediaError, OptionError
from vidcam.media import VideoWriter, open_video

NTSC = Fraction(30000, 1001)


def write_sound(path: Path, *, codec: str = "aac", seconds: int = 2) -> Path:
    """A file with a tone and nothing to see."""
    rate = 48_000
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        tone = (8000 * np.sin(np.arange(rate * seconds) * 0.05)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for piece in av.AudioResampler(stream.format, "mono", rate, stream.codec_context.frame_size).resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def sound_of(path: Path) -> tuple[str, float]:
    """Name the codec of a file's sound and decode how many seconds it lasts."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return stream.codec_context.name, sum(frame.samples for frame in container.decode(stream)) / stream.rate


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv", "clip.webm"])
def test_fractional_rate_is_exact(make, probe, name: str) -> None:
    path = make(name, count=31, rate=NTSC)
    video = open_video(path)
    assert video.info.rate == NTSC
    tolerance = 1e-3 if name.endswith(("mkv", "webm")) else 1e-9  # Matroska counts milliseconds
    assert [frame.seconds for frame in video] == pytest.approx([float(i / NTSC) for i in range(31)], abs=tolerance)
    assert float(probe(path, "format=duration")["duration"]) == pytest.approx(float(31 / NTSC), abs=2e-3)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.webm", "clip.gif"])
@pytest.mark.parametrize("color", [(200, 30, 60), (20, 180, 40), (30, 60, 220), (235, 235, 235)])
def test_colors_survive(tmp_path: Path, name: str, color: tuple[int, int, int]) -> None:
    """Rounding to 8-bit YUV and back costs up to 4; reading BT.709 as BT.601 would cost 10 and more."""
    with VideoWriter(tmp_path / name, width=64, height=48, rate=Fraction(5)) as writer:
        writer.write(np.full((48, 64, 3), color, np.uint8))
    (frame,) = open_video(tmp_path / name)
    assert np.abs(frame.pixels.astype(int) - color).max() <= 4


def test_details_survive(make, picture) -> None:
    """Colors are kept at half the size, which smears the bar's edges; the place of the bar tells the index."""
    for frame in open_video(make()):
        assert np.abs(frame.pixels.astype(int) - picture(frame.index)).mean() < 3.5


def test_colors_are_tagged_as_bt709_limited(make, probe) -> None:
    found = probe(make(), "stream=color_space,color_range,color_primaries,color_transfer,pix_fmt")
    assert [found[f"color_{key}"] for key in ("space", "primaries", "transfer")] == ["bt709"] * 3
    assert (found["color_range"], found["pix_fmt"]) == ("tv", "yuv420p")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_variable_rate_keeps_times_and_duration(make, probe, name: str) -> None:
    times = [1.25, 1.27, 1.5, 2.1, 2.11, 4.0]
    path = make(name, count=6, times=times)
    video = open_video(path)
    assert [frame.seconds for frame in video] == pytest.approx([time - 1.25 for time in times], abs=1e-3)
    assert video.start == pytest.approx(1.25, abs=1e-3)
    if name == "clip.mp4":
        assert float(probe(path, "stream=duration")["duration"]) == pytest.approx(4.0 + 1 / 25 - 1.25, abs=1e-4)


def test_odd_size_repeats_the_last_row_and_column(tmp_path: Path) -> None:
    pixels = np.full((31, 45, 3), 40, np.uint8)
    pixels[-1] = pixels[:, -1] = 200
    with VideoWriter(tmp_path / "odd.mp4", width=45, height=31, rate=Fraction(5)) as writer:
        writer.write(pixels)
    assert writer.notes == ["45x31 padded to 46x32: the last row or column is repeated"]
    (frame,) = open_video(tmp_path / "odd.mp4")
    assert frame.pixels.shape == (32, 46, 3)
    assert frame.pixels[31].mean() > 150 and frame.pixels[:, 45].mean() > 150 and frame.pixels[:28, :42].mean() < 50


def test_gif_keeps_its_odd_size_and_count(make, tmp_path: Path) -> None:
    video = open_video(make("odd.gif", count=7, rate=10, width=45, height=31))
    assert (video.info.width, video.info.height, len(list(video))) == (45, 31, 7)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("after", [0, 3, 60])
def test_exception_leaves_nothing_and_propagates(
    tmp_path: Path, picture, error: type[BaseException], after: int
) -> None:
    with pytest.raises(error), VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=Fraction(25)) as writer:
        for index in range(after):
            writer.write(picture(index))
        raise error
    assert list(tmp_path.iterdir()) == []


def test_no_frames_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(MediaError, match="not one frame"),
        VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=Fraction(25)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3)), np.zeros((64, 48, 3), np.uint8)])
def test_wrong_frame_is_refused(tmp_path: Path, bad: np.ndarray) -> None:
    with (
        pytest.raises(MediaError, match=r"must be uint8 \(48, 64, 3\)"),
        VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=Fraction(25)) as writer,
    ):
        writer.write(bad)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_said_before_anything_is_done(make, tmp_path: Path) -> None:
    make("clip.mp4")
    options = {"width": 64, "height": 48, "rate": Fraction(25)}
    with pytest.raises(MediaError, match=r"\.mp4, \.mov"):
        VideoWriter(tmp_path / "clip.xyz", **options)
    with pytest.raises(MediaError, match="force=True"):
        VideoWriter(tmp_path / "clip.mp4", **options)
    with pytest.raises(OptionError, match="unknown codec"):
        VideoWriter(tmp_path / "new.webm", codec="h264", **options)


def test_sound_is_copied_and_stays_in_place(make, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "sound.mp4")
    path = make("clip.mp4", count=10, times=[1 + i / 25 for i in range(10)], audio_from=sound)
    assert sound_of(path) == ("aac", pytest.approx(sound_of(sound)[1], abs=0.03))
    video = open_video(path)
    assert video.info.has_audio and (video.start, next(iter(video)).seconds) == (1, 0.0)


def test_times_before_zero_are_refused(tmp_path: Path, picture) -> None:
    with (
        pytest.raises(MediaError, match=r"seconds count from 0 on; given -0\.4"),
        VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=Fraction(25)) as writer,
    ):
        writer.write(picture(0), -0.4)


def test_sound_before_the_first_picture_is_left_out_and_said(make, tmp_path: Path, picture) -> None:
    sound = write_sound(tmp_path / "sound.mp4")
    late = make("late.mp4", count=10, times=[1 + i / 25 for i in range(10)], audio_from=sound)
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=Fraction(25), audio_from=late) as writer:
        for frame in open_video(late):
            writer.write(frame.pixels, frame.seconds)
    assert sound_of(tmp_path / "a.mp4") == ("aac", pytest.approx(1.0, abs=0.03))
    assert writer.notes == ["the sound begins 1.0 s before the first picture; that is left out"]


def test_sound_is_encoded_anew_where_the_format_does_not_take_it(tmp_path: Path, picture) -> None:
    sound = write_sound(tmp_path / "sound.mp4")
    with VideoWriter(tmp_path / "a.webm", width=64, height=48, rate=Fraction(5), audio_from=sound) as writer:
        for index in range(10):
            writer.write(picture(index), index / 5)
    assert sound_of(tmp_path / "a.webm") == ("opus", pytest.approx(2.0, abs=0.06))
    assert writer.notes == ["the sound was encoded anew, from aac to opus"]


@pytest.mark.parametrize("broken", ["text", "missing"])
def test_failing_sound_does_not_cost_the_video(tmp_path: Path, picture, broken: str) -> None:
    if broken == "text":
        (tmp_path / "text").write_text("no sound at all " * 100)
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=Fraction(5), audio_from=tmp_path / broken) as writer:
        writer.write(picture(0))
    assert len(list(open_video(tmp_path / "a.mp4"))) == 1
    assert "the sound could not be carried over" in writer.notes[0]


def test_gif_says_that_it_has_no_sound(tmp_path: Path, picture) -> None:
    sound = write_sound(tmp_path / "sound.mp4")
    with VideoWriter(tmp_path / "a.gif", width=64, height=48, rate=Fraction(5), audio_from=sound) as writer:
        writer.write(picture(0))
    assert writer.notes == ["a GIF has no sound: the source's is left out"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.gif"])
def test_the_pixels_shape_is_kept_or_its_loss_is_said(tmp_path: Path, picture, name: str) -> None:
    wide = {"pixel_aspect": Fraction(64, 45)}
    with VideoWriter(tmp_path / name, width=64, height=48, rate=Fraction(5), **wide) as writer:
        writer.write(picture(0))
    kept = open_video(tmp_path / name).info.pixel_aspect
    assert kept == (1 if writer.notes else Fraction(64, 45))
    assert bool(writer.notes) == name.endswith(("webm", "gif"))
    assert all("not square" in note for note in writer.notes)


def test_sound_tracks_that_are_left_out_are_said(tmp_path: Path, picture) -> None:
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams = [container.add_stream("aac", rate=48_000, layout="mono") for _ in range(2)]
        for stream in streams:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 48_000
            container.mux(stream.encode(silence))
            container.mux(stream.encode(None))
    two = tmp_path / "two.mkv"
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=Fraction(5), audio_from=two) as writer:
        writer.write(picture(0))
    assert writer.notes == ["one of 2 sound tracks is carried over"]


def test_sound_without_a_packet_is_said(tmp_path: Path, picture) -> None:
    with av.open(str(tmp_path / "empty.mkv"), "w") as container:
        container.add_stream("aac", rate=48_000, layout="mono")
        video = container.add_stream("libx264", rate=5, width=64, height=48)
        container.mux(video.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24").reformat(format="yuv420p")))
        container.mux(video.encode(None))
    empty = tmp_path / "empty.mkv"
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=Fraction(5), audio_from=empty) as writer:
        writer.write(picture(0))
    assert writer.notes == ["the sound could not be carried over: nothing of it could be read"]
