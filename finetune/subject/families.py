"""The families of diffusion models that can learn: how each sees a picture and words, and what it is wrong by.

A family's `loss` takes latents of (batch, …), words for as many, and random numbers from a CPU generator, so that they
are the same on every device; it gives one squared error a picture, (batch,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Generator, Tensor

from augment.errors import FinetuneError


class Family(Protocol):
    """A loaded pipeline as something that learns; `network` is the part that denoises, in diffusers' words `part`."""

    part: ClassVar[str]
    network: Any
    device: torch.device
    dtype: torch.dtype

    def latents(self, pixels: Tensor) -> Tensor:
        """Pictures of (batch, 3, height, width) from -1 to 1 as the VAE's mean, scaled as the network knows them."""
        ...

    def words(self, prompts: Sequence[str]) -> Any:
        """What the network is told of as many latents as there are prompts."""
        ...

    def repeated(self, words: Any, batch: int) -> Any:
        """The words of one prompt for `batch` pictures."""
        ...

    def loss(self, latents: Tensor, words: Any, chance: Generator) -> Tensor:
        """How wrong the network is about each picture, at a time and with a noise by chance."""
        ...


def family_of(pipe: Any, name: str, device: torch.device) -> Family:
    """The family that a loaded pipeline belongs to; it computes on `device`, wherever its parts wait.

    Raises:
        FinetuneError: none that we know how to train.
    """
    kind = type(pipe).__name__
    if kind not in FAMILIES:
        raise FinetuneError(f"{name} is a {kind}, which augment subject cannot train; known: {', '.join(FAMILIES)}")
    return FAMILIES[kind](pipe, name, device)


class _Staged:
    """What all of them share: the pipeline's parts, and where they compute."""

    part: ClassVar[str]

    def __init__(self, pipe: Any, name: str, device: torch.device) -> None:
        del name
        self.pipe = pipe
        self.network = getattr(pipe, self.part)
        self.device = device
        self.dtype: torch.dtype = self.network.dtype

    def _mean(self, pixels: Tensor) -> Tensor:
        vae = self.pipe.vae
        mean: Tensor = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
        return mean.float()

    def _guess(self, *given: Any, **named: Any) -> Any:
        """What the network says; of weights in bfloat16 it is computed so, whatever the LoRA is held in."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.network(*given, **named, return_dict=False)[0]

    def _noise(self, like: Tensor, chance: Generator) -> Tensor:
        return torch.randn(like.shape, generator=chance).to(like.device)

    def _flow(self, latents: Tensor, chance: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A point on the straight line from picture to noise, its share of noise, and the velocity there.

        The share σ is logit-normal (Esser et al. 2024, §3.1), moved by the scheduler's own constant shift.
        """
        share = torch.sigmoid(torch.randn(len(latents), generator=chance))
        config = self.pipe.scheduler.config
        if not config.use_dynamic_shifting:
            share = config.shift * share / (1 + (config.shift - 1) * share)
        noise, share = self._noise(latents, chance), share.to(latents.device)
        wide = share.view(-1, *[1] * (latents.ndim - 1))
        return (1 - wide) * latents + wide * noise, share, noise - latents


class UNet(_Staged):
    """Stable Diffusion 1, 2 and XL: a UNet that predicts the noise, or v (Salimans & Ho 2022)."""

    part = "unet"

    def __init__(self, pipe: Any, name: str, device: torch.device) -> None:
        from diffusers import DDPMScheduler

        super().__init__(pipe, name, device)
        if self.network.config.in_channels != pipe.vae.config.latent_channels:
            raise FinetuneError(
                f"the UNet of {name} takes {self.network.config.in_channels} channels, a picture or mask besides the "
                "noise; give --engine a model that draws from words alone"
            )
        self.scheduler: Any = DDPMScheduler.from_config(pipe.scheduler.config)  # type: ignore[no-untyped-call]
        self.target = self.scheduler.config.prediction_type
        if self.target not in ("epsilon", "v_prediction"):
            raise FinetuneError(f"{name} predicts '{self.target}', not the noise nor v; give --engine another model")

    def latents(self, pixels: Tensor) -> Tensor:
        return self._mean(pixels) * float(self.pipe.vae.config.scaling_factor)

    def words(self, prompts: Sequence[str]) -> dict[str, Any]:
        found = self.pipe.encode_prompt(list(prompts), self.device, 1, False)
        return {"encoder_hidden_states": found[0]}

    def repeated(self, words: dict[str, Any], batch: int) -> dict[str, Any]:
        return {name: value.repeat(batch, *[1] * (value.ndim - 1)) for name, value in words.items()}

    def loss(self, latents: Tensor, words: dict[str, Any], chance: Generator) -> Tensor:
        noise = self._noise(latents, chance)
        count = self.scheduler.config.num_train_timesteps
        times = torch.randint(count, (len(latents),), generator=chance).to(latents.device)
        noisy = self.scheduler.add_noise(latents, noise, times)
        wanted = noise if self.target == "epsilon" else self.scheduler.get_velocity(latents, noise, times)
        guess = self._guess(noisy.to(self.dtype), times, **self._told(words, latents))
        return _error(guess, wanted)

    def _told(self, words: dict[str, Any], latents: Tensor) -> dict[str, Any]:
        del latents
        return words


class UNetXL(UNet):
    """Stable Diffusion XL: pooled words and the picture's size and crop besides."""

    def words(self, prompts: Sequence[str]) -> dict[str, Any]:
        found, _, pooled, _ = self.pipe.encode_prompt(list(prompts), None, self.device, 1, False)
        return {"encoder_hidden_states": found, "text_embeds": pooled}

    def _told(self, words: dict[str, Any], latents: Tensor) -> dict[str, Any]:
        height, width = (side * self.pipe.vae_scale_factor for side in latents.shape[-2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], device=latents.device, dtype=self.dtype)
        more = {"text_embeds": words["text_embeds"], "time_ids": sizes.expand(len(latents), -1)}
        return {"encoder_hidden_states": words["encoder_hidden_states"], "added_cond_kwargs": more}


class ZImage(_Staged):
    """Z-Image: a transformer over lists of pictures and words, told the share of picture, that gives minus velocity."""

    part = "transformer"

    def latents(self, pixels: Tensor) -> Tensor:
        config = self.pipe.vae.config
        return (self._mean(pixels) - float(config.shift_factor)) * float(config.scaling_factor)

    def words(self, prompts: Sequence[str]) -> list[Tensor]:
        found: list[Tensor] = self.pipe.encode_prompt(list(prompts), self.device, False)[0]
        return found

    def repeated(self, words: list[Tensor], batch: int) -> list[Tensor]:
        return words * batch

    def loss(self, latents: Tensor, words: list[Tensor], chance: Generator) -> Tensor:
        noisy, share, wanted = self._flow(latents, chance)
        listed = list(noisy.to(self.dtype).unsqueeze(2).unbind(0))
        guess = self._guess(listed, 1 - share, words)
        return _error(-torch.stack(list(guess)).squeeze(2), wanted)


class Klein(_Staged):
    """FLUX.2-klein: a transformer over 2 × 2 patches of latents, normalised by the VAE's own statistics."""

    part = "transformer"

    def latents(self, pixels: Tensor) -> Tensor:
        found, vae = self._mean(pixels), self.pipe.vae
        batch, channels, height, width = found.shape
        patches = found.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
        patches = patches.reshape(batch, channels * 4, height // 2, width // 2)
        mean = vae.bn.running_mean.view(1, -1, 1, 1).float()
        spread = torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1).float() + vae.config.batch_norm_eps)
        normal: Tensor = (patches - mean) / spread
        return normal

    def words(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        found, places = self.pipe.encode_prompt(list(prompts), self.device)
        return {"encoder_hidden_states": found, "txt_ids": places}

    def repeated(self, words: dict[str, Tensor], batch: int) -> dict[str, Tensor]:
        return {name: value.repeat(batch, *[1] * (value.ndim - 1)) for name, value in words.items()}

    def loss(self, latents: Tensor, words: dict[str, Tensor], chance: Generator) -> Tensor:
        noisy, share, wanted = self._flow(latents, chance)
        batch, _, height, width = latents.shape
        one = torch.arange(1)
        places = torch.cartesian_prod(one, torch.arange(height), torch.arange(width), one).to(latents.device)
        guess = self._guess(
            hidden_states=_tokens(noisy).to(self.dtype),
            timestep=share.to(self.dtype),
            guidance=None,
            img_ids=places.expand(batch, -1, -1),
            **words,
        )
        return _error(guess, _tokens(wanted))


FAMILIES: dict[str, Callable[[Any, str, torch.device], Family]] = {
    "StableDiffusionPipeline": UNet,
    "StableDiffusionXLPipeline": UNetXL,
    "ZImagePipeline": ZImage,
    "Flux2KleinPipeline": Klein,
}
"""By the diffusers class that a model's own index names."""


def _tokens(latents: Tensor) -> Tensor:
    return latents.flatten(2).transpose(1, 2)


def _error(guess: Tensor, wanted: Tensor) -> Tensor:
    return (guess.float() - wanted.float()).square().flatten(1).mean(1)
