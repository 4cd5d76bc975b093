"""Which files can be written, and how frames are encoded for them."""

from dataclasses import dataclass, field
from pathlib import Path

from vidcam.errors import MediaError, OptionError, unknown


@dataclass(frozen=True)
class Codec:
    """A video encoder with options that keep an overlay's fine lines at a moderate size."""

    encoder: str
    options: dict[str, str]
    pixel_format: str = "yuv420p"
    keeps_aspect: bool = False
    """Whether its stream says how wide a pixel is."""


@dataclass(frozen=True)
class Format:
    """A container: which codecs it takes, the first by default, and what its sound is encoded to if it must be."""

    codecs: tuple[str, ...]
    sound: str | None = None
    sound_copied: frozenset[str] = frozenset()
    options: dict[str, str] = field(default_factory=dict)


CODECS = {
    # Without B-frames packets are in the order they are shown: with them MP4 gets the duration of uneven frames wrong.
    "h264": Codec("libx264", {"crf": "18", "preset": "faster", "bf": "0"}, keeps_aspect=True),
    "vp9": Codec("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}),
    "av1": Codec("libsvtav1", {"crf": "26", "preset": "9"}),
    "gif": Codec("gif", {}, "pal8"),
}
_MP4_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
# The index first, so that a browser can start to play; a fine clock for the time of the first frame.
_MP4_OPTIONS = {"movflags": "+faststart", "movie_timescale": "90000"}
FORMATS = {
    ".mp4": Format(("h264", "vp9", "av1"), "aac", _MP4_SOUND, _MP4_OPTIONS),
    ".mov": Format(("h264",), "aac", _MP4_SOUND - {"opus", "flac"} | {"pcm_s16le", "pcm_s24le"}, _MP4_OPTIONS),
    ".mkv": Format(("h264", "vp9", "av1"), "aac", _MP4_SOUND | {"vorbis", "pcm_s16le", "pcm_s24le"}),
    ".webm": Format(("vp9", "av1"), "libopus", frozenset({"opus", "vorbis"})),
    ".gif": Format(("gif",)),
}


def choose(path: Path, codec: str | None) -> tuple[Format, Codec]:
    """Return the format for the file's extension and the codec asked for or else the format's own."""
    container = FORMATS.get(path.suffix.lower())
    if container is None:
        raise MediaError(f"cannot write {str(path)!r}: its extension must be one of {', '.join(FORMATS)}")
    if codec is not None and codec not in container.codecs:
        raise OptionError(unknown(f"codec for {path.suffix}", codec, container.codecs))
    return container, CODECS[codec or container.codecs[0]]
