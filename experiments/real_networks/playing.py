"""Play an Atari game as the agent does, and keep what it saw."""

from pathlib import Path

import cv2
import numpy as np
import torch
from ale_py import ALEInterface, LoggerMode, roms
from torch import nn

import vidcam

STEPS = 2500


def play(model: vidcam.Model, game: str, seed: int, how: str, folder: Path | None, keep: range) -> float:
    """Play one game of at most 2,500 steps; write the screens of the steps to keep as pictures; return the points.

    Actions are "sampled" from the policy, or the "likeliest" ones; each is repeated 2 to 4 frames, at random.
    """
    emulator, draw = started(game, seed), np.random.default_rng(seed)
    actions, net = emulator.getMinimalActionSet(), model.net
    net.h, points = None, 0.0
    for step in range(STEPS):
        screen = emulator.getScreenRGB()
        if folder is not None and step in keep:
            cv2.imwrite(str(folder / f"{step:05d}.png"), screen[..., ::-1])
        chance = said(net, model.prepare(screen)[None])
        drawn = draw.choice(len(actions), p=chance / chance.sum())
        action = actions[drawn if how == "sampled" else chance.argmax()]
        points += sum(emulator.act(action) for _ in range(draw.integers(2, 5)))
        if emulator.game_over():
            break
    net.h = None
    return points


@torch.no_grad()
def said(net: nn.Module, x: torch.Tensor) -> np.ndarray:
    """Return the probabilities of the actions."""
    return net(x)["logits"].softmax(1)[0].double().numpy()


def started(game: str, seed: int) -> ALEInterface:
    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    emulator.setInt("random_seed", seed)
    emulator.setFloat("repeat_action_probability", 0.0)
    emulator.loadROM(roms.get_rom_path({"spaceinvaders": "space_invaders"}.get(game, game)))
    return emulator
