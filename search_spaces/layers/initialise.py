"""Initial weights of networks and supernets."""

from __future__ import annotations

from torch import nn

from search_spaces.layers.convolutions import AddsInput


def set_initial_gamma(model: nn.Module, gamma: float) -> None:
    """Set the scale of the last batch norm of each residual branch, in a model that is not trained yet."""
    for module in model.modules():
        if isinstance(module, AddsInput):
            for norm in module.last_norms():
                nn.init.constant_(norm.weight, gamma)


def initialise(model: nn.Module) -> None:
    """Draw MobileNetV2's initial weights from torch's global generator; residual blocks start as the identity.

    Convolutions are Kaiming-normal by fan-out, batch norm is the identity, linear layers are normal at 0.01. The last
    batch norm of a residual block starts at zero (Goyal et al., 2017). All paths of a supernet thus start as nearly one
    network. On small images a supernet then learns in hundreds of steps, and otherwise not at all.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:  # in squeeze-and-excitation
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)
    set_initial_gamma(model, 0.0)
