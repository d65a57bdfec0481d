"""Turn an image of any mode into red, green and blue. The model card shows this file's functions to users."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from search_spaces.errors import format_count, name_some

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises if it cannot decode an image."""


def describe_unreadable(faults: Sequence[str], images: int) -> str:
    """Return how many of the images cannot be read, and the first ten of them."""
    return f"{len(faults):,} of {format_count(images, 'image')} cannot be read: {name_some(faults)}"


def describe_reason(error: Exception) -> str:
    """Return why an image cannot be decoded, without the name of its file."""
    if isinstance(error, UnidentifiedImageError):
        return "no image, or damaged"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def to_rgb(image: Image.Image, background: str = "white") -> Image.Image:
    """Return the upright image in RGB, 8 bits a channel.

    - The orientation of EXIF is applied. Of an animation the first frame counts.
    - Grey values of 16 or 32 bits and floats are scaled to 0..255, never clipped (`grey_range`).
    - Transparent pixels get the background.
    - CMYK is converted by its profile, if it has one.

    Raises:
        OSError, SyntaxError, ValueError, Image.DecompressionBombError: if the image cannot be decoded.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        grey = np.nan_to_num(np.asarray(image, dtype=np.float64))
        low, high = grey_range(grey, image.mode)
        return Image.fromarray(((grey - low) / (high - low) * 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
    profile = image.info.get("icc_profile") or b""
    if image.mode == "LAB" or (image.mode == "CMYK" and profile):
        of_image = ImageCms.createProfile("LAB") if image.mode == "LAB" else io.BytesIO(profile)
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(of_image, srgb, image.mode, "RGB")
        return ImageCms.applyTransform(image, transform) or image
    return image.convert("RGB")


def middle_square(image: Image.Image, side: int) -> Image.Image:
    """Return the middle square of an image, resized to `side` pixels, bilinear and antialiased."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    square = image.crop((left, top, left + edge, top + edge))
    return square.resize((side, side), Image.Resampling.BILINEAR)


def grey_range(grey: np.ndarray, mode: str) -> tuple[float, float]:
    """Return the values that become black and white.

    Images of 16 bits have the range of their type, so that images remain comparable. Other values lie in 0..1, 0..255
    or 0..65,535, the smallest range that holds them. If none does, the least value becomes black, the greatest white.
    """
    if mode.startswith("I;16"):
        return 0.0, 65535.0
    low, high = float(grey.min()), float(grey.max())
    if low >= 0:
        tops = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
        for top in tops:
            if high <= top:
                return 0.0, top
    return low, max(high, low + 1.0)
