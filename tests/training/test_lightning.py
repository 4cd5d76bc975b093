"""Lightning is needed where something is trained, and nowhere else."""

import subprocess
import sys

import pytest

CODE = """
import sys
sys.modules["lightning"] = None
import vidcam.training.settings, vidcam.training.classifier.settings, vidcam.odometry.training.settings
assert not {"torch", "numpy", "matplotlib"} & set(sys.modules)
import vidcam.MODULE
"""


@pytest.mark.parametrize(
    "module", ["training.classifier.train", "training.classifier.testing", "odometry.training.train"]
)
def test_its_absence_is_said_where_it_is_needed(module: str) -> None:
    code = CODE.replace("MODULE", module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = 'OptionError: training needs Lightning, which is not installed: pip install "vidcam[train]"'
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].endswith(said)
