"""Read video files with TorchCodec, which uses the system's FFmpeg libraries."""

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vidcam.errors import MediaError
from vidcam.media.indexed import IndexedVideo, Read
from vidcam.types import Pixels


class TorchcodecVideo(IndexedVideo):
    """A video file through TorchCodec."""

    name: ClassVar[str] = "torchcodec"

    def _open(self) -> tuple[int, Read]:
        decoder = _decoder(self._path, dimension_order="NHWC", num_ffmpeg_threads=0, seek_mode="exact")

        def read(index: int) -> Pixels:
            return np.array(decoder.get_frame_at(index).data.numpy())

        return len(decoder), read


def _decoder(path: Path, **options: Any) -> Any:
    """Open a decoder; older versions look for FFmpeg when they are imported, newer ones here."""
    try:
        return import_module("torchcodec.decoders").VideoDecoder(str(path.absolute()), **options)
    except ImportError:
        raise MediaError("backend 'torchcodec' is not installed: pip install \"vidcam[torchcodec]\"") from None
    except (RuntimeError, OSError) as error:
        if "libtorchcodec" not in str(error):
            raise
        raise MediaError("TorchCodec finds no FFmpeg libraries: install FFmpeg, or use backend 'pyav'") from None
