"""One tool over one file of documents; executed by `curation.py` with the Python of the tool's own environment.

Every tool gets character 5-grams, a threshold of .7 and its documented configuration otherwise, in one process, without
the workers and the monitoring that its pipelines put around the same code: that is in its favour. Imports and reading
are not counted.
"""

import json
import resource
import sys
import time
from pathlib import Path

N, THRESHOLD, PERMUTATIONS = 5, 0.7, 128
LENGTH, SPECIAL, REPEATED = (4, 2000), 0.5, 0.5


def grams(text):
    return {text[at : at + N].encode() for at in range(max(len(text) - N + 1, 1))}


def augment(texts, spec):
    """The filter as a run uses it: batch after batch, folding and language included."""
    sys.path.insert(0, spec["root"])
    import polars as pl

    from augment.records import SCHEMA
    from filters import Context
    from filters.chain import with_parents
    from filters.near_dup import NearDup

    begun, context, each, removed = (
        clock(),
        Context(pl.DataFrame(schema=SCHEMA), pl.DataFrame(schema=SCHEMA)),
        NearDup(),
        [],
    )
    for frame in frames(pl, texts):
        scored = each.score(with_parents(frame, context), context).with_columns(each.verdict().alias("reason"))
        removed += [int(row) for row in scored.filter(pl.col("reason").is_not_null())["id"]]
    return begun, removed


def augment_index(texts, spec):
    sys.path.insert(0, spec["root"])
    import polars as pl

    from filters.minhash import NearIndex

    begun = clock()
    _, alike = NearIndex(THRESHOLD, N).match(pl.Series(texts))
    return begun, [row for row, each in enumerate(alike.tolist()) if each >= THRESHOLD]


def augment_rows(texts, spec):
    sys.path.insert(0, spec["root"])
    import polars as pl

    from augment.records import SCHEMA
    from filters import Context
    from filters.chain import with_parents
    from filters.length import Length
    from filters.repetition import Repetition
    from filters.special_chars import SpecialChars

    context = Context(pl.DataFrame(schema=SCHEMA), pl.DataFrame(schema=SCHEMA))
    chain = (Length(min_prompt=LENGTH[0], max_prompt=LENGTH[1]), SpecialChars(max_share=SPECIAL), Repetition())
    begun, removed = clock(), []
    for frame in frames(pl, texts):
        frame = with_parents(frame, context)
        for each in chain:
            frame = each.score(frame, context)
        bad = frame.filter(pl.any_horizontal(*(each.verdict().is_not_null() for each in chain)))
        removed += [int(row) for row in bad["id"]]
    return begun, removed


def frames(pl, texts, size=5000):
    types = {"id": pl.String, "prompt": pl.String, "response": pl.String}
    none = pl.lit([], dtype=pl.List(pl.String)).alias("parents")
    for first in range(0, len(texts), size):
        part = texts[first : first + size]
        ids = [str(row) for row in range(first, first + len(part))]
        columns = {"id": ids, "prompt": part, "response": [None] * len(part)}
        yield pl.DataFrame(columns, schema=types).with_columns(none)


def datasketch(texts, spec):
    import xxhash
    from datasketch import MinHash, MinHashLSH

    begun, removed = clock(), []
    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    hashes = MinHash.generator((grams(text) for text in texts), num_perm=PERMUTATIONS, hashfunc=xxhash.xxh32_intdigest)
    for row, each in enumerate(hashes):
        if index.query(each):
            removed.append(row)
        else:
            index.insert(row, each, check_duplication=False)
    return begun, removed


def rensa(texts, spec):
    from rensa import RMinHashDeduplicator

    begun = clock()
    index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    keep = index.add_pairs((str(row), list(grams(text))) for row, text in enumerate(texts))
    return begun, [row for row, kept in enumerate(keep) if not kept]


def distilabel(texts, spec):
    from distilabel.steps import MinHashDedup

    begun, removed = clock(), []
    step = MinHashDedup(name="dedup", tokenizer="ngrams", n=N, threshold=THRESHOLD, num_perm=PERMUTATIONS)
    step.load()
    for first in range(0, len(texts), 500):
        batch = [{"text": text, "row": row} for row, text in enumerate(texts[first : first + 500], first)]
        for rows in step.process(batch):
            removed += [row["row"] for row in rows if not row["keep_row_after_minhash_filtering"]]
    return begun, removed


def datatrove(texts, spec):
    from datatrove.data import Document
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Characters(WordTokenizer):
        def word_tokenize(self, text):
            return list(text)

        def sent_tokenize(self, text):
            return [text]

        def span_tokenize(self, text):
            return [(at, at + 1) for at in range(len(text))]

    def documents():
        return (Document(text=text, id=str(row)) for row, text in enumerate(texts))

    begun, config, folder = clock(), MinhashConfig(n_grams=N), spec["folder"]
    MinhashDedupSignature(f"{folder}/sig", config, language=Characters()).run(documents(), 0, 1)
    buckets = MinhashDedupBuckets(f"{folder}/sig", f"{folder}/buckets", config=config)
    for bucket in range(config.num_buckets):
        buckets.run(None, bucket, config.num_buckets)
    MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config=config).run(None, 0, 1)
    kept = {int(each.id) for each in MinhashDedupFilter(f"{folder}/remove").run(documents(), 0, 1)}
    return begun, [row for row in range(len(texts)) if row not in kept]


def juicer_dedup(texts, spec):
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator

    begun = clock()
    op = DocumentMinhashDeduplicator(
        tokenization="character", window_size=N, jaccard_threshold=THRESHOLD, num_permutations=PERMUTATIONS
    )
    hashed = [op.compute_hash({"text": text, "row": row}) for row, text in enumerate(texts)]
    kept, _ = op.process(NestedDataset.from_list(hashed))
    kept = set(kept["row"])
    return begun, [row for row in range(len(texts)) if row not in kept]


def juicer_run(texts, spec):
    """The operator's own `.run()`."""
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator

    begun = clock()
    op = DocumentMinhashDeduplicator(
        tokenization="character", window_size=N, jaccard_threshold=THRESHOLD, num_permutations=PERMUTATIONS, num_proc=1
    )
    kept = set(op.run(NestedDataset.from_dict({"text": texts, "row": list(range(len(texts)))}))["row"])
    return begun, [row for row in range(len(texts)) if row not in kept]


def juicer_filters():
    from data_juicer.ops.filter.character_repetition_filter import CharacterRepetitionFilter
    from data_juicer.ops.filter.special_characters_filter import SpecialCharactersFilter
    from data_juicer.ops.filter.text_length_filter import TextLengthFilter

    return (
        TextLengthFilter(min_len=LENGTH[0], max_len=LENGTH[1], num_proc=1),
        SpecialCharactersFilter(max_ratio=SPECIAL, num_proc=1),
        CharacterRepetitionFilter(rep_len=10, max_ratio=REPEATED, num_proc=1),
    )


def juicer_rows(texts, spec):
    """The operators' batched functions on lists, every row through all of them, as ours."""
    from data_juicer.utils.constant import Fields

    ops = juicer_filters()
    begun, removed = clock(), []
    for first in range(0, len(texts), 1000):
        part = texts[first : first + 1000]
        samples = {"text": part, Fields.stats: [{} for _ in part]}
        kept = [True] * len(part)
        for op in ops:
            samples = op.compute_stats_batched(samples)
            kept = [a and b for a, b in zip(kept, op.process_batched(samples), strict=True)]
        removed += [row for row, keep in enumerate(kept, first) if not keep]
    return begun, removed


def juicer_rows_run(texts, spec):
    """The operators' own `.run()`, one after the other: a row that one drops is not looked at by the next."""
    from data_juicer.core.data import NestedDataset

    ops = juicer_filters()
    begun = clock()
    rows = NestedDataset.from_dict({"text": texts, "row": list(range(len(texts)))})
    for op in ops:
        rows = op.run(rows)
    kept = set(rows["row"])
    return begun, [row for row in range(len(texts)) if row not in kept]


def clock():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main():
    spec = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    texts = [json.loads(line) for line in Path(spec["docs"]).read_text("utf-8").splitlines()]
    begun, removed = globals()[spec["tool"]](texts, spec)
    cpu = clock() - begun
    Path(spec["out"]).write_text(json.dumps(removed))
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        peak = int(line.split()[1]) / 1024
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print("\nRESULT " + json.dumps({"cpu": cpu, "rss": peak}), flush=True)


if __name__ == "__main__":
    main()
