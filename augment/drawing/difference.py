"""Where a change of words changes a picture, as the model itself sees it: a mask for data that has none.

DiffEdit (Couairon et al. 2023, section 3.2): the picture with noise on it, and the noise that is predicted for the
words it has and for the words it shall have. Here both are taken from one step of the model's own SDEdit with the same
noise: what a step leaves is a linear function of the prediction, so that the differences are the same up to a factor,
and no model needs code of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augment.images.masks import DIFFERENT, difference_mask

if TYPE_CHECKING:
    from PIL.Image import Image

    from augment.drawing.families import Way
    from augment.drawing.loaded import Loaded
    from augment.records import Drawing

NOISES = 10
"""As in DiffEdit: of one alone a mask would be ragged."""
STEPS, STRENGTH = 2, 0.5
"""One step, from half noise: as in DiffEdit."""
THRESHOLD = DIFFERENT
"""As in DiffEdit: a mask is where the difference is more than half of three times its mean."""
PACKED = 16
"""Pixels each way for one of the tokens that latents come as where a model has packed them."""


def difference(loaded: Loaded, way: Way, drawing: Drawing, seed: int, picture: Image) -> Image | None:
    """White where `drawing.before` and its prompt differ to the model, of the size of `picture`; None if nowhere.

    `way` is how kind image is drawn. Each noise is one call of two, so that no batch size changes a pixel.
    """
    import numpy as np
    import torch

    pipe = loaded.ready(way, drawing.adapters, picture.size)
    arguments: dict[str, Any] = {
        "prompt": [drawing.before, drawing.prompt],
        way.shown: [picture, picture],
        "num_inference_steps": STEPS,
        "strength": STRENGTH,
        "output_type": "latent",
    }
    sized = {"width": picture.width, "height": picture.height, way.guidance: 1.0}
    arguments |= {name: value for name, value in sized.items() if name in way.takes}
    differences = []
    for noise in range(NOISES):
        generators = [torch.Generator("cpu").manual_seed(seed + noise) for _ in range(2)]
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            before, after = pipe(**arguments, generator=generators).images
        differences.append((after - before).float().cpu().numpy())
    found = np.stack(differences)
    if found.ndim == 3:  # tokens of a packed model, row by row
        found = found.reshape(NOISES, picture.height // PACKED, picture.width // PACKED, -1).transpose(0, 3, 1, 2)
    return difference_mask(found, *picture.size, THRESHOLD)
