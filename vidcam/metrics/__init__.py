"""How well an explanation hits what is known, or what the network really needs."""

from vidcam.metrics.changes import loss_rise, pose_changes, score_change, score_drop
from vidcam.metrics.correlation import MapAgreement, loss_agreements, map_agreement
from vidcam.metrics.deletion_curve import deletion
from vidcam.metrics.deletion_report import DeletionReport
from vidcam.metrics.localization import Hits, RegionReport, heat_shares, hits

__all__ = [
    "DeletionReport",
    "Hits",
    "MapAgreement",
    "RegionReport",
    "deletion",
    "heat_shares",
    "hits",
    "loss_agreements",
    "loss_rise",
    "map_agreement",
    "pose_changes",
    "score_change",
    "score_drop",
]
