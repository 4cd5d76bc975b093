"""Attributes: what modules keep of a forward beside their buffers, which a look at them leaves as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def attributes_kept(net: nn.Module) -> Iterator[None]:
    """Put back what modules keep of a forward in plain attributes, which a probe would leave NaN."""
    before = [(module, dict(vars(module))) for module in net.modules()]
    copies = [(v, v.clone()) for _, kept in before for v in kept.values() if isinstance(v, Tensor)]
    try:
        yield
    finally:
        for module, kept in before:
            for name in vars(module).keys() - kept.keys():
                delattr(module, name)
            vars(module).update(kept)
        with torch.no_grad():
            for tensor, copy in copies:
                tensor.copy_(copy)
