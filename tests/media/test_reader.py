import os
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from vidcam.errors import MediaError, OptionError
from vidcam.media import BACKENDS, open_video
from vidcam.media.orientation import Orientation


def save(path: Path, pixels: np.ndarray) -> None:
    av.VideoFrame.from_ndarray(pixels, format="rgb24").save(str(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "frames"
    path.mkdir()
    for number in (10, 2, 1):
        save(path / f"frame{number}.png", np.full((4, 6, 3), number * 20, np.uint8))
    (path / "notes.txt").write_text("not a picture")
    return path


def test_iterating_twice_begins_at_the_beginning(make) -> None:
    video = open_video(make())
    assert [frame.index for frame in video] == [frame.index for frame in video] == list(range(20))
    frame = next(iter(video))
    assert frame.pixels.flags.owndata and frame.pixels.flags.c_contiguous


@pytest.mark.parametrize("backend", BACKENDS)
def test_frames_at_are_those_of_the_iteration(make, backend: str, require_backend) -> None:
    require_backend(backend)
    video = open_video(make(count=300), backend=backend)
    frames = list(open_video(video.info.path))
    wanted = [299, 0, 17, 17, 250, 251, 3]
    for index, frame in zip(wanted, video.frames_at(wanted), strict=True):
        assert (frame.index, frame.seconds) == (index, frames[index].seconds)
        np.testing.assert_array_equal(frame.pixels, frames[index].pixels)
    with pytest.raises(MediaError, match="no frame 300; its frames are 0 to 299"):
        video.frames_at([0, 300])
    with pytest.raises(MediaError, match="no frame -1"):
        video.frames_at([-1])
    assert video.frames_at([]) == []


def test_folder_is_read_in_natural_order(folder: Path) -> None:
    video = open_video(folder)
    assert [int(frame.pixels[0, 0, 0]) for frame in video] == [20, 40, 200]
    assert [frame.seconds for frame in video] == [0.0, 0.04, 0.08]
    assert (video.info.width, video.info.height, video.info.frame_count) == (6, 4, 3)
    assert "25 frames per second are assumed" in video.notes[0]
    exact = open_video(folder, rate=Fraction(30000, 1001))
    assert exact.info.rate == Fraction(30000, 1001) and exact.notes == []


def test_a_percent_sign_in_a_picture_name_is_no_pattern(tmp_path: Path) -> None:
    save(tmp_path / "frame.png", np.full((4, 6, 3), 60, np.uint8))
    (tmp_path / "frame.png").rename(tmp_path / "frame%03d.png")
    assert [int(frame.pixels[0, 0, 0]) for frame in open_video(tmp_path)] == [60]


def test_an_animated_webp_keeps_pictures_and_times(tmp_path: Path) -> None:
    pictures = [Image.new("RGBA", (32, 24), (60 * index, 40, 200, 255)) for index in range(4)]
    pictures[3].putalpha(0)
    durations = [40, 80, 0, 500]
    how = {"save_all": True, "append_images": pictures[1:], "duration": durations, "lossless": True, "exact": True}
    pictures[0].save(tmp_path / "a.webp", **how)
    video = open_video(tmp_path / "a.webp")
    assert [tuple(frame.pixels[5, 5]) for frame in video] == [(0, 40, 200), (60, 40, 200), (120, 40, 200), (0, 0, 0)]
    assert [frame.seconds for frame in video] == video.times() == pytest.approx([0, 0.04, 0.12, 0.22])
    assert (video.info.width, video.info.height, video.info.frame_count) == (32, 24, 4)
    assert video.info.duration_seconds == pytest.approx(0.72)
    with pytest.raises(MediaError, match="backend 'pyav' cannot read"):
        open_video(tmp_path / "a.webp", backend="pyav")
    data = (tmp_path / "a.webp").read_bytes()
    (tmp_path / "torn.webp").write_bytes(data[:20])
    with pytest.raises(MediaError, match="cannot read"):
        open_video(tmp_path / "torn.webp")
    for size in range(30, len(data), 40):
        (tmp_path / "torn.webp").write_bytes(data[:size])
        with pytest.raises(MediaError, match="damaged or not a video"):
            list(open_video(tmp_path / "torn.webp"))


def test_pictures_of_two_sizes_are_named(folder: Path) -> None:
    save(folder / "frame3.png", np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(MediaError, match=r"'frame1.png' is 6x4, 'frame3.png' is 6x8"):
        list(open_video(folder))


def test_damaged_picture_is_named(folder: Path) -> None:
    (folder / "frame4.png").write_bytes(b"junk" * 50)
    with pytest.raises(MediaError, match=r"frame4.png"):
        list(open_video(folder))


@pytest.mark.parametrize(
    "names",
    [
        ["img_1", "img_2", "flow_x_1", "flow_x_2", "flow_y_1", "flow_y_2"],
        ["1_rgb", "2_rgb", "1_flow", "2_flow"],
        ["frame1", "frame2", "frame3", "cover"],
        ["left1", "right1"],
    ],
)
def test_several_videos_in_a_folder_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        save(tmp_path / f"{name}.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(MediaError, match=r"are not one video: '.*'; give a folder that holds one of them"):
        open_video(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["0.0", "0.25", "0.5", "1.0", "1.125", "10.0"],  # seconds
        ["t1305031102.175304", "t1305031102.211214", "t1305031103.011215"],
        ["shot1.8", "shot1.9", "shot1.10", "shot2.1"],  # no decimals
        ["a", "b", "c"],
        ["take1_9", "take1_10", "take2_1"],
    ],
)
def test_names_in_the_order_of_their_numbers(tmp_path: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        save(tmp_path / f"{name}.png", np.full((4, 6, 3), 20 * index, np.uint8))
    assert [int(frame.pixels[0, 0, 0]) // 20 for frame in open_video(tmp_path)] == [*range(len(names))]


@pytest.mark.parametrize("thumbnail", [False, True])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_torn_jpeg_is_named(tmp_path: Path, thumbnail: bool, progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    exif = Image.Exif()
    if thumbnail:  # a whole JPEG in the header of the torn one
        Image.fromarray(noise[:24, :32]).save(tmp_path / "thumbnail", "JPEG")
        exif[0x010F] = (tmp_path / "thumbnail").read_bytes()
    Image.fromarray(noise).save(tmp_path / "0.jpg", exif=exif, progressive=progressive)
    assert len(list(open_video(tmp_path))) == 1
    whole = (tmp_path / "0.jpg").read_bytes()
    (tmp_path / "0.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(MediaError, match=r"cannot read the picture '.*0\.jpg': it breaks off"):
        open_video(tmp_path)


def broken(path: Path, make) -> dict[str, Path]:
    """One file for every way in which a file can be no video."""
    good = make("good.mp4", count=50).read_bytes()
    unseekable = path / "plain.mkv"
    unseekable.write_bytes(make("good.mkv").read_bytes()[:200])
    for name, content in {
        "empty.mp4": b"",
        "text.mp4": b"hello there\n" * 99,
        "text.txt": b"hello there\n" * 99,
    }.items():
        (path / name).write_bytes(content)
    (path / "no_index.mp4").write_bytes(good[good.index(b"mdat") :])
    (path / "folder").mkdir()
    save(path / "still.png", np.zeros((4, 6, 3), np.uint8))
    names = ["empty.mp4", "text.mp4", "text.txt", "no_index.mp4", "folder", "still.png", "missing.mp4", "plain.mkv"]
    return {name: path / name for name in names}


def test_unreadable_input_is_one_line_that_names_it(tmp_path: Path, make, capfd: pytest.CaptureFixture[str]) -> None:
    for name, path in broken(tmp_path, make).items():
        with pytest.raises(MediaError) as caught:
            list(open_video(path))
        assert name in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "why"), [("still.png", "single picture"), ("missing.mp4", "no such file")])
def test_reasons(tmp_path: Path, make, name: str, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        open_video(broken(tmp_path, make)[name])


def test_damage_in_the_middle_is_noted(make, damaged) -> None:
    path = damaged(make(count=200))
    video = open_video(path)
    count = len(list(video))
    assert 150 < count <= 200
    assert any("damaged" in note for note in video.notes)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wmv", "wmv2"), ("a.mpg", "mpeg2video"), ("a.ts", "libx264"), ("a.mkv", "mpeg4")]
)
def test_decord_refuses_containers_without_an_index(tmp_path: Path, name: str, codec: str, require_backend) -> None:
    require_backend("decord")
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25, width=64, height=48)
        for index in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * index, np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    frames = list(open_video(tmp_path / name))
    assert [frame.seconds for frame in frames] == pytest.approx([index / 25 for index in range(30)], abs=2e-3)
    if name.endswith("mkv"):
        assert len(open_video(tmp_path / name, backend="decord").times()) == 30
        return
    with pytest.raises(MediaError, match=r"it misses frames in .*, which has no index.*backend 'pyav' can"):
        open_video(tmp_path / name, backend="decord")


def test_unknown_backend_and_rate_for_a_file(make) -> None:
    with pytest.raises(OptionError, match="unknown backend 'pyva'; did you mean 'pyav'"):
        open_video(make(), backend="pyva")
    with pytest.raises(OptionError, match="a rate is for a folder"):
        open_video(make("other.mp4"), rate=5)


def test_missing_extra_names_the_install(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(MediaError, match=r'pip install "vidcam\[decord\]"'):
        open_video(make(), backend="decord")


def test_name_that_begins_with_a_dash(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("-y.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(list(open_video("-y.mp4"))) == 20


def test_orientation_against_the_matrix() -> None:
    """Move each pixel by the matrix itself: x' = a x + c y, y' = b x + d y, shifted to begin at zero."""
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for matrix in [
        (1, 0, 0, 1),
        (-1, 0, 0, 1),
        (1, 0, 0, -1),
        (-1, 0, 0, -1),
        (0, 1, 1, 0),
        (0, 1, -1, 0),
        (0, -1, 1, 0),
    ]:
        a, b, c, d = matrix
        moved = {(b * x + d * y, a * x + c * y): pixels[y, x] for y in range(2) for x in range(3)}
        top, left = (min(place[axis] for place in moved) for axis in (0, 1))
        turned = Orientation(a == 0, flipped_rows=(b or d) < 0, flipped_columns=(a or c) < 0).apply(pixels)
        for (row, column), color in moved.items():
            np.testing.assert_array_equal(turned[row - top, column - left], color)


def test_import_is_light() -> None:
    code = "import sys, vidcam.media; print([m for m in ('torch', 'torchcodec', 'decord') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("tag", range(1, 9))
def test_photographs_are_turned_as_their_exif_says(tmp_path: Path, tag: int) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "camera", tag  # its maker, and how it was held
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16], pixels[8:, 16:] = 200, 90
    Image.fromarray(pixels).save(tmp_path / "0.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "0.jpg") as picture:
        wanted = np.asarray(ImageOps.exif_transpose(picture))
    (frame,) = open_video(tmp_path)
    assert frame.pixels.shape == wanted.shape
    assert np.abs(frame.pixels.astype(int) - wanted).mean() < 3


@pytest.mark.parametrize("size", [0, 2**31 - 1])
def test_a_picture_whose_header_lies_is_one_line(tmp_path: Path, size: int) -> None:
    """Pillow calls a broken PNG a SyntaxError, and FFmpeg may fail without a word."""
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    data = (tmp_path / "0.png").read_bytes()
    header = data[12:16] + struct.pack(">II", size, 8) + data[24:29]
    for number, head in enumerate((header, b"IHDX" + header[4:], header[:4] + b"\0" * 13)):
        (tmp_path / "0.png").write_bytes(data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:])
        with pytest.raises(MediaError, match="cannot read the picture") as caught:
            open_video(tmp_path)
        assert "\n" not in str(caught.value), number


def test_a_pipe_among_pictures_is_not_waited_for(tmp_path: Path) -> None:
    for number in (0, 2):
        Image.new("RGB", (32, 24)).save(tmp_path / f"{number}.png")
    os.mkfifo(tmp_path / "1.png")
    with (
        pytest.raises(MediaError, match=r"cannot read the picture '.*1\.png': it is no file"),
        open_video(tmp_path) as v,
    ):
        list(v)


def test_a_picture_of_too_many_pixels_is_one_line(tmp_path: Path) -> None:
    Image.new("1", (14000, 14000)).save(tmp_path / "0.png")
    with pytest.raises(MediaError, match=r"cannot read the picture '.*0\.png': it has too many pixels"):
        open_video(tmp_path)
