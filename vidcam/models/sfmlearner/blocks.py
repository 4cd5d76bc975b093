"""Blocks of convolutions that both networks are made of."""

from torch import Tensor, nn

from vidcam.errors import ModelError

KERNELS = (7, 5, 3, 3, 3, 3, 3)
"""Of conv1 to conv7."""
SMALLEST = 8
"""The coarsest prediction has an eighth of the picture's height and width."""


def convolution(channels: int, planes: int, kernel: int, *, stride: int = 2) -> list[nn.Module]:
    """Return a convolution that keeps the size but for its stride, and its ReLU."""
    return [nn.Conv2d(channels, planes, kernel, stride, (kernel - 1) // 2), nn.ReLU(inplace=True)]


def crop(x: Tensor, like: Tensor) -> Tensor:
    """Cut (B, C, h, w) on the right and at the bottom to the size of another map."""
    return x[..., : like.shape[-2], : like.shape[-1]]


def draw_weights(net: nn.Module) -> None:
    """Draw the weights of all convolutions from Xavier's uniform distribution; biases are zero."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def check_pictures(name: str, x: Tensor) -> None:
    """Refuse what is no batch of RGB pictures (B, 3, H, W), and pictures too small to halve three times.

    Raises:
        ModelError: it says what was given.
    """
    if x.ndim != 4 or x.shape[1] != 3:
        raise ModelError(f"{name} takes pictures (B, 3, H, W); given {tuple(x.shape)}")
    if min(x.shape[2:]) < SMALLEST:
        height, width = x.shape[2:]
        raise ModelError(f"{name} takes pictures of at least {SMALLEST}x{SMALLEST} pixels; given {width}x{height}")


def encoded(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what goes into an encoder, and what its blocks conv1 to conv7 make of it."""
    maps = [x]
    for k in range(1, len(KERNELS) + 1):
        maps.append(net.get_submodule(f"conv{k}")(maps[-1]))
    return maps
