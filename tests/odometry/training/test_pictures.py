"""What a training shows TensorBoard."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from vidcam.odometry.training.module import Odometry
from vidcam.odometry.training.networks import starting_networks
from vidcam.odometry.training.pictures import draw
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.odometry.training.splits import split_drives
from vidcam.odometry.training.train import train_odometry


def test_scalars_and_pictures_of_every_epoch(driving: dict[str, Any]) -> None:
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = driving | {"logger": "tensorboard", "epochs": 2, "epoch_size": 1, "explainability": 0.2}
    report = train_odometry(**run)
    board = loading.EventAccumulator(str(driving["output"] / "logs" / "version_0"))
    board.Reload()
    assert set(board.Tags()["images"]) == {"target", "depth", "warped", "mask"}
    assert [event.step for event in board.Images("depth")] == [0, 1]
    assert (board.Images("depth")[0].width, board.Images("depth")[0].height) == (104, 32)
    for name in ("loss", "photometric", "smoothness", "explainability", "validation_photometric"):
        told = [event.value for event in board.Scalars(f"epoch_{name}")]
        assert told == pytest.approx([row[name] for row in report.history])


def test_the_frame_is_warped_and_near_is_bright(driving: dict[str, Any]) -> None:
    """Without motion the next frame is seen as it is; a disparity that falls from top to bottom darkens."""
    chosen = {name: p.default for name, p in inspect.signature(train_odometry).parameters.items()} | driving
    settings = OdometrySettings(**{name: chosen[name] for name in inspect.signature(OdometrySettings).parameters})
    module = Odometry(starting_networks(settings), settings)
    torch.nn.init.zeros_(module.net.pose.pose_pred.weight)
    assert module.net.disp is not None
    disparities = tuple(torch.linspace(1, 0.1, 32 >> k)[:, None].expand(1, 1, 32 >> k, 104 >> k) for k in range(4))
    module.net.disp.at_all_scales = lambda image: disparities  # type: ignore[method-assign]
    snippet = split_drives([driving["data"]], settings).train[0]
    found = draw(module, {key: snippet[key][None] for key in ("clip", "intrinsics")})
    assert found.keys() == {"target", "depth", "warped"}  # no masks
    target, following = (((snippet["clip"][:, t].numpy().transpose(1, 2, 0) + 1) * 127.5) for t in (1, 2))
    np.testing.assert_allclose(found["target"], target, atol=0.51)
    np.testing.assert_allclose(found["warped"][1:-1, 1:-1], following[1:-1, 1:-1], atol=0.6)
    rows = found["depth"].sum(axis=(1, 2)).astype(int)
    assert (np.diff(rows) < 0).all()
