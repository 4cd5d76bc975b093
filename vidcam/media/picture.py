"""Turn RGB pixels into the packets of one encoder."""

import os
from fractions import Fraction

import av
import numpy as np
from av.container import OutputContainer
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from vidcam.media.formats import Codec
from vidcam.media.source import Packets
from vidcam.types import Pixels


class _Picture:
    """The stream of one encoder."""

    def __init__(
        self, output: OutputContainer, codec: Codec, *, width: int, height: int, rate: Fraction, time_base: Fraction
    ) -> None:
        os.environ.setdefault("SVT_LOG", "0")  # the only way to keep the AV1 encoder from writing to the terminal
        stream = output.add_stream(codec.encoder, rate=rate, options=codec.options, width=width, height=height)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = codec.pixel_format
        stream.codec_context.time_base = time_base
        self.stream, self._time_base = stream, time_base

    def encode(self, pixels: Pixels, timestamp: int) -> Packets:
        """Encode one frame (H, W, 3), shown at that timestamp, and yield the packets that are ready."""
        yield from self.stream.encode(self._frame(pixels, timestamp))

    def flush(self) -> Packets:
        """Yield the packets that the encoder still holds."""
        yield from self.stream.encode(None)

    def _frame(self, pixels: Pixels, timestamp: int) -> VideoFrame:
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = timestamp, self._time_base
        return frame


class YuvPicture(_Picture):
    """Encode to YUV 4:2:0 with BT.709 colors in limited range, and tagged as such; odd sizes are padded."""

    def __init__(self, output: OutputContainer, codec: Codec, *, width: int, height: int, **timing: Fraction) -> None:
        super().__init__(output, codec, width=width + width % 2, height=height + height % 2, **timing)
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        context = self.stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709

    def _frame(self, pixels: Pixels, timestamp: int) -> VideoFrame:
        if any(after for _, after in self._padding):
            pixels = np.pad(pixels, self._padding, mode="edge")
        colors = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
        return super()._frame(pixels, timestamp).reformat(format=self.stream.pix_fmt, **colors)


class GifPicture(_Picture):
    """Encode to a GIF with a palette of its own for every frame, so that no frame waits for a later one."""

    FILTERS = (("palettegen", "stats_mode=single"), ("paletteuse", "new=1:dither=bayer:bayer_scale=4"))

    def __init__(self, output: OutputContainer, codec: Codec, *, width: int, height: int, **timing: Fraction) -> None:
        super().__init__(output, codec, width=width, height=height, **timing)
        self._graph = self._build(width, height)

    def _build(self, width: int, height: int) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = graph.add_buffer(width=width, height=height, format=VideoFormat("rgb24"), time_base=self._time_base)
        split = graph.add("split")
        make, use = (graph.add(name, options) for name, options in self.FILTERS)
        sink = graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(make, 1, 0)
        make.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        return graph

    def encode(self, pixels: Pixels, timestamp: int) -> Packets:
        self._graph.vpush(self._frame(pixels, timestamp))
        yield from self._pull()

    def flush(self) -> Packets:
        self._graph.vpush(None)
        yield from self._pull()
        yield from super().flush()

    def _pull(self) -> Packets:
        while True:
            try:
                frame = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            frame.time_base = self._time_base
            yield from self.stream.encode(frame)
