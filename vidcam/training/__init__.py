"""Training and testing of classifiers: Lightning's Trainer around vidcam's models and manifests."""

from importlib.util import find_spec

from vidcam.errors import OptionError

if find_spec("lightning") is None:
    raise OptionError('training needs Lightning, which is not installed: pip install "vidcam[train]"')
