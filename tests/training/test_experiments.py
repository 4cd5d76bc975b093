"""Every configuration of an experiment fits what it configures."""

import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest

from vidcam.models.build import MODELS
from vidcam.training.classifier.settings import ClassifierSettings
from vidcam.training.classifier.train import train
from vidcam.training.settings import Machine

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
CONFIGURATIONS = [
    path for name in ("weizmann", "colored_shapes", "hmdb51_attention") for path in (EXPERIMENTS / name).glob("*.toml")
]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_it_configures_training(path: Path) -> None:
    found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    given = found.get("train", found)
    defaults = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
    assert given.keys() <= defaults.keys()
    chosen = defaults | given
    settings = ClassifierSettings(**{name: chosen[name] for name in inspect.signature(ClassifierSettings).parameters})
    Machine(**{name: chosen[name] for name in inspect.signature(Machine).parameters if name in chosen})
    assert settings.augmentation is not None
    MODELS[settings.model].choose(settings.model, settings.options)


def test_there_are_configurations() -> None:
    assert len(CONFIGURATIONS) >= 8
