"""The engine `diffusers` against the bare pipeline: `python -m tests.benchmarks.drawing [--smallest]`.

The same batches twice in turn: by the engine, from request to PNG, and by calling the pipeline in a loop that throws the
pictures away. The model is tiny, so that what the engine adds shows: to a real one it adds the same and takes far longer.

With a GPU also: pictures a second and peak memory of a pipeline of SDXL's shape with random weights, in bfloat16, at 512²
and 1024² and up to 16 at once; and that neither order nor a fresh load changes a pixel there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from augment.engines.diffusers import Diffusers
from augment.records import Drawing, Reply, Request
from tests.benchmarks.measure import Result, arguments, interleaved, median, workplace
from tests.images.asking import opened
from tests.images.models import save_sd
from tests.images.words import clip_tokenizer

TARGET = 5.0
"""Per cent that the engine may add."""


def requests(count: int, size: int, steps: int) -> list[Request]:
    drawings = [Drawing("text", f"picture {k} of a dog", steps=steps, width=size, height=size) for k in range(count)]
    return [Request(f"r{k}", "g", 0, (), "t@1", k, drawing=each) for k, each in enumerate(drawings)]


def timed(work: Callable[[], Any]) -> dict[str, Any]:
    """Seconds, and seconds of the processor, which those who share it do not change."""
    begun, cpu = time.perf_counter(), time.process_time()
    made = work()
    return {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu, "made": made}


def bare(pipe: Any, asked: list[Request], batch: int) -> list[Any]:
    """The pipeline in one loop."""
    made = []
    for start in range(0, len(asked), batch):
        some = asked[start : start + batch]
        made += pipe(
            [each.drawing.prompt for each in some if each.drawing],
            num_inference_steps=asked[0].drawing.steps,
            width=asked[0].drawing.width,
            height=asked[0].drawing.height,
            generator=[torch.Generator().manual_seed(each.seed) for each in some],
        ).images
    return made


def overhead(result: Result, folder: Path, count: int, repeats: int, steps: int) -> None:
    model, batch = save_sd(folder / "sd"), 4
    pipe = DiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.enable_slicing()
    engine = opened(str(model), batch=batch)
    asked = requests(count, 64, steps)
    list(engine.generate(asked[:batch])), bare(pipe, asked[:batch], batch)
    kept: list[Reply] = []
    ways = {
        "pipeline": lambda: timed(lambda: bare(pipe, asked, batch)),
        "engine": lambda: timed(lambda: list(engine.generate(asked, lambda _, reply: kept.append(reply)))),
    }
    found = interleaved(ways, repeats)
    cpu = {name: median(each["cpu"] for each in runs) or 0.0 for name, runs in found.items()}
    pairs = [(own["cpu"], other["cpu"]) for own, other in zip(found["engine"], found["pipeline"], strict=True)]
    over = {"pipeline": 0.0, "engine": median(100 * (own / other - 1) for own, other in pairs)}
    for name, runs in found.items():
        result.rows.append(
            {
                "way": name,
                "pictures": count,
                "ms a picture": 1000 * (median(each["seconds"] for each in runs) or 0.0) / count,
                "CPU ms": 1000 * cpu[name] / count,
                "over the pipeline %": over[name],
                "target %": None if name == "pipeline" else TARGET,
            }
        )
    same = [each.tobytes() for each in found["pipeline"][0]["made"]] == [
        _pixels(each) for each in found["engine"][0]["made"]
    ]
    result.check("the engine draws what the pipeline draws", same)
    result.check("each request has a reply, kept", len(kept) == count * repeats)


def _pixels(reply: Reply) -> bytes:
    from augment.images.pictures import decode

    return decode(reply.picture).tobytes()


def save_xl(folder: Path) -> Path:
    """A pipeline of SDXL's shape, random weights, bfloat16: some 7 GB."""
    words = clip_tokenizer()
    text = {"vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": words.eos_token_id}
    small = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    large = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
    with torch.device("cuda"):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=1024,
            scaling_factor=0.13025,
            force_upcast=False,
        )
        one = CLIPTextModel(CLIPTextConfig(**text, **small))
        two = CLIPTextModelWithProjection(CLIPTextConfig(**text, **large, projection_dim=1280))
    pipe = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=one,
        text_encoder_2=two,
        tokenizer=words,
        tokenizer_2=words,
        unet=unet,
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    )
    pipe.to(dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def on_gpu(result: Result, folder: Path, smallest: bool, steps: int) -> None:
    """Pictures a second and peak memory, and whether pixels stay the same."""
    model = save_xl(folder / "xl")
    engine: Diffusers | None = None
    for size, batch in (
        [(512, 1)] if smallest else [(size, batch) for size in (512, 1024) for batch in (1, 2, 4, 8, 16)]
    ):
        loaded = engine._loaded if engine else None
        engine = opened(str(model), batch=batch, dtype="bfloat16")
        engine._loaded = loaded
        asked = requests(batch, size, steps)
        list(engine.generate(asked))
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        found = timed(lambda engine=engine, asked=asked: list(engine.generate(asked)))
        result.rows.append(
            {
                "GPU": torch.cuda.get_device_name(),
                "size": size,
                "batch": batch,
                "steps": steps,
                "pictures a second": batch / found["seconds"],
                "peak GiB": torch.cuda.max_memory_allocated() / 2**30,
            }
        )
    assert engine is not None
    asked = requests(6, 512, steps)
    first = {each.key: each.text for each in opened(str(model), batch=4, dtype="bfloat16").generate(asked)}
    fresh = opened(str(model), batch=4, dtype="bfloat16")
    again = {each.key: each.text for part in (asked[4:], asked[:4][::-1]) for each in fresh.generate(part)}
    result.check("on the GPU neither order nor a fresh load changes a pixel", first == again)


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, repeats=7)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args(argv)
    if args.smallest:
        args.pictures, args.repeats, args.steps = 8, 1, 2
    torch.set_num_threads(1)
    result = Result("drawing")
    with workplace() as folder:
        os.environ["AUGMENT_HOME"] = str(folder / "home")
        overhead(result, folder, args.pictures, args.repeats, args.steps)
        if torch.cuda.is_available():
            on_gpu(result, folder, args.smallest, args.steps)
        else:
            result.notes.append("no GPU here: pictures a second and memory of SDXL's shape were not measured")
    result.notes.append("medians of interleaved runs; the excess is of processor seconds, pair by pair")
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    raise SystemExit(main().code)
