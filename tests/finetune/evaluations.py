"""What the tests of `augment evaluate` share: a file of answers, and the record of an evaluation."""

from __future__ import annotations

import csv
import json
from pathlib import Path

QUESTIONS = 24


def write_answers(file_path: Path) -> Path:
    """Answers of a good model, one that answers other questions, and one that refuses or fails."""
    gold = [
        f"第{n}条：{'保持规律作息，' * (n % 3 + 1)}每天走{n * 10}步，必要时到医院检查血压、血糖和{'心' * (n % 4)}电图。不要自行停药。"
        for n in range(QUESTIONS)
    ]
    with file_path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "gold", "label", "other", "good", "bad"])
        for n, text in enumerate(gold):
            good = text.replace("保持", "坚持").replace("必要时", "有需要就")
            bad = ["None!", "很抱歉，我无法回答这个问题。", "没有评审意见"][n % 3]
            writer.writerow(
                [f"问题{n}怎么办？", text, ["mental", "physical"][n % 2], gold[(n + 7) % QUESTIONS], good, bad]
            )
    return file_path


def record_in(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text("utf-8"))
