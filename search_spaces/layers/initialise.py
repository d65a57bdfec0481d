"""Initial weights of networks and supernets."""

from __future__ import annotations

from torch import nn

from search_spaces.layers.convolutions import Residual


def initialise(model: nn.Module) -> None:
    """MobileNetV2's start, drawn from torch's global generator, and residual blocks that begin as the identity.

    Convolutions are Kaiming-normal by their fan-out, batch norm is the identity, linear layers are normal at 0.01. The
    last batch norm of a residual block begins at zero (Goyal et al., 2017): in a supernet all paths so begin nearly as
    one network, which on small images is the difference between learning in hundreds of steps and not at all.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:  # squeeze-and-excitation's
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, Residual):
            last_norm = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)][-1]
            nn.init.zeros_(last_norm.weight)
