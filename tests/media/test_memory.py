"""Frames in memory as a video: arrays, tensors, pictures, decoders."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vidcam.errors import MediaError, OptionError
from vidcam.media import Video, VideoWriter, open_video
from vidcam.types import Pixels

ARRAY = np.random.default_rng(0).integers(0, 256, (5, 8, 12, 3), np.uint8)
TENSOR = torch.from_numpy(ARRAY)


def read(video: Video) -> Pixels:
    return np.stack([frame.pixels for frame in video])


@pytest.mark.parametrize(
    "given",
    [
        ARRAY,
        ARRAY.transpose(0, 3, 1, 2),
        ARRAY / 255,
        (ARRAY / 255).astype(np.float16),
        TENSOR,
        TENSOR.permute(0, 3, 1, 2),
        (TENSOR.permute(0, 3, 1, 2) / 255).requires_grad_(),
        list(ARRAY),
        tuple(TENSOR.permute(0, 3, 1, 2)),
        [Image.fromarray(frame) for frame in ARRAY],
        [ARRAY[0], Image.fromarray(ARRAY[1]), *TENSOR[2:]],
    ],
)
def test_all_forms_hold_the_same_frames(given: Any) -> None:
    video = open_video(given, rate=10)
    np.testing.assert_array_equal(read(video), ARRAY)
    np.testing.assert_array_equal(read(video), ARRAY)  # as often as one likes
    assert video.times() == [0, 0.1, 0.2, 0.3, 0.4] == [frame.seconds for frame in video]
    info = video.info
    assert (info.width, info.height, info.rate, info.frame_count, info.path) == (12, 8, Fraction(10), 5, None)
    (frame,) = video.frames_at([3])
    assert frame.index == 3 and np.array_equal(frame.pixels, ARRAY[3])


def test_an_iterator_is_gathered() -> None:
    def frames() -> Iterator[Pixels]:
        yield from ARRAY

    video = open_video(frames(), rate=Fraction(30000, 1001))
    assert len(read(video)) == len(read(video)) == 5 and video.info.rate == Fraction(30000, 1001)


def test_an_array_is_not_copied_and_not_lent() -> None:
    own = ARRAY.copy()
    video = open_video(own, rate=10)
    first = next(iter(video)).pixels
    assert not np.shares_memory(first, own)
    own[0] = 7
    assert (next(iter(video)).pixels == 7).all()  # it is read when it is asked for


def test_a_memory_map_is_read_frame_by_frame(tmp_path: Path) -> None:
    held = np.memmap(tmp_path / "held", np.uint8, "w+", shape=(5, 8, 12, 3))
    held[:] = ARRAY
    np.testing.assert_array_equal(read(open_video(held, rate=10)), ARRAY)


@pytest.mark.parametrize("given", [ARRAY[0], TENSOR[0].permute(2, 0, 1), Image.fromarray(ARRAY[0])])
def test_a_single_picture_needs_no_rate(given: Any) -> None:
    video = open_video(given)
    np.testing.assert_array_equal(read(video), ARRAY[:1])
    assert video.times() == [0.0]


def test_a_photographed_picture_is_upright() -> None:
    picture = Image.fromarray(ARRAY[0])
    picture.getexif()[0x0112] = 6  # turned by a quarter
    np.testing.assert_array_equal(read(open_video(picture))[0], np.rot90(ARRAY[0], -1))


def test_an_open_video_is_itself() -> None:
    video = open_video(ARRAY, rate=10)
    assert open_video(video) is video
    with pytest.raises(OptionError, match="a rate is for pictures that have none; PicturesVideo has its own"):
        open_video(video, rate=3)


class Codec:
    """Speaks like torchcodec's decoder: (C, H, W) with irregular times."""

    class metadata:
        average_fps = 29.97002997

    def __len__(self) -> int:
        return 5

    def get_frame_at(self, index: int) -> Any:
        class Frame:
            data = TENSOR[index].permute(2, 0, 1)
            pts_seconds = [1.5, 1.6, 1.8, 1.9, 2.0][index]

        return Frame


def test_a_decoder_keeps_its_times() -> None:
    video = open_video(Codec())
    np.testing.assert_array_equal(read(video), ARRAY)
    assert video.times() == pytest.approx([0, 0.1, 0.3, 0.4, 0.5]) and video.info.rate == Fraction(30000, 1001)
    assert [frame.seconds for frame in video.frames_at([2, 0])] == pytest.approx([0.3, 0])
    with pytest.raises(OptionError, match="Codec has its own"):
        open_video(Codec(), rate=30)


@pytest.mark.parametrize("library", ["torchcodec", "decord"])
def test_decoders_of_libraries(library: str, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4", width=32, height=16, rate=Fraction(30)) as writer:
        for level in range(6):
            writer.write(np.full((16, 32, 3), 40 * level, np.uint8))
    try:
        if library == "decord":
            made = pytest.importorskip("decord").VideoReader(str(tmp_path / "clip.mp4"))
        else:
            made = pytest.importorskip("torchcodec.decoders").VideoDecoder(str(tmp_path / "clip.mp4"))
    except RuntimeError:
        pytest.skip("no FFmpeg libraries")
    with open_video(tmp_path / "clip.mp4") as file:
        video = open_video(made)
        assert video.times() == pytest.approx(file.times()) and video.info.rate == file.info.rate
        np.testing.assert_allclose(read(video).mean((1, 2, 3)), read(file).mean((1, 2, 3)), atol=2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (ARRAY[..., 0], r"the ndarray has shape \(5, 8, 12\); it must be \(T, H, W, 3\).*; of one channel, repeat"),
        (ARRAY[None], r"the ndarray has shape \(1, 5, 8, 12, 3\); .*array\[0\]"),
        (np.zeros((5, 8, 12, 4), np.uint8), r"each frame of the ndarray has shape \(8, 12, 4\); .*array\[..., :3\]"),
        (np.zeros((5, 8, 12, 1), np.uint8), r"\(8, 12, 1\); .*repeat it three times"),
        (np.zeros((5, 3, 8, 3), np.uint8), r"reads as \(H, W, 3\) and as \(3, H, W\)"),
        (
            torch.zeros(3, 3, 8, 12),
            r"the Tensor has shape \(3, 3, 8, 12\), which reads as \(T, 3, H, W\) and as \(3, T",
        ),
        (ARRAY.astype(np.int64), "frame 0 is of int64; possible: uint8, or floats in 0..1"),
        (ARRAY.astype(np.float32), "holds floats from 0 to 255; floats are in 0..1, 0..255 is for uint8"),
        (ARRAY / 255 - 0.5, "holds floats from -0.5"),
        (np.full((2, 8, 12, 3), np.nan), "holds floats from nan"),
        (ARRAY[:0], "the ndarray holds no frames"),
        ([], "the list holds no frames"),
        (["a.png"], "frame 0 is no picture but str: give arrays"),
        ([ARRAY[0], ARRAY[0, :4]], "the pictures of the list differ in size: frame 0 is 12x8, frame 1 is 12x4"),
        ([Image.new("I;16", (4, 4))], "frame 0 is a picture of mode 'I;16', more than 8 bits"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(given: Any, says: str) -> None:
    with pytest.raises(MediaError, match=says) as error:
        read(open_video(given, rate=10))
    assert "\n" not in str(error.value)


def test_a_later_frame_may_be_wrong() -> None:
    floats = np.zeros((3, 8, 12, 3))
    floats[2] = 200
    with pytest.raises(MediaError, match="frame 2 holds floats from 200 to 200"):
        read(open_video(floats, rate=10))
    with pytest.raises(MediaError, match="the ndarray has no frame 5; its frames are 0 to 4"):
        open_video(ARRAY, rate=10).frames_at([5])


@pytest.mark.parametrize("given", [ARRAY, TENSOR, list(ARRAY), iter(ARRAY)])
def test_frames_without_a_rate_are_refused(given: Any) -> None:
    with pytest.raises(OptionError, match=r"have no rate: give rate=, in frames per second"):
        open_video(given)


@pytest.mark.parametrize("given", [3, None, {"frames": ARRAY}, b"clip.mp4", object()])
def test_what_is_no_source_is_refused(given: Any) -> None:
    with pytest.raises(OptionError, match="a source is a path, an array or tensor"):
        open_video(given, rate=10)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "fast"])
def test_rates_that_are_none(rate: Any) -> None:
    with pytest.raises(OptionError, match="a rate must be positive, not"):
        open_video(ARRAY, rate=rate)


def test_backends_read_files() -> None:
    with pytest.raises(OptionError, match="leave backend='decord' out for frames in memory"):
        open_video(ARRAY, rate=10, backend="decord")


@pytest.mark.parametrize("url", ["https://host/a.mp4", "s3://bucket/a.mp4", "rtsp://camera:554/live"])
def test_a_url_is_refused_with_what_to_do(url: str) -> None:
    for given in (url, Path(url)):
        with pytest.raises(MediaError, match="this is a URL; download it first, as by ffmpeg") as error:
            open_video(given, rate=5)
        assert url in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(MediaError, match="give the path alone"):
        open_video("file:///tmp/a.mp4")
