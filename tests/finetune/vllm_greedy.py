"""vLLM's greedy answers: run by the python of vLLM's own environment, which has none of our packages.

Reads a job as JSON from stdin: `model`, `loras` (name to folder), their largest `rank`, `prompts` (token ids),
`tokens` and `out`. One engine is asked for the model alone and then for all LoRAs in one batch; a list of
[token ids, log probabilities], one a prompt, is written to `out` for "base" and each LoRA's name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    job = json.load(sys.stdin)
    prompts = [{"prompt_token_ids": each} for each in job["prompts"]]
    loras = [LoRARequest(name, number, folder) for number, (name, folder) in enumerate(job["loras"].items(), 1)]
    options = {"enable_lora": True, "max_loras": len(loras), "max_lora_rank": job["rank"]} if loras else {}
    engine = LLM(job["model"], dtype="float32", enforce_eager=True, max_model_len=256, **options)
    greedy = SamplingParams(temperature=0, max_tokens=job["tokens"], ignore_eos=True, logprobs=1)
    # Not in one batch with the LoRAs: on CPU the base's tokens, marked by slot -1, would get the last slot's LoRA
    # (vLLM 0.32, https://github.com/vllm-project/vllm/pull/48421).
    answers = engine.generate(prompts, greedy, use_tqdm=False)
    if loras:
        adapters = [lora for lora in loras for _ in prompts]
        answers += engine.generate(prompts * len(loras), greedy, lora_request=adapters, use_tqdm=False)
    said = iter(answers)
    found = {name: [_said(next(said).outputs[0]) for _ in prompts] for name in ("base", *job["loras"])}
    Path(job["out"]).write_text(json.dumps(found), "utf-8")


def _said(answer) -> tuple[list[int], list[float]]:
    tokens = list(answer.token_ids)
    return tokens, [step[token].logprob for step, token in zip(answer.logprobs, tokens, strict=True)]


if __name__ == "__main__":  # vLLM starts processes that import this file again
    main()
