"""Options, each declared once: the function's argument, its help, default and check, and the command line's option."""

from vidcam.options.declaration import Declared, Options, declared, is_sequence, members, option
from vidcam.options.functions import parameters, takes

__all__ = ["Declared", "Options", "declared", "is_sequence", "members", "option", "parameters", "takes"]
