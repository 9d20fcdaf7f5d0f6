"""One distilabel run; executed by `peers.py` with the Python of distilabel's own environment, on its own.

AsyncLLM sends a whole batch at once and waits for all of it, so the batch size is the concurrency.
"""

import json
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    from distilabel.models.llms import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    rows = [json.loads(line) for line in Path(spec["prompts"]).read_text("utf-8").splitlines()]
    data = [{"row": i, "instruction": row["user"], "system_prompt": row["system"]} for i, row in enumerate(rows)]
    size = spec["concurrency"]
    llm = OpenAILLM(
        model="test-model",
        base_url=spec["url"],
        api_key="none",
        max_retries=8,
        timeout=300,
        generation_kwargs={"max_new_tokens": 1024, "temperature": 0.9},
    )
    with Pipeline(name="benchmark", cache_dir=spec["folder"]) as pipeline:
        load = LoadDataFromDicts(name="load", data=data, batch_size=size)
        ask = TextGeneration(name="ask", llm=llm, input_batch_size=size, add_raw_input=False, add_raw_output=False)
        load >> ask
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    made = pipeline.run(use_cache=spec["resume"])
    seconds = time.perf_counter() - begun
    with Path(spec["out"]).open("w", encoding="utf-8") as file:
        for row in made["default"]["train"]:
            if row["generation"]:
                file.write(json.dumps({"row": row["row"], "text": row["generation"]}) + "\n")
    own, steps = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime - before.ru_utime - before.ru_stime + steps.ru_utime + steps.ru_stime
    print("RESULT " + json.dumps({"seconds": seconds, "cpu": cpu, "rss": own.ru_maxrss + steps.ru_maxrss}))


if __name__ == "__main__":
    main()
