"""The content of a safetensors file: equal tensors and metadata give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_LENGTH = 8
"""Bytes of the header's length at the file's begin; a header is padded to a multiple of it."""


def safetensors_content(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Return the content of a safetensors file with a sorted header; safetensors itself writes a random order.

    The tensors are contiguous, on the CPU.
    """
    from safetensors.torch import save

    content = save(dict(tensors), metadata=metadata)
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    header = json.dumps(json.loads(content[_LENGTH:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _LENGTH)
    return len(header).to_bytes(_LENGTH, "little") + header + content[end:]
