"""
Random crops and colours of camera images, drawn apart from applying them.

All of a step's chance is drawn at once on the CPU and handed to the processes in parts, so that
two processes see what one would have seen. Legend: B batch, C cameras, (h, w) of an image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from chunked_vla_ros.core.types import ImageArray
from chunked_vla_ros.training.augmentation_config import AugmentationConfig
from chunked_vla_ros.training.batches import Batch

# How much of red, green and blue the eye takes for brightness: ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)
MIDDLE = 127.5


@dataclass(frozen=True)
class AugmentationDraws:
    """
    What happens to each image of a batch.

    :ivar shift: (B, C, 2) int64, pixels down and to the right.
    :ivar colour: (B, C, 3, 4) float32: new RGB = first three columns @ RGB + the last, 0 to 255.
    """

    shift: torch.Tensor
    colour: torch.Tensor

    @staticmethod
    def draw(generator: torch.Generator, count: int, config: AugmentationConfig,
             cameras: int) -> AugmentationDraws:
        """Return draws for ``count`` examples of so many cameras, from a CPU generator."""
        shape = (count, cameras)
        shift = torch.randint(
            -config.shift_px, config.shift_px + 1, (*shape, 2), generator=generator)
        uniform = 2.0 * torch.rand((*shape, 6), generator=generator) - 1.0
        factors = 1.0 + uniform * torch.tensor(
            [config.brightness, config.contrast, config.saturation, *[config.channels] * 3])
        bright, contrast, strong = (factors[..., index, None, None] for index in range(3))
        grey = torch.tensor(LUMA).expand(3, 3)
        mixed = strong * torch.eye(3) + (1.0 - strong) * grey
        matrix = bright * contrast * factors[..., 3:, None] * mixed
        offset = (MIDDLE * (1.0 - contrast)).expand(*shape, 3, 1)
        return AugmentationDraws(shift, torch.cat([matrix, offset], dim=-1))

    def part(self, which: slice) -> AugmentationDraws:
        """Return the draws of some of the examples."""
        return AugmentationDraws(self.shift[which], self.colour[which])


def augment(batch: Batch, draws: AugmentationDraws) -> Batch:
    """
    Return ``batch`` with changed images, uint8 as they were; the rest is the same memory.

    On a CPU and on a GPU they are the same within one level of 255. An absent camera stays black.
    """
    images = {}
    for number, (name, image) in enumerate(batch.images.items()):
        shift, colour = draws.shift[:, number], draws.colour[:, number]
        # Black would get the colour of the offset.
        colour = colour.to(image.device) * batch.present[:, number, None, None]
        changed = _on_cpu if image.device.type == 'cpu' else on_device
        images[name] = changed(image, shift, colour)
    return replace(batch, images=images)


def _on_cpu(image: torch.Tensor, shift: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    """Return `on_device`, image by image: a tenth of the time of torch's operations on a CPU."""
    pixels, matrices = image.numpy(), colour.numpy()
    changed = np.empty_like(pixels)
    for index, (down, right) in enumerate(shift.tolist()):
        cv2.transform(_shifted(pixels[index], down, right), matrices[index], dst=changed[index])
    return torch.from_numpy(changed)


def _shifted(pixels: ImageArray, down: int, right: int) -> ImageArray:
    if not down and not right:
        return pixels
    height, width = pixels.shape[:2]
    down, right = (max(-size + 1, min(size - 1, by))
                   for size, by in ((height, down), (width, right)))
    kept = pixels[max(0, -down):height - max(0, down), max(0, -right):width - max(0, right)]
    return np.asarray(cv2.copyMakeBorder(
        kept, max(0, down), max(0, -down), max(0, right), max(0, -right),
        cv2.BORDER_REPLICATE))


def on_device(image: torch.Tensor, shift: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    """
    Return the images (B, h, w, 3) uint8, moved and coloured, by torch's operations alone.

    :param shift: (B, 2), as in `AugmentationDraws`; ``colour`` (B, 3, 4).
    """
    count, height, width, _ = image.shape
    shift, colour = shift.to(image.device), colour.to(image.device)
    down, right = (
        (torch.arange(size, device=image.device) - shift[:, axis, None]).clamp(0, size - 1)
        for axis, size in enumerate((height, width)))
    number = torch.arange(count, device=image.device)
    moved = image[number[:, None, None], down[:, :, None], right[:, None, :]]
    flat = moved.reshape(count, -1, 3).float() @ colour[:, :, :3].transpose(1, 2)
    flat = (flat + colour[:, None, :, 3]).round().clamp(0.0, 255.0)
    return flat.to(torch.uint8).reshape(image.shape)
