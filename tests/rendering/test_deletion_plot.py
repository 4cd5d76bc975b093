"""The picture of a deletion report."""

from pathlib import Path

import numpy as np
import pytest

from vidcam.errors import MediaError, OptionError
from vidcam.metrics.deletion_report import ORDERS, DeletionReport
from vidcam.rendering.chart import _draw_curves, deletion_plot


@pytest.fixture
def report() -> DeletionReport:
    changes = {order: np.array([[i, 2.0 * i], [i + 1, 2.0 * i + 2]]) for i, order in enumerate(ORDERS)}
    return DeletionReport(
        target="turn",
        fractions=(0.1, 0.5),
        erased=(2, 10),
        cells=(4, 5),
        changes={"degrees": changes},
        starts=(0, 1),
        flat=0,
        draws=8,
        seed=0,
        resamples=100,
        block=1,
    )


def test_lines_are_the_means_over_the_share_that_was_erased(report: DeletionReport) -> None:
    lines = {line.get_label(): line.get_xydata() for line in _draw_curves(report, "degrees").axes[0].lines}
    assert set(lines) == set(ORDERS)
    for i, order in enumerate(ORDERS):
        np.testing.assert_allclose(lines[order], [[10, i + 0.5], [50, 2 * i + 1]])


def test_nothing_is_replaced_unasked(report: DeletionReport, tmp_path: Path) -> None:
    path = tmp_path / "deletion.png"
    deletion_plot(report, path)
    before = path.read_bytes()
    with pytest.raises(MediaError):
        deletion_plot(report, path)
    assert path.read_bytes() == before and before.startswith(b"\x89PNG")
    with pytest.raises(OptionError, match="unknown measure 'degree'; did you mean 'degrees'"):
        deletion_plot(report, path, measure="degree", force=True)
