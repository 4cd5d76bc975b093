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
from vidcam.media.pyav import PyavVideo
from vidcam.media.source import Packets, opened, reason

OPUS_RATE = 48_000  # the only rate Opus decodes to
MOST_AAC_RATE = 48_000  # what every player takes
SOON = Fraction(1, 10)  # so many seconds of sound before the first picture are nothing to speak of
FAILURES = (av.error.FFmpegError, OSError, ValueError, MediaError)


class Sound:
    """The best sound track of a source: packets are copied where the format takes their codec, else encoded anew.

    Its times count from the source's first picture, as `Frame.seconds` do; what is heard before that is left out.
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
        self._begun = False
        self._shift = self._before = Fraction(0)
        try:
            if source is not None:
                self._shift = -_video_start(source)
                self._open(self._files.enter_context(opened(source)), container)
        except FAILURES as error:
            self._fail(error)

    def _open(self, source: InputContainer, container: Format) -> None:
        """Add a stream to the output; a source without sound adds none."""
        stream = source.streams.best("audio")
        if not isinstance(stream, AudioStream):
            if source.streams.audio:
                self.notes.append("the sound could not be carried over: its codec is unknown")
            return
        if container.sound is None:
            self.notes.append("a GIF has no sound: the source's is left out")
            return
        if (tracks := len(source.streams.audio)) > 1:
            self.notes.append(f"one of {tracks} sound tracks is carried over")
        self._begun = True
        codec, name = stream.codec_context.codec.canonical_name, container.sound.removeprefix("lib")
        if codec in container.sound_copied:
            self._packets = _copied(source, stream, self._output.add_stream_from_template(stream))
        else:
            self._packets = self._encoded(source, stream, self._encoder(stream, container.sound))
            self.notes.append(f"the sound was encoded anew, from {codec} to {name}")

    def write(self, until: Fraction | None) -> None:
        """Write what is heard before `until` seconds, all that is left if None."""
        try:
            while (packet := self._ahead or next(self._packets, None)) is not None:
                self._ahead = packet
                if until is not None and packet.dts is not None and packet.dts * packet.time_base + self._shift > until:
                    return
                self._ahead = None
                self._mux(packet)
        except FAILURES as error:
            self._fail(error)

    def close(self) -> None:
        """Close the source."""
        if self._begun and self._last == -inf and not self.notes:
            self.notes.append("the sound could not be carried over: nothing of it could be read")
        if self._skipped:
            self.notes.append(f"{self._skipped} damaged packets of the sound were left out")
        if self._before >= SOON:
            self.notes.append(
                f"the sound begins {float(self._before):.1f} s before the first picture; that is left out"
            )
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

    def _mux(self, packet: "av.Packet[Any]") -> None:
        """Mux one packet; what comes before the beginning or out of order would spoil the file and is left out."""
        moved = round(self._shift / packet.time_base)
        if packet.dts is None or packet.dts <= self._last:
            self._skipped += 1
            return
        if moved and packet.dts + moved < 0:
            self._before = max(self._before, -(packet.dts + moved) * packet.time_base)
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


def _video_start(source: Path) -> Fraction:
    """Return the time of the source's first picture in seconds; sound without pictures counts from its own zero."""
    try:
        return PyavVideo(source).start
    except MediaError:
        return Fraction(0)
