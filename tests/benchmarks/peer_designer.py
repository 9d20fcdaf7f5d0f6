"""One Data Designer run; executed by `peers.py` with the Python of Data Designer's own environment, on its own."""

import json
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    import data_designer.config as dd
    import pandas as pd
    from data_designer.config.run_config import JinjaRenderingEngine, ResumeMode, RunConfig
    from data_designer.interface import DataDesigner

    rows = [json.loads(line) for line in Path(spec["prompts"]).read_text("utf-8").splitlines()]
    frame = pd.DataFrame([{"row": i, "system": row["system"], "user": row["user"]} for i, row in enumerate(rows)])
    seeds = Path(spec["folder"]) / "seeds.parquet"
    if not seeds.exists():
        frame.to_parquet(seeds)
    model = dd.ModelConfig(
        alias="writer",
        model="test-model",
        provider="server",
        skip_health_check=True,
        inference_parameters=dd.ChatCompletionInferenceParams(
            max_parallel_requests=spec["concurrency"], max_tokens=1024, temperature=0.9, timeout=300
        ),
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(seeds)))
    builder.add_column(
        dd.LLMTextColumnConfig(name="made", model_alias="writer", prompt="{{ user }}", system_prompt="{{ system }}")
    )
    provider = dd.ModelProvider(name="server", endpoint=spec["url"], api_key="none")
    designer = DataDesigner(artifact_path=Path(spec["folder"]) / "made", model_providers=[provider])
    designer.set_run_config(
        RunConfig(
            disable_early_shutdown=True,
            buffer_size=spec.get("buffer") or len(rows),
            max_in_flight_tasks=max(1024, 4 * spec["concurrency"]),
            jinja_rendering_engine=JinjaRenderingEngine.NATIVE,
            otel_metrics_port=None,
        )
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    resume = ResumeMode.ALWAYS if spec["resume"] else ResumeMode.NEVER
    made = designer.create(builder, num_records=len(rows), dataset_name="benchmark", resume=resume)
    seconds = time.perf_counter() - begun
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with Path(spec["out"]).open("w", encoding="utf-8") as file:
        for row, text in made.load_dataset()[["row", "made"]].itertuples(index=False):
            if text:
                file.write(json.dumps({"row": int(row), "text": str(text)}) + "\n")
    cpu = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
    print("RESULT " + json.dumps({"seconds": seconds, "cpu": cpu, "rss": usage.ru_maxrss}))


if __name__ == "__main__":
    main()
