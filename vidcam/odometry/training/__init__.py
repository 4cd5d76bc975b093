"""Training of pose and depth networks on drives, without labels."""

from importlib.util import find_spec

from vidcam.errors import OptionError

if find_spec("lightning") is None:
    raise OptionError('training needs Lightning, which is not installed: pip install "vidcam[train]"')
