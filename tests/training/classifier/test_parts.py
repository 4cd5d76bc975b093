"""Head, backbone, frozen parts and their learning rates."""

import inspect
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from vidcam.models.cnn_rnn import CnnRnn
from vidcam.models.head import head_names
from vidcam.models.mini import MiniNet
from vidcam.models.model import Model
from vidcam.training.classifier.module import Classifier, class_weights, frozen_parts, optimizer, schedule
from vidcam.training.classifier.settings import ClassifierSettings
from vidcam.training.classifier.train import train


def settings(**given: Any) -> ClassifierSettings:
    names = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
    chosen = names | {"model": "x", "options": {}, "test_split": None} | given
    return ClassifierSettings(**{name: chosen[name] for name in inspect.signature(ClassifierSettings).parameters})


def test_heads() -> None:
    assert head_names(MiniNet(3)) == ("fc",)
    net = CnnRnn(3, backbone="squeezenet1_1", attention=True, hidden=4)
    assert head_names(net) == ("rnn", "attention", "head")
    assert frozen_parts(net, ["backbone"]) == [net.backbone]


def test_each_part_has_its_rate() -> None:
    net = MiniNet(3)
    chosen = optimizer(net, settings(learning_rate=1.0, backbone_learning_rate=0.25))
    rates = {group["name"]: (group["lr"], sum(p.numel() for p in group["params"])) for group in chosen.param_groups}
    head = sum(p.numel() for p in net.fc.parameters())
    assert rates == {"backbone": (0.25, sum(p.numel() for p in net.parameters()) - head), "head": (1.0, head)}


def test_cosine_with_warmup() -> None:
    """Two epochs of five steps; one of warmup: up to the full rate, half of it in the middle of the rest, then zero."""
    chosen = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    rule = schedule(chosen, settings(warmup_epochs=1), steps=10, steps_per_epoch=5)
    rates = []
    for _ in range(11):
        rates.append(chosen.param_groups[0]["lr"])
        chosen.step()
        rule.step()  # type: ignore[call-arg]
    assert rates[:5] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert rates[5:] == pytest.approx([(1 + math.cos(math.pi * k / 5)) / 2 for k in range(6)])


def test_a_plateau_lowers_the_rate() -> None:
    chosen = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    rule = schedule(chosen, settings(schedule="plateau"), steps=10, steps_per_epoch=5)
    for _ in range(5):
        rule.step(1.0)  # type: ignore[arg-type]
    assert chosen.param_groups[0]["lr"] == pytest.approx(0.1)


def test_loss_with_smoothing_and_weights() -> None:
    net = MiniNet(3)
    module = Classifier(Model(net, "layer4"), settings(label_smoothing=0.3), class_weights=class_weights([0, 0, 1], 3))
    values, y = torch.tensor([[2.0, 0.0, 1.0], [0.5, 1.0, -1.0]]), torch.tensor([0, 1])
    logs = functional.log_softmax(values, dim=1)
    each = [-(0.7 * logs[i, c] + 0.1 * logs[i].sum()) for i, c in enumerate([0, 1])]
    assert module.loss(values, y).item() == pytest.approx(((0.75 * each[0] + 1.5 * each[1]) / 2).item())
