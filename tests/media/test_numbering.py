"""Frames that a decoder loses keep their number."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from vidcam.media import open_video
from vidcam.media.numbering import Numbering


@dataclass
class Packet:
    pts: int | None
    size: int = 9
    is_discard: bool = False
    is_corrupt: bool = False


def test_what_was_due_before_a_frame_is_lost() -> None:
    numbering = Numbering(tells=True)
    for packet in [
        Packet(0),
        Packet(3),
        Packet(1),
        Packet(2, is_discard=True),
        Packet(0, size=0),
        Packet(5),
        Packet(4),
    ]:
        numbering.expect(packet)
    assert [numbering.lost_before(pts) for pts in (0, 3, 4)] == [[], [1], []]
    assert (numbering.lost_at_the_end(), numbering.lost, numbering.packets) == ([5], 2, 6)


def test_before_the_first_frame_nothing_is_lost() -> None:
    numbering = Numbering(tells=True)
    for pts in (2, 0, 1, 3):
        numbering.expect(Packet(pts))
    assert numbering.lost_before(2) == [] and numbering.lost_before(3) == []


def test_where_packets_do_not_tell_nothing_is_lost() -> None:
    silent, late = Numbering(tells=True), Numbering(tells=True)
    for packet in (Packet(0), Packet(None), Packet(2), Packet(3)):
        silent.expect(packet)
    assert [silent.lost_before(pts) for pts in (0, 3)] == [[], []]
    for pts in range(6):
        late.expect(Packet(pts))
    assert [late.lost_before(pts) for pts in (0, 2)] == [[], [1]]
    assert late.is_late(1) and late.lost_before(1) == [] and late.lost_before(5) == []


def test_single_frames_of_a_damaged_file_are_those_of_the_iteration(make, damaged) -> None:
    path = damaged(make(count=60))
    video = open_video(path)
    frames = list(video)
    assert [frame.index for frame in frames] == [*range(60)]
    assert video.times() == [frame.seconds for frame in frames]
    for single, frame in zip(open_video(path).frames_at(range(60)), frames, strict=True):
        np.testing.assert_array_equal(single.pixels, frame.pixels)


def test_an_avi_whose_first_packet_is_counted_wrong(tmp_path: Path) -> None:
    """An AVI counts frames and has no times: a damaged header makes the first one the thirteenth, and 12 stay 12."""
    path, rng = tmp_path / "a.avi", np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(12):
            picture = rng.integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    at = data.find(b"movi") + 29
    path.write_bytes(data[:at] + b"\x00\x00" + data[at + 2 :])
    with open_video(path) as video:
        times = [frame.seconds for frame in video]
    with open_video(path) as video:
        assert video.times() == times and len(times) == 12
        assert [frame.index for frame in video.frames_at([0, 11])] == [0, 11]
