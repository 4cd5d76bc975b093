"""Carry the sound of a source over to a video being written."""

from contextlib import ExitStack
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from vidcam.errors import MediaError
from vidcam.media.formats import Format
from vidcam.media.source import Packets, opened, reason

OPUS_RATE = 48_000  # the only rate Opus decodes to
MOST_AAC_RATE = 48_000  # what every player takes
FAILURES = (av.error.FFmpegError, OSError, ValueError, MediaError)


class Sound:
    """The best sound track of a source: packets are copied where the format takes their codec, else encoded anew.

    Whatever goes wrong with the sound ends up in `notes`; the video goes on without it.
    """

    def __init__(self, source: Path | None, output: OutputContainer, container: Format) -> None:
        self.notes: list[str] = []
        self._output = output
        self._files = ExitStack()
        self._packets: Packets = iter(())
        self._ahead: av.Packet[Any] | None = None
        self._last = -inf
        self._skipped = 0
        self.video_start = Fraction(0)
        try:
            if source is not None:
                self._open(self._files.enter_context(opened(source)), container)
        except FAILURES as error:
            self._fail(error)

    def _open(self, source: InputContainer, container: Format) -> None:
        """Add a stream to the output; a source without sound adds none."""
        stream = source.streams.best("audio")
        if not isinstance(stream, AudioStream):
            return
        if container.sound is None:
            self.notes.append("a GIF has no sound: the source's is left out")
            return
        self.video_start = _video_start(source)
        codec, name = stream.codec_context.codec.canonical_name, container.sound.removeprefix("lib")
        if codec in container.sound_copied:
            self._packets = _copied(source, stream, self._output.add_stream_from_template(stream))
        else:
            self._packets = self._encoded(source, stream, self._encoder(stream, container.sound))
            self.notes.append(f"the sound was encoded anew, from {codec} to {name}")

    def write(self, until: Fraction | None, *, shift: Fraction = Fraction(0)) -> None:
        """Write what is heard before `until` seconds, all that is left if None; `shift` is added to its times."""
        try:
            while (packet := self._ahead or next(self._packets, None)) is not None:
                self._ahead = packet
                if until is not None and packet.dts is not None and packet.dts * packet.time_base + shift > until:
                    return
                self._ahead = None
                self._mux(packet, shift)
        except FAILURES as error:
            self._fail(error)

    def close(self) -> None:
        """Close the source."""
        if self._skipped:
            self.notes.append(f"{self._skipped} damaged packets of the sound were left out")
        self._files.close()

    def _encoder(self, stream: AudioStream, encoder: str) -> AudioStream:
        context = stream.codec_context
        rate = OPUS_RATE if encoder == "libopus" else min(context.sample_rate, MOST_AAC_RATE)
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        added = self._output.add_stream(encoder, rate=rate, layout=layout, time_base=Fraction(1, rate))
        assert isinstance(added, AudioStream)
        return added

    def _encoded(self, source: InputContainer, stream: AudioStream, added: AudioStream) -> Packets:
        encoder = added.codec_context
        resampler = av.AudioResampler(encoder.format, encoder.layout, encoder.sample_rate, encoder.frame_size or None)
        for packet in source.demux(stream):
            for frame in self._decode(packet):
                for piece in resampler.resample(frame):
                    yield from added.encode(piece)
        for piece in resampler.resample(None):
            yield from added.encode(piece)
        yield from added.encode(None)

    def _decode(self, packet: "av.Packet[Any]") -> list[AudioFrame]:
        try:
            frames: list[Any] = packet.decode()
        except (av.error.FFmpegError, OSError):
            self._skipped += 1
            return []
        return frames

    def _mux(self, packet: "av.Packet[Any]", shift: Fraction) -> None:
        """Mux one packet; what comes before the beginning or out of order would spoil the file and is left out."""
        moved = round(shift / packet.time_base)
        if packet.dts is None or packet.dts <= self._last or (moved and packet.dts + moved < 0):
            self._skipped += not moved
            return
        self._last = packet.dts
        packet.dts += moved
        packet.pts = None if packet.pts is None else packet.pts + moved
        self._output.mux(packet)

    def _fail(self, error: Exception) -> None:
        self.notes.append(f"the sound could not be carried over: {reason(error)}")
        self._packets, self._ahead = iter(()), None


def _copied(source: InputContainer, stream: AudioStream, added: AudioStream) -> Packets:
    for packet in source.demux(stream):
        if packet.size and packet.dts is not None:
            packet.stream = added
            yield packet


def _video_start(source: InputContainer) -> Fraction:
    """Return the time of the source's first picture in seconds."""
    stream = source.streams.best("video")
    if stream is None or stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return stream.start_time * stream.time_base
