"""Videos in and out: the only code that knows codecs."""

from vidcam.media.files import replacing
from vidcam.media.prefetching import each, prefetch
from vidcam.media.reader import BACKENDS, open_video
from vidcam.media.video import Frame, Video, VideoInfo
from vidcam.media.writer import VideoWriter

__all__ = ["BACKENDS", "Frame", "Video", "VideoInfo", "VideoWriter", "each", "open_video", "prefetch", "replacing"]
