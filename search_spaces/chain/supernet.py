"""The supernet of a chain space: the weights of every surviving option, run one path or one mixture at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from torch import Tensor, nn

from search_spaces.architecture import Architecture, Choice
from search_spaces.errors import UserError
from search_spaces.layers.convolutions import Residual
from search_spaces.supernet import Segment, Supernet, run_module


class ChainSupernet(Supernet):
    """Stem, one block for each choice, head.

    A key of the state dict reads `blocks.stage3-1.k3e6.expand.0.weight`.
    """

    def __init__(
        self, choices: Sequence[Choice], stem: nn.Module, blocks: Sequence[Mapping[str, nn.Module]], head: nn.Module
    ) -> None:
        """Join the modules.

        Args:
            blocks: for each choice the modules of its surviving options.
        """
        super().__init__()
        self.choices = tuple(choices)
        self.stem = stem
        self.blocks = nn.ModuleDict(
            {choice.key: nn.ModuleDict(options) for choice, options in zip(choices, blocks, strict=True)}
        )
        self.head = head

    def block(self, choice_index: int, option_index: int) -> nn.Module:
        """Return one option's module.

        Raises:
            UserError: if this supernet was built without the option.
        """
        choice = self.choices[choice_index]
        options = cast(nn.ModuleDict, self.blocks[choice.key])
        option = choice.options[option_index]
        if option not in options:
            raise UserError(f"This supernet has no {option} in {choice.name}; it has {', '.join(options)}.")
        return options[option]

    def segments(self, architecture: Architecture, gates: Tensor | None = None) -> list[Segment]:
        """Return the stem, one block for each choice, and the head."""
        block_gates = [None] * len(self.choices) if gates is None else list(gates)
        segments = [Segment(None, partial(run_module, self.stem), [self.stem])]
        for position, (option, gate) in enumerate(zip(architecture.indices, block_gates, strict=True)):
            block = self.block(position, option)
            segments.append(Segment(option, partial(run_module, block, gate=gate), [block]))
        return [*segments, Segment(None, partial(run_module, self.head), [self.head])]

    def branches(self, architecture: Architecture) -> list[nn.Module]:
        return [module.branch for module in self.path_modules(architecture) if isinstance(module, Residual)]

    def mixed(self, images: Tensor, weights: Tensor) -> Tensor:
        features = self.stem(images)
        for choice, row in zip(self.choices, weights, strict=True):
            options = cast(nn.ModuleDict, self.blocks[choice.key])
            outputs = [block(features) * row[choice.options.index(option)] for option, block in options.items()]
            features = sum(outputs[1:], outputs[0])
        return cast(Tensor, self.head(features))
