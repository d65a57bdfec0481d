"""The supernet of an elastic space: narrower blocks are the first channels of the widest block.

These share weights: all activations, expansions and channels, and all kernels except for the depthwise convolution,
which has weights for each kernel. In a space of split attention each number of splits, 0 too, has its own weights
throughout (FP-NAS section 4). In FBNetV2's spaces blocks with and without squeeze-and-excitation share them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.architecture import Architecture, Choice
from search_spaces.elastic.groups import Group, Variables, by_group
from search_spaces.elastic.layers import ElasticConv, ElasticConvNorm, ElasticNorm, LoadHook, cut_loaded_weights
from search_spaces.elastic.split_attention import SplitAttention, squeezed_channels
from search_spaces.errors import UserError
from search_spaces.layers.initialise import initialise
from search_spaces.supernet import Segment, State, Supernet, apply_gate, run_module

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "swish": F.silu}


class Masks(NamedTuple):
    """The share of each hidden and of each squeezed channel in a mixture, shapes (channels,)."""

    hidden: Tensor
    squeezed: Tensor


class ElasticMBConv(nn.Module):
    """The weights that kernels, activations, expansions and channels share, at their widest."""

    def __init__(self, in_channels: int, hidden: int, group: Group, stride: int, splits: int, attends: bool) -> None:
        super().__init__()
        self.splits = splits
        self.expand = ElasticConvNorm(in_channels, hidden, 1) if group.expands else None
        self.depthwise = nn.ModuleDict(
            {
                f"k{kernel}": ElasticConvNorm(hidden, hidden * splits, kernel, stride, depthwise=True)
                for kernel in group.kernels
                if kernel
            }
        )
        self.attention = SplitAttention(hidden, splits) if attends else None
        self.project = ElasticConvNorm(hidden, max(group.channels), 1)

    def forward(
        self, features: Tensor, kernel: int, activation: Activation, attend: bool, hidden: int, channels: int
    ) -> Tensor:
        expanded = self.run_expand(features, activation, hidden)
        return self.run_project(self.run_depthwise(expanded, kernel, activation), attend, channels)

    def run_expand(self, features: Tensor, activation: Activation, hidden: int) -> Tensor:
        """Return the hidden channels, or the features if there is no expand convolution."""
        return features if self.expand is None else activation(self.expand(features, hidden))

    def run_depthwise(self, expanded: Tensor, kernel: int, activation: Activation) -> Tensor:
        """Return every hidden channel in all splits."""
        return activation(self.depthwise[f"k{kernel}"](expanded, expanded.shape[1] * self.splits))

    def run_project(self, filtered: Tensor, attend: bool, channels: int, squeezed_mask: Tensor | None = None) -> Tensor:
        """Return the output, with or without attention.

        Args:
            squeezed_mask: multiplies the squeezed channels of the attention.
        """
        if attend:
            assert self.attention is not None
            filtered = self.attention(filtered, squeezed_mask)
        return cast(Tensor, self.project(filtered, channels))

    def path(self, kernel: int, attend: bool) -> list[nn.Module]:
        """Return the modules that run."""
        parts = [self.expand, self.depthwise[f"k{kernel}"], self.attention if attend else None, self.project]
        return [part for part in parts if part is not None]


class ElasticBlock(nn.Module):
    """One block of a group: the weights for every number of splits, and the convolution that a skip may need."""

    def __init__(self, in_channels: Sequence[int], group: Group, first: bool) -> None:
        """Build the block at its widest.

        Args:
            in_channels: the options of the group's input.
            first: whether it is the group's first block; the others have the first block's output as input.
        """
        super().__init__()
        self.group = group
        self.stride = group.stride if first else 1
        self.first = first
        self.places = list(product(in_channels, group.channels)) if first else [(c, c) for c in group.channels]
        self.hidden = [group.hidden(i, e, c) for (i, c), e in product(self.places, group.expansions)]
        self.always_keeps_shape = self.stride == 1 and all(i == c for i, c in self.places)
        widest = max(i for i, _ in self.places)
        self.mbconv = nn.ModuleDict()
        for splits in sorted(group.splits, reverse=True) if any(group.kernels) else ():
            if (name := group.weights_name(splits)) not in self.mbconv:
                self.mbconv[name] = ElasticMBConv(
                    widest, max(self.hidden), group, self.stride, max(splits, 1), splits > 0
                )
        self.skip = (
            ElasticConvNorm(widest, max(group.channels), 1, self.stride)
            if 0 in group.kernels and not self.always_keeps_shape
            else None
        )

    def last_norms(self) -> list[nn.BatchNorm2d]:
        """Return the last batch norm of each convolution that always adds its input."""
        convolutions = self.mbconv.values() if self.always_keeps_shape else ()
        return [cast(ElasticMBConv, convolution).project.norm for convolution in convolutions]

    def forward(self, features: Tensor, taken: Variables) -> Tensor:
        in_channels, channels = features.shape[1], taken.channels
        keeps_shape = self._keeps_shape(in_channels, channels)
        if taken.kernel == 0:
            return features if keeps_shape else self._skip(features, channels)
        hidden = self.group.hidden(in_channels, taken.expansion, channels)
        activation = ACTIVATIONS[taken.activation]
        output = self._mbconv(taken.splits)(features, taken.kernel, activation, taken.splits > 0, hidden, channels)
        return cast(Tensor, features + output if keeps_shape else output)

    def mixed(self, features: Tensor, arriving: Tensor, mix: Sequence[Tensor]) -> Tensor:
        """Run the mixture. Kernels and attention are sums, activations are mixed at their place, the rest are masks.

        Args:
            features: of the widest input; narrower options are masked.
            arriving: the weights of the input's options, shape (options,).
            mix: the weights of this group's options, five tensors.
        """
        kernels, activations, attention, expansions, channels = mix
        shares = torch.outer(arriving, channels).flatten() if self.first else channels
        keeps_shape = shares[[self._keeps_shape(*place) for place in self.places]].sum()
        hidden_shares = torch.outer(shares, expansions).flatten()
        hidden, widest = max(self.hidden), max(self.group.channels)
        output_mask = _mask(self.group.channels, channels, widest)[:, None, None]
        masks = Masks(
            _mask(self.hidden, hidden_shares, hidden),
            _mask([squeezed_channels(narrow) for narrow in self.hidden], hidden_shares, squeezed_channels(hidden)),
        )

        def activation(before: Tensor) -> Tensor:
            names = zip(self.group.activations, activations, strict=True)
            return _sum([weight * ACTIVATIONS[name](before) for name, weight in names])

        outputs = []
        if self.stride == 1:
            missing = widest - features.shape[1]
            outputs.append(kernels.sum() * keeps_shape * F.pad(features, (0, 0, 0, 0, 0, missing)))
        for name, mbconv in self.mbconv.items():
            assert isinstance(mbconv, ElasticMBConv)
            expanded = mbconv.run_expand(features, activation, hidden)
            hidden_mask = masks.hidden.repeat_interleave(mbconv.splits)[:, None, None]
            for kernel, weight in zip(self.group.kernels, kernels, strict=True):
                if kernel:
                    filtered = mbconv.run_depthwise(expanded, kernel, activation) * hidden_mask
                    for splits, share in zip(self.group.splits, attention, strict=True):
                        if self.group.weights_name(splits) == name:
                            output = mbconv.run_project(filtered, splits > 0, widest, masks.squeezed)
                            outputs.append(weight * share * output_mask * output)
        if self.skip is not None:
            weight = kernels[self.group.kernels.index(0)] * (1 - keeps_shape)
            outputs.append(weight * output_mask * self.skip(features, widest))
        return _sum(outputs)

    def path(self, in_channels: int, taken: Variables) -> list[nn.Module]:
        """Return the modules that run."""
        if taken.kernel:
            return self._mbconv(taken.splits).path(taken.kernel, taken.splits > 0)
        return [] if self.skip is None or self._keeps_shape(in_channels, taken.channels) else [self.skip]

    def branch(self, in_channels: int, taken: Variables) -> nn.Module | None:
        """Return the module whose output is added to the input, if there is one."""
        return self._mbconv(taken.splits) if taken.kernel and self._keeps_shape(in_channels, taken.channels) else None

    def _keeps_shape(self, in_channels: int, channels: int) -> bool:
        return self.stride == 1 and in_channels == channels

    def _mbconv(self, splits: int) -> ElasticMBConv:
        return cast(ElasticMBConv, self.mbconv[self.group.weights_name(splits)])

    def _skip(self, features: Tensor, channels: int) -> Tensor:
        assert self.skip is not None
        return cast(Tensor, self.skip(features, channels))


class ElasticSupernet(Supernet):
    """Stem, blocks, head. After pruning, layers are narrower and still load a wider supernet's weights.

    A key of the state dict reads `blocks.row3-1.mbconv.splits1.depthwise.k5.0.weight`.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        surviving: Sequence[Sequence[int]],
        groups: Sequence[Group],
        stem: nn.Module,
        stem_channels: int,
        head: nn.Module,
    ) -> None:
        """Build the blocks, for the surviving options.

        Args:
            groups: those of the whole space.
            head: takes any number of channels up to the last group's most.
        """
        super().__init__()
        self.choices = tuple(choices)
        self.surviving = tuple(map(tuple, surviving))
        self.stem_channels = stem_channels
        self.groups = tuple(groups)
        self.stem = stem
        self.blocks = nn.ModuleDict()
        arriving: Sequence[int] = (stem_channels,)
        for group, surviving in zip(self.groups, by_group(self.surviving), strict=True):
            kept = group.keep(surviving)
            for name in group.blocks:
                self.blocks[name] = ElasticBlock(arriving, kept, first=name == group.blocks[0])
            arriving = kept.channels
        self.head = head
        for module in self.modules():
            if isinstance(module, ElasticConv | ElasticNorm):
                before_loading: Callable[[LoadHook], object] = module.register_load_state_dict_pre_hook
                before_loading(cut_loaded_weights)
        initialise(self)

    def segments(self, architecture: Architecture, gates: Tensor | None = None) -> list[Segment]:
        """Return the stem, each block, the head. The gate of a group's blocks is the product of its choices' gates."""
        products = [None] * len(self.groups) if gates is None else list(gates.view(len(self.groups), -1).prod(dim=1))
        segments, channels = [Segment(None, partial(run_module, self.stem), [self.stem])], self.stem_channels
        for blocks, taken, gate in zip(self._blocks(), self._taken(architecture), products, strict=True):
            for block in blocks:
                segments.append(Segment(taken, partial(_run, block, taken, gate), block.path(channels, taken)))
                channels = taken.channels
        return [*segments, Segment(None, partial(run_module, self.head), [self.head])]

    def mixed(self, images: Tensor, weights: Tensor) -> Tensor:
        """Run the mixture, with masks for channels and expansions.

        A narrower option is a mask that passes the first channels. The widest layers run once, and their output is
        multiplied by the weighted sum of the masks (FBNetV2). Only kernels and attentions need additional memory.
        """
        features = self.stem(images)
        arriving = weights.new_ones(1)
        kept = [row[list(surviving)] for row, surviving in zip(weights, self.surviving, strict=True)]
        for blocks, mix in zip(self._blocks(), by_group(kept), strict=True):
            for block in blocks:
                features = block.mixed(features, arriving, mix)
            arriving = mix[-1]
        return cast(Tensor, self.head(features))

    def branches(self, architecture: Architecture) -> list[nn.Module]:
        branches, channels = [], self.stem_channels
        for blocks, taken in zip(self._blocks(), self._taken(architecture), strict=True):
            for block in blocks:
                if (branch := block.branch(channels, taken)) is not None:
                    branches.append(branch)
                channels = taken.channels
        return branches

    def _taken(self, architecture: Architecture) -> list[Variables]:
        for choice, value, kept in zip(self.choices, architecture.indices, self.surviving, strict=True):
            if value not in kept:
                options = ", ".join(choice.options[option] for option in kept)
                raise UserError(f"This supernet has no {choice.options[value]} in {choice.name}; it has {options}.")
        return [group.take(five) for group, five in zip(self.groups, by_group(architecture.indices), strict=True)]

    def _blocks(self) -> list[list[ElasticBlock]]:
        """Return the blocks of each group."""
        return [[cast(ElasticBlock, self.blocks[name]) for name in group.blocks] for group in self.groups]


def _run(block: ElasticBlock, taken: Variables, gate: Tensor | None, state: State) -> State:
    (features,) = state
    output = block(features, taken)
    return (output if gate is None else apply_gate(output, gate),)


def _mask(lengths: Sequence[int], weights: Tensor, channels: int) -> Tensor:
    """Return the weighted sum of masks; each mask passes its first `lengths` channels; shape (channels,)."""
    ends = torch.tensor(lengths, device=weights.device)
    passes = torch.arange(channels, device=weights.device) < ends[:, None]
    return (weights[:, None] * passes).sum(dim=0)


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0])
