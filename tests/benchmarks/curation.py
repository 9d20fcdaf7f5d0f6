"""Near-duplicate removal and row filters beside peers: `python -m tests.benchmarks.curation [--smallest] [--with-peers]`.

Two corpora of Chinese documents whose exact Jaccards are known (`corpora.py`): 100,000 of 100–500 characters with near
copies planted, and an augmentation-shaped one, five variants a seed whose Jaccard to it is .30 to .72. Each tool runs in a
process of its own on one thread; CPU seconds count. What a tool removed is held against exact computation:

* precision: of the rows it removed, those with another row at .7 or more;
* recall: of the pairs at .7 or more, those of which it left one row at most;
* wiped out: groups of alike rows of which it left none.

Row filters (length, special characters, repetition) run over 100,000 rows of five kinds, with the keep sets compared.
`--million` adds a run over 1,000,000 documents, `--questions N` one over N short questions.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.corpora import Corpus, augmented, clauses, closest_of_others, documents, edited, fresh
from tests.benchmarks.measure import ROOT, Result, arguments, interleaved, median, workplace
from tests.benchmarks.peers import Peer, PeerFailed

SCRIPT = "peer_dedup.py"
THRESHOLD = 0.7
LIBRARIES = Peer("dedup-libraries", ("datasketch==2.0.0", "rensa==0.5.0", "xxhash>=3"), SCRIPT)
TROVE = Peer("datatrove", ("datatrove[processing]==0.10.1",), SCRIPT)
DISTILABEL = Peer("distilabel-minhash", ("distilabel[minhash]==1.5.3", "datasketch<1.7", "requests"), SCRIPT)
JUICER = Peer("data-juicer", ("py-data-juicer==1.6.1", "aiohttp"), SCRIPT)
OURS = {"augment near_dup": "augment", "augment, its index alone": "augment_index"}
DEDUP = {
    "rensa": (LIBRARIES, "rensa"),
    "datasketch": (LIBRARIES, "datasketch"),
    "datatrove": (TROVE, "datatrove"),
    "distilabel": (DISTILABEL, "distilabel"),
    "data-juicer, bare operator": (JUICER, "juicer_dedup"),
    "data-juicer, .run()": (JUICER, "juicer_run"),
}
ROWS = {
    "data-juicer, bare operators": (JUICER, "juicer_rows"),
    "data-juicer, .run()": (JUICER, "juicer_rows_run"),
}
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"), "1"
)
QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TQDM_DISABLE": "1"}


def run(python: Path | str, tool: str, docs: Path, folder: Path, timeout: float = 1800) -> dict[str, Any]:
    """CPU seconds, peak MiB and removed rows of one tool on one file.

    Raises:
        PeerFailed: it crashes or hangs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"tool": tool, "docs": str(docs), "folder": str(folder), "out": str(folder / "removed.json")}
    (folder / "spec.json").write_text(json.dumps({**spec, "root": str(ROOT)}), "utf-8")
    env = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **ONE_THREAD, **QUIET, "HOME": str(folder)}
    command = [str(python), str(Path(__file__).with_name(SCRIPT)), str(folder / "spec.json")]
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"nothing after {timeout:.0f} s") from None
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not results:
        raise PeerFailed(
            next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")[:200]
        )
    return {**json.loads(results[-1][7:]), "removed": set(json.loads((folder / "removed.json").read_text()))}


def groups(pairs: Iterable[tuple[int, int]]) -> list[set[int]]:
    """The rows that pairs join, directly or through others."""
    of: dict[int, set[int]] = {}
    for a, b in pairs:
        joined = of.get(a, {a}) | of.get(b, {b})
        for row in joined:
            of[row] = joined
    return list({id(each): each for each in of.values()}.values())


def judged(pairs: Sequence[tuple[int, int]], removed: set[int]) -> dict[str, Any]:
    """Precision, recall and groups wiped out, by the pairs that are truly alike."""
    alike = {row for pair in pairs for row in pair}
    return {
        "removed": len(removed),
        "precision": len(removed & alike) / max(len(removed), 1),
        "recall": sum(a in removed or b in removed for a, b in pairs) / max(len(pairs), 1),
        "wiped out": sum(each <= removed for each in groups(pairs)),
    }


def rows_of_five_kinds(count: int, seed: int = 9) -> tuple[list[str], set[int]]:
    """Rows to sift, and those to be removed: good ones, too short, too long, mostly symbols, one phrase in a loop."""
    rng, texts, bad = random.Random(seed), [], set()
    for row in range(count):
        kind = rng.choices(range(5), (70, 5, 5, 10, 10))[0]
        parts = [rng.choice(clauses()) for _ in range(rng.randint(8, 30))]
        text = "，".join(parts) + "。"
        if kind == 1:
            text = text[: rng.randint(1, 3)]
        elif kind == 2:
            text = "，".join(rng.choice(clauses()) for _ in range(400))
        elif kind == 3:
            text = "".join(letter + rng.choice("★☆■●♥→※") * 2 for letter in text[:100])
        elif kind == 4:
            text = text[:60] + parts[0][:6] * 30
        bad |= {row} if kind else set()
        texts.append(text)
    return texts, bad


def written(path: Path, texts: Iterable[str]) -> Path:
    """The texts as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
    return path


def installed(args: Any, result: Result, tools: dict[str, tuple[Peer, str]]) -> dict[str, tuple[Path, str]]:
    """The peers' Pythons; what cannot be installed is noted."""
    found = {}
    for name, (peer, tool) in tools.items() if args.with_peers else ():
        try:
            found[name] = (peer.install(args.cache), tool)
        except PeerFailed as error:
            result.notes.append(f"{name}: {error}")
    return found


def measured(
    args: Any, result: Result, docs: Path, tools: dict[str, tuple[Path | str, str]], folder: Path
) -> dict[str, dict[str, Any]]:
    """Each tool `--repeats` times, in turn: the median CPU seconds, the largest RSS, what was removed."""

    def once(python: Path | str, tool: str) -> dict[str, Any]:
        try:
            return run(python, tool, docs, folder / tool)
        except PeerFailed as error:
            return {"failed": str(error)}

    runs = interleaved({name: lambda at=at: once(*at) for name, at in tools.items()}, args.repeats)
    found = {}
    for name, each in runs.items():
        failed = next((one["failed"] for one in each if "failed" in one), None)
        if failed is not None:
            result.check(f"{name} runs", not name.startswith("augment"), failed)
            result.notes.append(f"{name}: {failed}")
            continue
        same = all(one["removed"] == each[0]["removed"] for one in each)
        cpu, rss = median(one["cpu"] for one in each), max(one["rss"] for one in each)
        found[name] = {"cpu": cpu, "rss": rss, "removed": each[0]["removed"], "same": same}
    return found


def dedup(args: Any, result: Result, folder: Path) -> None:
    """Both corpora through every tool."""
    peers = installed(args, result, DEDUP)
    tools: dict[str, tuple[Path | str, str]] = {name: (sys.executable, tool) for name, tool in OURS.items()} | peers
    corpora: dict[str, Corpus] = {"planted": documents(args.documents), "variants": augmented(args.documents)}
    for which, corpus in corpora.items():
        if args.smallest:
            closest = closest_of_others(corpus)
            result.check(f"{which}: documents that were not planted as alike are not", closest < THRESHOLD, closest)
        pairs = corpus.alike(THRESHOLD)
        docs = written(folder / f"{which}.jsonl", corpus.texts)
        found = measured(args, result, docs, tools, folder / which)
        for name, each in found.items():
            quality = judged(pairs, each["removed"])
            speed = {"docs/s": len(corpus.texts) / each["cpu"], "peak MB": each["rss"]}
            result.rows.append({which: name, **speed, **quality})
            if name in OURS:
                result.check(f"{which}, {name}: the same rows in every run", each["same"])
                result.check(f"{which}, {name}: precision 1", quality["precision"] == 1, quality["precision"])
                result.check(f"{which}, {name}: recall at least .99", quality["recall"] >= 0.99, quality["recall"])
                result.check(f"{which}, {name}: no group wiped out", quality["wiped out"] == 0, quality["wiped out"])
        result.notes.append(f"{which}: {len(corpus.texts):,} documents, {len(pairs):,} pairs at {THRESHOLD} or more")


def row_filters(args: Any, result: Result, folder: Path) -> None:
    """The row filters that others have too."""
    texts, bad = rows_of_five_kinds(args.documents)
    docs = written(folder / "rows.jsonl", texts)
    tools = {"augment": (sys.executable, "augment_rows"), **installed(args, result, ROWS)}
    found = measured(args, result, docs, tools, folder / "rows")
    for name, each in found.items():
        wrong = len(each["removed"] ^ bad)
        result.rows.append(
            {"row filters": name, "rows/s": len(texts) / each["cpu"], "peak MB": each["rss"], "wrong": wrong}
        )
    result.check("the row filters remove what was made bad, and nothing else", found["augment"]["removed"] == bad,
                 len(found["augment"]["removed"] ^ bad))  # fmt: skip


def stream(count: int, least: int, most: int) -> Iterator[str]:
    """Documents without end, near copies of the last ones among them, in little memory."""
    rng, recent = random.Random(3), []
    for row in range(count):
        if recent and rng.random() < 0.15:
            yield edited(rng.choice(recent), rng.uniform(0.4, 0.98), rng)
            continue
        text = fresh(rng, least, most)
        recent[row % 5000 : row % 5000 + 1] = [text]
        yield text


def scale(result: Result, name: str, count: int, least: int, most: int) -> None:
    """The filter over many documents, batch after batch as they come, in a process of its own."""
    code = f"from tests.benchmarks.curation import sifted; print(sifted({count}, {least}, {most}))"
    env = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    result.rows.append({"scale": name, **json.loads(done.stdout)})


def sifted(count: int, least: int, most: int) -> str:
    """Rows, CPU seconds of the filter (making the documents is not counted) and the peak of memory, as JSON."""
    import time

    import polars as pl

    from augment.records import SCHEMA
    from filters import Context
    from filters.chain import with_parents
    from filters.near_dup import NearDup
    from tests.benchmarks.measure import peak_rss
    from tests.benchmarks.peer_dedup import frames

    context, each = Context(pl.DataFrame(schema=SCHEMA), pl.DataFrame(schema=SCHEMA)), NearDup()
    made, cpu, removed = stream(count, least, most), 0.0, 0
    while batch := list(itertools.islice(made, 1 << 14)):
        for frame in frames(pl, batch, len(batch)):
            begun = time.process_time()
            scored = each.score(with_parents(frame, context), context)
            removed += scored.select(each.verdict().is_not_null().sum()).item()
            cpu += time.process_time() - begun
    return json.dumps({"rows": count, "removed": removed, "CPU s": cpu, "rows/s": count / cpu, "peak MB": peak_rss()})


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, peers=True)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--million", action="store_true", help="1,000,000 documents too")
    parser.add_argument("--questions", type=int, default=0, metavar="N", help="N questions of about 23 characters too")
    args = parser.parse_args(argv)
    if args.smallest:
        args.documents, args.repeats = 600, 1
    result = Result("curation")
    with workplace() as folder:
        dedup(args, result, folder)
        row_filters(args, result, folder)
    if args.million:
        scale(result, "documents", 1_000_000, 100, 500)
    if args.questions:
        scale(result, "questions", args.questions, 14, 32)
    result.notes.append("one thread, CPU seconds, without imports and reading; peers without their pipelines' workers")
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    raise SystemExit(main().code)
