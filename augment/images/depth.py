"""The depth of a picture as another model sees it, to steer a model that draws: near is white, far is black."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from augment.errors import RecipeError, needs

if TYPE_CHECKING:
    from PIL.Image import Image


def depth(picture: Image, model: str) -> Image:
    """The depth of a picture, RGB, of the same size; `model` is a folder or a name on the hub that transformers knows.

    Depths are spread from black to white over this picture, as ControlNets of depth know them.

    Raises:
        RecipeError: torch is not installed, or `model` estimates no depth.
    """
    import numpy as np
    from PIL import Image as PILImage

    processor, network = _loaded(model)
    with needs("torch", "image"):
        import torch
    with torch.inference_mode():
        found = network(**processor(images=picture, return_tensors="pt")).predicted_depth
    far = found.reshape(found.shape[-2:]).float().numpy()
    low, high = float(far.min()), float(far.max())
    grey = np.round((far - low) / (high - low) * 255) if high > low else np.zeros_like(far)
    return PILImage.fromarray(grey.astype(np.uint8)).resize(picture.size, PILImage.Resampling.BICUBIC).convert("RGB")


@lru_cache(maxsize=1)
def _loaded(model: str) -> tuple[Any, Any]:
    with needs("torch", "image"):
        import torch  # noqa: F401
    with needs("transformers", "image"):
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    try:
        processor = AutoImageProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
        network = AutoModelForDepthEstimation.from_pretrained(model, use_safetensors=True)
    except (OSError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise RecipeError(f"control.depth_model '{model}' cannot be loaded as one of depth: {why}") from None
    return processor, network.eval()
