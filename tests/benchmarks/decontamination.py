"""Exam questions planted in training rows: `python -m tests.benchmarks.decontamination [--smallest] [--embedder NAME]`.

1,000 exam questions of 6 to 60 characters, CHBench's real ones first where AUGMENT_CHBENCH_DIR is set, then the sample's, then
real clauses recombined (of clauses that no clean row has). Each is planted in ways that a leak takes: verbatim, with other
punctuation, in traditional characters, one or two characters edited, an excerpt of 60 %, words replaced by words that
mean the same, and embedded in longer text. The share that is found is told for each kind, and for questions of 8 to 20
characters alone; of unrelated rows, real ones too, how many are taken for leaks. Then 100,000 rows go against 10,000 exam
rows, on one thread.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import opencc
import polars as pl

from augment.records import SCHEMA
from filters import Context
from filters.chain import with_parents
from filters.contamination import Contamination
from filters.fold import fold
from tests.benchmarks.corpora import chbench, clauses, ngrams, sample
from tests.benchmarks.measure import Result, arguments, peak_rss

SAME = (
    ("怎么办", "如何是好"), ("怎么", "如何"), ("如何", "怎样"), ("为什么", "为何"), ("什么", "啥"), ("可以", "能"),
    ("能", "可以"), ("吗", "么"), ("孩子", "小孩"), ("宝宝", "婴儿"), ("医院", "诊所"), ("吃", "服用"), ("需要", "得"),
    ("哪些", "什么样的"), ("经常", "老是"), ("晚上", "夜里"), ("睡不着", "失眠"), ("头疼", "脑袋痛"), ("难受", "不舒服"),
    ("是否", "是不是"), ("应该", "该"), ("影响", "妨碍"), ("方法", "办法"), ("关系", "关联"), ("觉得", "感觉"),
    ("喜欢", "爱"), ("害怕", "怕"), ("现在", "眼下"), ("知道", "晓得"), ("注意", "留意"), ("一直", "总"),
)  # fmt: skip
"""Words for words: what a light rewording by hand or by a model does."""
AROUND = ("您好，我想替家里人问一下，", "在网上看到有人这样问：", "背景：患者女，四十二岁，否认过敏史。问题是：")
AFTER = (
    "，麻烦各位有经验的说说，先谢谢了。",
    "。请结合最新指南详细回答，并给出依据。",
    "另外平时饮食上还有没有别的要留意？",
)
TO_TRADITIONAL = opencc.OpenCC("s2t")


def one_edit(text: str, rng: random.Random) -> str:
    """A character replaced, left out or put in."""
    at, letter = rng.randrange(len(text)), rng.choice(rng.choice(clauses()))
    return rng.choice((text[:at] + letter + text[at + 1 :], text[:at] + text[at + 1 :], text[:at] + letter + text[at:]))


def excerpt(text: str, rng: random.Random) -> str:
    """60 % of it, in one piece."""
    size = round(len(text) * 0.6)
    at = rng.randrange(len(text) - size + 1)
    return text[at : at + size]


def punctuated(text: str, rng: random.Random) -> str:
    """The punctuation replaced, and some put in between."""
    plain = "".join(" " if each in "，。？！；：、,?!" else each for each in text)
    at = rng.randrange(1, len(plain))
    return f"【{plain[:at]}——{plain[at:]}】…"


def synonyms(text: str, rng: random.Random) -> str | None:
    """Every word that is known replaced; None when that is less than two."""
    changed, count, at = "", 0, 0
    while at < len(text):
        pair = next(((a, b) for a, b in SAME if text.startswith(a, at)), None)
        changed += pair[1] if pair else text[at]
        at += len(pair[0]) if pair else 1
        count += pair is not None
    return changed if count > 1 else None


def embedded(text: str, rng: random.Random) -> str:
    return rng.choice(AROUND) + text + rng.choice(AFTER)


KINDS: dict[str, Callable[[str, random.Random], str | None]] = {
    "verbatim": lambda text, rng: text,
    "punctuation changed": punctuated,
    "traditional characters": lambda text, rng: TO_TRADITIONAL.convert(text),
    "one character edited": one_edit,
    "two characters edited": lambda text, rng: one_edit(one_edit(text, rng), rng),
    "excerpt of 60 %": excerpt,
    "words replaced": synonyms,
    "embedded in longer text": embedded,
    "embedded, traditional": lambda text, rng: TO_TRADITIONAL.convert(embedded(text, rng)),
}
FOUND = {"verbatim": 1.0, "punctuation changed": 1.0, "traditional characters": 0.99, "one character edited": 0.97,
         "embedded in longer text": 0.97}  # fmt: skip
"""The shares that the benchmark insists on."""


def halves() -> tuple[list[str], list[str]]:
    """The clauses of made exam rows and those of unrelated rows, which share no six characters in a row."""
    mixed = random.Random(1).sample(clauses(), len(clauses()))
    ours = mixed[: len(mixed) // 2]
    known = {gram for clause in ours for gram in ngrams(clause, 6)}
    return ours, [clause for clause in mixed[len(ours) :] if not known & ngrams(clause, 6)]


def questions(count: int, pool: Sequence[str], seed: int) -> list[str]:
    """Questions of two or three clauses, of about 23 characters."""
    rng = random.Random(seed)
    return ["，".join(rng.sample(pool, rng.choice((2, 2, 3)))) + "？" for _ in range(count)]


def answers(count: int, pool: Sequence[str], seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["，".join(rng.choice(pool) for _ in range(rng.randint(12, 40))) + "。" for _ in range(count)]


def frame_of(prompts: Sequence[str], responses: Sequence[str | None] | None = None) -> pl.DataFrame:
    columns = {"id": [f"r{row}" for row in range(len(prompts))], "prompt": prompts, "response": responses}
    return pl.DataFrame({**columns, "response": responses or [None] * len(prompts)},
                        schema={name: SCHEMA[name] for name in columns}).with_columns(
        pl.lit([], dtype=SCHEMA["parents"]).alias("parents"))  # fmt: skip


def dropped(each: Contamination, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
    return each.score(with_parents(frame, context), context).with_columns(each.verdict().alias("reason"))


def leaks(result: Result, each: Contamination, exam: pl.DataFrame) -> None:
    """The share found of each kind of leak, and of leaks of questions of 8 to 20 characters."""
    context = Context(exam.clear(), exam)
    for kind, made in KINDS.items():
        rng = random.Random(kind)
        planted = [(row, text) for row, text in enumerate(made(each, rng) for each in exam["prompt"]) if text]
        out = dropped(each, frame_of([text for _, text in planted]), context)
        length = fold(exam["prompt"]).str.len_chars().to_list()
        hit = [why is not None for why in out["reason"]]
        right = [of == exam["id"][row] for (row, _), of in zip(planted, out["contamination_of"], strict=True)]
        short = [found for (row, _), found in zip(planted, hit, strict=True) if 8 <= length[row] <= 20]
        share = sum(hit) / len(hit)
        named = sum(a and b for a, b in zip(hit, right, strict=True)) / max(sum(hit), 1)
        row = {"leak": kind, "planted": len(hit), "found": share, "8-20 characters": sum(short) / max(len(short), 1)}
        result.rows.append({**row, "exam row named": named})
        if kind in FOUND:
            result.check(f"{kind}: found at least {FOUND[kind]}", share >= FOUND[kind], share)


def false_alarms(result: Result, each: Contamination, exam: pl.DataFrame, clean: pl.DataFrame) -> None:
    """Unrelated rows that are dropped: real ones of CHBench or the sample against the rest of them, and made ones."""
    real = chbench() or sample()
    mixed = random.Random(2).sample(real, len(real))
    wrong = count = 0
    for part in range(5):  # each fifth is an exam once
        held = mixed[part::5]
        rest = [row for row in mixed if row not in held]
        against = frame_of([row["question"] for row in held], [row["answer"] for row in held])
        context = Context(against.clear(), against)
        out = dropped(each, frame_of([row["question"] for row in rest], [row["answer"] for row in rest]), context)
        wrong, count = wrong + out["reason"].count(), count + out.height
    made = dropped(each, clean, Context(exam.clear(), exam))["reason"].count()
    for name, alarms, rows in (("real rows", wrong, count), ("recombined rows", made, clean.height)):
        result.rows.append({"unrelated": name, "rows": rows, "dropped": alarms, "share": alarms / rows})
        result.check(f"{name}: at most .1 % dropped", alarms / rows <= 0.001, alarms / rows)


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--questions", type=int, default=1000, help="exam questions that are planted")
    parser.add_argument("--exam", type=int, default=10_000, help="exam rows of the speed run")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the speed run")
    parser.add_argument("--embedder", help="as in contamination.embedder; off unless given")
    parser.add_argument("--similarity", type=float, default=0.9, help="as in contamination.similarity")
    args = parser.parse_args(argv)
    if args.smallest:
        args.questions, args.exam, args.rows = 200, 200, 1000
    result = Result("decontamination")
    each = Contamination(embedder=args.embedder, similarity=args.similarity)
    ours, others = halves()
    real = [row["question"] for row in (*chbench(), *sample())]
    asked = [*real, *questions(args.questions, ours, 3)][: args.questions]
    exam = frame_of(asked, answers(len(asked), ours, 4))
    leaks(result, each, exam)
    clean = frame_of(questions(args.rows, others, 5), answers(args.rows, others, 6))
    made = frame_of(questions(args.exam, ours, 7), answers(args.exam, ours, 8))
    false_alarms(result, each, made, clean.head(min(args.rows, 20_000)))
    begun = time.process_time()
    context = Context(made.clear(), made)
    dropped(each, clean.head(1), context)
    index = time.process_time() - begun
    begun = time.process_time()
    for part in clean.iter_slices(5000):
        dropped(each, part, context)
    took = time.process_time() - begun
    speed = {"s": took, "rows/s": args.rows / took, "s for the index": index, "peak MB": peak_rss()}
    result.rows.append({"speed": "contamination", "rows": args.rows, "exam rows": args.exam, **speed})
    if not args.smallest:
        result.check("in seconds", took + index < 30, took + index)
    result.notes.append(
        f"{len(real)} of the exam questions are real, {sum(8 <= len(text) <= 20 for text in asked)} have 8 to 20 characters"
    )
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    raise SystemExit(main().code)
