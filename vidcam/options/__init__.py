"""Options, each declared once: the function's argument, its help, default and check, and the command line's option."""

from vidcam.options.declaration import Declared, Options, declared, option
from vidcam.options.functions import takes

__all__ = ["Declared", "Options", "declared", "option", "takes"]
