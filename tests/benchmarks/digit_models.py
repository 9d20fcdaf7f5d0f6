"""What the digits benchmark trains: a small diffusion model of 8 × 8 digits, as an engine, and a small classifier.

The diffusion model is a DDPM (Ho et al., 2020, cosine schedule of Nichol and Dhariwal, 2021) without classes; the
engine draws over a picture as SDEdit does. The classifier is trained for so many steps whatever it is given, so that
every arm costs the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from augment.engines import Keep, forget
from augment.images.drawn import picture_reply
from augment.images.stamp import EDITED
from augment.images.store import pictures
from augment.records import Reply, Request

SIDE, SHOWN = 8, 32
"""Pixels of a digit, and of the picture that it is shown as."""
TOGETHER = 32
"""Pictures that are drawn at once, at most."""
STEPS = 24
"""Denoising steps from pure noise; a picture that is drawn over takes its strength's share."""


def picture_of(digit: NDArray[np.float32]) -> Image.Image:
    """A digit (8 × 8, 0 to 1) as a picture."""
    grey = Image.fromarray(np.round(np.clip(digit, 0, 1) * 255).astype(np.uint8), "L")
    return grey.resize((SHOWN, SHOWN), Image.Resampling.BICUBIC).convert("RGB")


def digit_of(picture: Image.Image) -> NDArray[np.float32]:
    """The digit that a picture shows, 8 × 8, 0 to 1."""
    grey = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.float32) / 255


class Noise(nn.Module):
    """The noise in a noisy digit (n, 64), at a time from 0 to 1 (n, 1)."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.time = nn.Linear(16, width)
        self.into = nn.Linear(SIDE * SIDE, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(3)
        )
        self.out = nn.Linear(width, SIDE * SIDE)

    def forward(self, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        waves = time * torch.pi * 2.0 ** torch.arange(-3, 5)
        hidden = self.into(noisy) + self.time(torch.cat([waves.sin(), waves.cos()], 1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        found: torch.Tensor = self.out(hidden)
        return found


def share_left(time: torch.Tensor) -> torch.Tensor:
    """How much of the digit is left at a time (ᾱ of the cosine schedule)."""
    return torch.cos((time + 0.008) / 1.008 * torch.pi / 2).square().clamp(1e-4, 0.9999)


def train_noise(digits: NDArray[np.float32], steps: int, seed: int = 0) -> Noise:
    """A diffusion model of these digits (n, 8, 8)."""
    torch.manual_seed(seed)
    model = Noise()
    clean = torch.from_numpy(digits.reshape(len(digits), -1)) * 2 - 1
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(steps):
        batch = clean[torch.randint(len(clean), (128,))]
        time, noise = torch.rand(len(batch), 1), torch.randn(len(batch), SIDE * SIDE)
        left = share_left(time)
        loss = (model(left.sqrt() * batch + (1 - left).sqrt() * noise, time) - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


@dataclass(eq=False)
class Digits:
    """Digits drawn over by a diffusion model (SDEdit, DDIM steps), each from its own seed."""

    noise: Noise
    name: ClassVar[str] = "digits"
    model: str = "ddpm-8x8"
    revision: str = ""

    def generate(self, requests: Iterable[Request], keep: Keep = forget) -> Iterator[Reply]:
        source = iter(requests)
        while some := list(itertools.islice(source, TOGETHER)):
            for strength in sorted({_strength(each) for each in some}):
                alike = [each for each in some if _strength(each) == strength]
                for request, digit in zip(alike, self.over(alike, strength), strict=True):
                    reply = picture_reply(request, picture_of(digit), EDITED)
                    keep(request, reply)
                    yield reply

    @torch.inference_mode()
    def over(self, requests: Sequence[Request], strength: float) -> NDArray[np.float32]:
        """Their digits with noise added up to `strength`, each from its own seed, and taken away again (n, 8, 8)."""
        shown = [digit_of(pictures().open(request.drawing.image)) for request in requests]
        digits = torch.from_numpy(np.stack(shown).reshape(len(shown), -1)) * 2 - 1
        seeds = [torch.Generator().manual_seed(request.seed) for request in requests]
        noise = torch.cat([torch.randn(1, SIDE * SIDE, generator=each) for each in seeds])
        times = torch.linspace(strength, 0, max(2, round(STEPS * strength)) + 1)
        left = share_left(times[0])
        now = left.sqrt() * digits + (1 - left).sqrt() * noise
        for time, after in itertools.pairwise(times):
            left, then = share_left(time), share_left(after)
            noise = self.noise(now, time.expand(len(now), 1))
            clean = ((now - (1 - left).sqrt() * noise) / left.sqrt()).clamp(-1, 1)
            now = then.sqrt() * clean + (1 - then).sqrt() * noise
        return ((now + 1) / 2).clamp(0, 1).numpy().reshape(-1, SIDE, SIDE)

    def drain(self) -> None:
        """There is nothing to wait for."""


def _strength(request: Request) -> float:
    assert request.drawing is not None
    return request.drawing.strength or 0.5


def train_classifier(digits: NDArray[np.float32], labels: NDArray[np.int64], steps: int, seed: int) -> nn.Module:
    """A small convolutional classifier of digits (n, 8, 8), after exactly `steps` steps of 64."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 16, 10)),
    )
    x, y = torch.from_numpy(digits)[:, None], torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(steps):
        at = torch.randint(len(x), (64,))
        loss = nn.functional.cross_entropy(model(x[at]), y[at])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


@torch.inference_mode()
def probabilities(model: nn.Module, digits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each class, (n, 10)."""
    found: NDArray[np.float32] = model(torch.from_numpy(digits)[:, None]).softmax(1).numpy()
    return found
