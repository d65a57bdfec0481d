"""From an image file to the input of a network, as in the measurement of its accuracy; the same as code for users."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from raynas.data import decoding
from raynas.data.decoding import middle_square, to_rgb
from raynas.data.images import stored_side

if TYPE_CHECKING:
    from raynas.data import PreparedData


class Preprocessing(BaseModel):
    """The steps, in their order.

    Attributes:
        orientation: how the camera's orientation is found and undone.
        background: the colour behind transparent pixels.
        resize: the side in pixels to which the middle square of the image is resized.
        interpolation: of the resize, antialiased.
        crop: the side in pixels of the middle that is cut out after that: the network's resolution.
        mean, std: of the red, green and blue channel (0..1), to subtract and to divide by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    orientation: Literal["exif"] = "exif"
    background: str
    resize: int
    interpolation: Literal["bilinear"] = "bilinear"
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, data: PreparedData) -> Preprocessing:
        """Return the steps of a run's images."""
        return cls(
            background=data.settings.background,
            resize=stored_side(data.settings, data.resolution),
            crop=data.resolution,
            mean=data.mean,
            std=data.std,
        )

    def array(self, image: Image.Image) -> NDArray[np.float32]:
        """Return the input of the network, shape (3, crop, crop).

        Raises:
            one of `decoding.UNREADABLE`: if the image cannot be decoded.
        """
        square = middle_square(to_rgb(image, self.background), self.resize)
        edge = (self.resize - self.crop) // 2
        pixels = np.asarray(square, dtype=np.float32)[edge : edge + self.crop, edge : edge + self.crop]
        mean, std = (np.array(values, dtype=np.float32) * 255 for values in (self.mean, self.std))
        return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))

    def sentences(self) -> list[str]:
        """Return the steps in words."""
        cut = f", and cut out its middle of {self.crop} pixels" if self.crop < self.resize else ""
        mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (self.mean, self.std))
        return [
            f"Turn the image upright by its EXIF, and make it RGB: transparent pixels become {self.background}, grey "
            "values of 16 bits are divided by 257.",
            f"Resize the middle square to {self.resize} pixels, bilinear and antialiased{cut}.",
            f"Divide by 255, subtract the mean of each channel ({mean}), and divide by its standard deviation ({std}).",
        ]

    def code(self, inside: bool = False) -> str:
        """Return Python code with a function `read(file)`, by NumPy and Pillow.

        `read` gives what `array` gives; `inside`, pixels of shape (height, width, 3) for a graph that does the rest.
        """
        imports = f"""import io
import numpy as np
from PIL import Image, ImageCms, ImageOps

BACKGROUND = {self.background!r}
"""
        grey_range, to_rgb, middle_square = (inspect.getsource(function) for function in _DECODING)
        if inside:
            return f"""{imports}

{grey_range}

{to_rgb}

def read(file):
    return np.asarray(to_rgb(Image.open(file), BACKGROUND))
"""
        return f"""{imports}MEAN, STD = {list(self.mean)}, {list(self.std)}
RESIZE, CROP = {self.resize}, {self.crop}


{grey_range}

{to_rgb}

{middle_square}

def read(file):
    square = middle_square(to_rgb(Image.open(file), BACKGROUND), RESIZE)
    edge = (RESIZE - CROP) // 2
    pixels = np.asarray(square, dtype=np.float32)[edge : edge + CROP, edge : edge + CROP]
    mean, std = (np.array(values, dtype=np.float32) * 255 for values in (MEAN, STD))
    return ((pixels - mean) / std).transpose(2, 0, 1)
"""


_DECODING = (decoding.grey_range, decoding.to_rgb, decoding.middle_square)
