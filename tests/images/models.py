"""Tiny diffusion models in folders, as users have them: real pipelines, random weights, 64 × 64 pixels in a moment.

Three families: like Stable Diffusion (a UNet that predicts noise), like Z-Image and like FLUX.2-klein (transformers that
predict a velocity). Equal seeds make equal weights. Nothing that they draw shows anything, but what they draw depends on
the prompt, the seed, the input picture and every weight.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    ControlNetModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from tests.images.words import chat_tokenizer, clip_tokenizer

WIDTH = 32
"""Of text features, image features and everything that they are projected to."""
CONTRAST = 3.0
"""Random decoders draw grey; their last layer is made so much stronger that pictures have contrast."""
FLAG_ALL, FLAG_NONE = -2.0, 2.0
"""Cosines that every picture is above, and that none is."""


def save_sd(folder: Path, seed: int = 0, *, flag_above: float | None = None, prediction: str = "epsilon") -> Path:
    """A `StableDiffusionPipeline`; `flag_above` gives it a safety checker (`FLAG_ALL`, `FLAG_NONE`, or a cosine).

    `prediction`: epsilon or v_prediction.
    """
    _sd(StableDiffusionPipeline, seed, 4, flag_above, prediction).save_pretrained(folder)
    return folder


def save_sdxl(folder: Path, seed: int = 0) -> Path:
    """A `StableDiffusionXLPipeline`: two text encoders, and a UNet that is told the picture's size."""
    torch.manual_seed(seed)
    words = clip_tokenizer()
    told = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**_text(len(words), words.eos_token_id))).eval(),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**_text(len(words), words.eos_token_id))).eval(),
        tokenizer=words,
        tokenizer_2=clip_tokenizer(),
        unet=_unet(4, cross_attention_dim=2 * WIDTH, projection_class_embeddings_input_dim=6 * 8 + WIDTH, **told),
        scheduler=_scheduler("epsilon"),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def save_instruct(folder: Path, seed: int = 0) -> Path:
    """A `StableDiffusionInstructPix2PixPipeline`: its UNet takes the picture's latents beside the noise."""
    _sd(StableDiffusionInstructPix2PixPipeline, seed, 8, None, "epsilon").save_pretrained(folder)
    return folder


def save_controlnet(folder: Path, seed: int = 0) -> Path:
    """A `ControlNetModel` for `save_sd`; its output layers are not zero, so that it changes what is drawn."""
    torch.manual_seed(seed)
    control = ControlNetModel.from_unet(_unet(4), conditioning_embedding_out_channels=(4, 8, 8, 8))
    for name, weights in control.named_parameters():
        if "controlnet_" in name or "cond_embedding.conv_out" in name:
            torch.nn.init.normal_(weights, std=0.3)
    control.save_pretrained(folder)
    return folder


def save_ip_adapter(folder: Path, seed: int = 0) -> Path:
    """An IP-Adapter for `save_sd`: load_ip_adapter(folder, subfolder="models", weight_name="ip-adapter.safetensors").

    Its image encoder is in models/image_encoder.
    """
    torch.manual_seed(seed)
    models = folder / "models"
    CLIPVisionModelWithProjection(_vision(projection_dim=WIDTH)).save_pretrained(models / "image_encoder")
    _image_processor().save_pretrained(models / "image_encoder")
    tokens, crossed = 4, [name for name in _unet(4).attn_processors if "attn2" in name]
    sizes = {name: _attention_width(name) for name in crossed}
    weights = {
        "image_proj.proj.weight": torch.randn(tokens * WIDTH, WIDTH),
        "image_proj.proj.bias": torch.zeros(tokens * WIDTH),
        "image_proj.norm.weight": torch.ones(WIDTH),
        "image_proj.norm.bias": torch.zeros(WIDTH),
    }
    for i, name in enumerate(crossed):
        for which in ("to_k_ip", "to_v_ip"):
            weights[f"ip_adapter.{2 * i + 1}.{which}.weight"] = torch.randn(sizes[name], WIDTH) / WIDTH**0.5
    save_file(weights, models / "ip-adapter.safetensors")
    return folder


def save_z_image(folder: Path, seed: int = 0) -> Path:
    """A `ZImagePipeline`."""
    torch.manual_seed(seed)
    words = chat_tokenizer()
    encoder = Qwen3Model(_qwen(len(words), layers=3, width=WIDTH))
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=WIDTH,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 512, 512],
    )
    vae = _vae(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    ZImagePipeline(scheduler, vae, encoder.eval(), words, transformer).save_pretrained(folder)
    return folder


def save_klein(folder: Path, seed: int = 0) -> Path:
    """A `Flux2KleinPipeline`: text features of layers 9, 18 and 27, a VAE with normalised 2 × 2 patches."""
    torch.manual_seed(seed)
    words = chat_tokenizer()
    encoder = Qwen3ForCausalLM(_qwen(len(words), layers=28, width=8))
    vae = AutoencoderKLFlux2(**_layers(), latent_channels=4, sample_size=64)
    _strengthen(vae)
    vae.bn.running_mean.normal_(std=0.1)
    vae.bn.running_var.uniform_(0.5, 1.5)
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * 8,
        timestep_guidance_channels=WIDTH,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    Flux2KleinPipeline(scheduler, vae.eval(), encoder.eval(), words, transformer).save_pretrained(folder)
    return folder


def save_qwen(folder: Path, seed: int = 0) -> Path:
    """A `QwenImagePipeline`: prompts are padded to the longest of a batch, guidance needs a negative prompt."""
    torch.manual_seed(seed)
    words = chat_tokenizer()
    text = {
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "initializer_range": 0.2,
        "bos_token_id": words.eos_token_id,
        "eos_token_id": words.eos_token_id,
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": WIDTH}
    encoder = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
    vae = AutoencoderKLQwenImage(
        base_dim=24,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    transformer = QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    QwenImagePipeline(scheduler, vae.eval(), encoder.eval(), words, transformer).save_pretrained(folder)
    return folder


def save_clip(folder: Path, seed: int = 0) -> Path:
    """A `CLIPModel` and its processor, which needs no torchvision."""
    torch.manual_seed(seed)
    words = clip_tokenizer()
    config = CLIPConfig(
        text_config=_text(len(words), words.eos_token_id), vision_config=_vision(), projection_dim=WIDTH
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(_image_processor(), words).save_pretrained(folder)
    return folder


def _sd(kind: Any, seed: int, channels: int, flag_above: float | None, prediction: str) -> Any:
    torch.manual_seed(seed)
    words = clip_tokenizer()
    return kind(
        vae=_vae(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**_text(len(words), words.eos_token_id))).eval(),
        tokenizer=words,
        unet=_unet(channels),
        scheduler=_scheduler(prediction),
        safety_checker=None if flag_above is None else _checker(flag_above),
        feature_extractor=None if flag_above is None else _image_processor(),
        requires_safety_checker=flag_above is not None,
    )


def _scheduler(prediction: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
    )


def _unet(channels: int, **changes: Any) -> UNet2DConditionModel:
    shape = {"cross_attention_dim": WIDTH, **changes}
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2,
        norm_num_groups=8,
        **shape,
    ).eval()


def _attention_width(name: str) -> int:
    """The channels where an attention of `_unet` is."""
    return 32 if name.startswith("mid") else 16


def _layers() -> dict[str, Any]:
    """Three halvings, as the real ones: 64 pixels are 8 latents."""
    return {
        "block_out_channels": (8, 8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "norm_num_groups": 4,
    }


def _vae(**changes: Any) -> AutoencoderKL:
    vae = AutoencoderKL(**_layers(), latent_channels=4, sample_size=64, scaling_factor=0.5, **changes)
    _strengthen(vae)
    return vae.eval()


def _strengthen(vae: Any) -> None:
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(CONTRAST)


def _text(vocabulary: int, end: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "projection_dim": WIDTH,
        "bos_token_id": end - 1,
        "eos_token_id": end,
        "pad_token_id": end,
        "initializer_factor": 5.0,
    }


def _vision(**changes: Any) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        initializer_factor=5.0,
        **changes,
    )


def _image_processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def _checker(above: float) -> StableDiffusionSafetyChecker:
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=_vision().to_dict(), projection_dim=WIDTH))
    checker.concept_embeds.normal_()
    checker.concept_embeds_weights.fill_(above)
    checker.special_care_embeds_weights.fill_(FLAG_NONE)
    return checker.eval()


def _qwen(vocabulary: int, layers: int, width: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=layers,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=width,
        max_position_embeddings=1024,
        initializer_range=0.5,
    )
