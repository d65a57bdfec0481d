"""The images that a run trains and evaluates on.

The driver calls `prepare` once. It returns a small specification that is plain JSON. Every process opens the images of
its node with `open_images`. Importing this package loads neither torch nor torchvision.
"""

from typing import TYPE_CHECKING

from raynas.data.settings import DataSettings, PreparedData
from search_spaces.lazy_imports import import_lazily

if TYPE_CHECKING:
    from raynas.data.batches import batch, training_batch
    from raynas.data.images import Images, open_images, prepare

__all__ = ["DataSettings", "Images", "PreparedData", "batch", "open_images", "prepare", "training_batch"]


__getattr__ = import_lazily(
    __name__,
    {
        "Images": "raynas.data.images",
        "batch": "raynas.data.batches",
        "open_images": "raynas.data.images",
        "prepare": "raynas.data.images",
        "training_batch": "raynas.data.batches",
    },
)
