"""Untouched: a network in eval mode and frozen for a while, and left exactly as it was found."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.parameter import is_lazy

from vidcam.attribution.chance import chance_kept
from vidcam.attribution.state import Standing, kept
from vidcam.attribution.threads import alone
from vidcam.errors import ModelError


@contextmanager
def untouched(net: nn.Module) -> Iterator[Standing]:
    """Put the network into eval mode, frozen, and restore everything about it and the random state on the way out.

    It works on copies of its buffers and of what its attributes hold, see `vidcam.attribution.state`; the very tensors
    and contents come back. Other threads that come with the same network, or with one that shares a module, wait for
    their turn.

    Raises:
        ModelError: the network has lazy parameters, or was built under inference mode.
    """
    with alone(net), _restored(net), kept(net) as before:
        yield before


@contextmanager
def _restored(net: nn.Module) -> Iterator[None]:
    tensors = [*net.parameters(), *net.buffers()]
    if any(is_lazy(tensor) for tensor in tensors):
        raise ModelError("the network has lazy parameters without a shape yet; run it once before explaining it")
    if any(parameter.is_inference() for parameter in net.parameters()):  # what it keeps is copied
        raise ModelError("the network was built under torch.inference_mode; build it outside, it has no gradients")
    flags = [(module, module.training) for module in net.modules() if hasattr(module, "training")]
    frozen = [(p, p.requires_grad) for p in net.parameters()]
    try:
        with chance_kept({tensor.device for tensor in tensors}):
            for module, _ in flags:  # frozen scripts have none
                module.training = False
            for parameter, _ in frozen:
                parameter.requires_grad_(False)
            yield
    finally:
        for module, flag in flags:
            module.training = flag
        for parameter, flag in frozen:
            parameter.requires_grad_(flag)
