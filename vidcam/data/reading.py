"""How videos are read, as far as that can be chosen."""

from dataclasses import dataclass

from vidcam.options import Options, option


@dataclass(frozen=True)
class Reading(Options):
    """Which library decodes."""

    backend: str = option("Reader: auto, pyav, torchcodec or decord.", "auto", panel="Machine")
