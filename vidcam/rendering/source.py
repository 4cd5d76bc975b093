"""The video that an explanation is about, read again."""

from collections.abc import Iterator
from pathlib import Path

from vidcam.errors import MediaError, OptionError
from vidcam.explaining.explanation import Explanation
from vidcam.media import Frame, Video, open_video


def open_source(explanation: Explanation, source: str | Path | None = None) -> Video:
    """Open the video that was explained, or the one given instead, and check that it has the same size.

    Raises:
        OptionError: the explanation does not name its source and none is given.
        MediaError: the source is gone or has another size.
    """
    path = source if source is not None else explanation.provenance.get("source")
    if path is None:
        raise OptionError("the explanation does not say which video it is about; give source=")
    if not Path(path).exists():
        raise MediaError(f"the source {str(path)!r} does not exist; give source= if it has moved")
    # A folder of pictures has no frame rate of its own.
    video = open_video(path, rate=explanation.rate if Path(path).is_dir() else None)
    if (video.info.width, video.info.height) != (explanation.width, explanation.height):
        video.close()
        raise MediaError(
            f"{str(path)!r} is {video.info.width}x{video.info.height}, but what was explained was "
            f"{explanation.width}x{explanation.height}; it is another video or has changed since"
        )
    return video


def frames_of(explanation: Explanation, video: Video) -> Iterator[Frame]:
    """Yield the frames of the source; raise a MediaError if there are more or fewer than were explained."""
    expected, count = len(explanation.heat), 0
    for count, frame in enumerate(video, start=1):
        if count > expected:
            break
        yield frame
    if count != expected:
        more = "more than" if count > expected else f"{count} frames instead of"
        raise MediaError(
            f"{str(video.info.path)!r} has {more} the {expected} that were explained; it has changed since"
        )
