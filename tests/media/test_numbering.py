"""Frames that a decoder loses keep their number."""

from dataclasses import dataclass

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
