"""The images that a run trains and evaluates on.

The driver calls `prepare` once. It returns a small specification that is plain JSON. Every process opens the images of
its node with `open_images`. Importing this package loads neither torch nor torchvision.
"""

from typing import TYPE_CHECKING

from raynas.data.settings import DataSettings, PreparedData

if TYPE_CHECKING:
    from raynas.data.images import Images, batch, open_images, prepare, training_batch

__all__ = ["DataSettings", "Images", "PreparedData", "batch", "open_images", "prepare", "training_batch"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'raynas.data' has no attribute {name!r}")
    from raynas.data import images

    return getattr(images, name)
