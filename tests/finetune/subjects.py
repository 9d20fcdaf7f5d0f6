"""A few pictures of one thing, drawn here: a red ball with a blue patch before walls of several colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

WALLS = ((200, 220, 255), (230, 240, 210), (250, 230, 220), (210, 210, 210))


def draw_ball(folder: Path, count: int = 4) -> Path:
    """`count` pictures of different sizes, none of them square."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, wall in enumerate(WALLS[:count]):
        picture = Image.new("RGB", (80 + 8 * i, 72), wall)
        pen, x = ImageDraw.Draw(picture), 18 + 6 * i
        pen.ellipse((x, 14 + 3 * i, x + 38, 52 + 3 * i), fill=(200, 30, 40))
        pen.rectangle((x + 14, 24 + 3 * i, x + 24, 42 + 3 * i), fill=(30, 40, 200))
        picture.save(folder / f"{i}.png")
    return folder


def drawn_by(pipe: Any, prompt: str, seed: int = 1, steps: int = 4) -> Image.Image:
    """What a pipeline draws in a few steps, 64 × 64."""
    pipe.set_progress_bar_config(disable=True)
    chance = torch.Generator().manual_seed(seed)
    return pipe(prompt=prompt, width=64, height=64, num_inference_steps=steps, generator=chance).images[0]
