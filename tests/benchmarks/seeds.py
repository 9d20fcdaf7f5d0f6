"""Chinese seed questions in any number: the sample's clauses recombined, each one different, always the same."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from augment.places import data_dir

_CLAUSES = re.compile(r"[，。？！；,?!;]")
_WHO = ("我妈妈", "我爸爸", "我同事", "我老公", "我太太", "我朋友", "我邻居", "我表姐", "我奶奶", "我室友")


def write_seeds(path: Path, count: int, seed: int = 7) -> Path:
    """`count` rows of question, answer and topic as JSON lines; a shorter file is the start of a longer one."""
    rows = [
        json.loads(line)
        for name in ("physical_zh.jsonl", "mental_zh.jsonl")
        for line in (data_dir() / "sample" / name).read_text("utf-8").splitlines()
    ]
    clauses = sorted({part for row in rows for part in _CLAUSES.split(row["question"]) if 4 <= len(part) <= 16})
    sentences = sorted({part for row in rows for part in row["answer"].split("。") if 12 <= len(part) <= 60})
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            who, age, days = rng.choice(_WHO), 18 + number % 70, 1 + number // 70
            middle = "，".join(rng.sample(clauses, rng.randint(2, 4)))
            question = f"{who}今年{age}岁，{middle}，已经{days}天了，该怎么办？"
            answer = "。".join(rng.sample(sentences, rng.randint(3, 5))) + "。"
            row = {"question": question, "answer": answer, "topic": rows[number % len(rows)]["topic"]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path
