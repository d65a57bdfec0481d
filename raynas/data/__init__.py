"""Images: what a run trains and evaluates on.

The driver calls `prepare` once and gets a small specification, plain JSON; every process hands that to `open_images`,
which maps the decoded images of its node. Importing this package loads neither torch nor torchvision.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from raynas.data.settings import DataSettings, PreparedData

if TYPE_CHECKING:
    from raynas.data.images import Images, batch, open_images, prepare, training_batch

__all__ = ["DataSettings", "Images", "PreparedData", "batch", "open_images", "prepare", "training_batch"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'raynas.data' has no attribute {name!r}")
    return getattr(import_module("raynas.data.images"), name)
