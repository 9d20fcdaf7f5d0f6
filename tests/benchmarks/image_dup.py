"""Perceptual deduplication: `python -m tests.benchmarks.image_dup [--smallest]`.

20,000 pictures of three classes, a tenth of them copies of earlier ones (re-encoded, halved, noisy, mirrored), through the
filters as a run uses them: measuring each picture once, then comparing it with 500 seeds, 500 exam pictures and all that
were kept before. Processor seconds; what is found is checked against how the copies were made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np
import polars as pl
from PIL import Image

from augment.images.store import pictures
from filters import Context
from filters.chain import chain_of
from filters.pictures.exam_image import ExamImage
from filters.pictures.features import features
from filters.pictures.image_dup import ImageDup
from tests.benchmarks.measure import Result, arguments, median, workplace
from tests.images.picture_rows import COLUMNS

SIDE = 64


def scenes(count: int, seed: int) -> list[Image.Image]:
    """Pictures of soft random patches: detailed enough that no two are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
    return [Image.fromarray(each).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for each in coarse]


def copy_of(picture: Image.Image, kind: int, rng: np.random.Generator) -> Image.Image:
    """A noisy, a halved, a mirrored, or the same picture."""
    if kind == 0:
        values = np.asarray(picture) + rng.normal(0, 6, (SIDE, SIDE, 3))
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    if kind == 1:
        return picture.resize((SIDE // 2, SIDE // 2), Image.Resampling.LANCZOS)
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if kind == 2 else picture


def rows(letter: str, kept: Sequence[Image.Image], parent: str | None = None) -> pl.DataFrame:
    """The pictures as rows, in the store under their pixels' digests."""
    store = pictures()
    lines = []
    for number, picture in enumerate(kept):
        name = store.add(picture)
        lines.append({"id": f"{letter}{number}", "parents": [parent] if parent else [], "image": name, "pixels": name})
    return pl.DataFrame(lines, schema=COLUMNS)


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--known", type=int, default=500, help="seeds, and exam pictures")
    args = parser.parse_args(argv)
    if args.smallest:
        args.pictures, args.known = 300, 40
    result = Result("image_dup")
    rng = np.random.default_rng(0)
    fresh = scenes(args.pictures * 9 // 10, 1)
    known = scenes(args.known, 2), scenes(args.known, 3)
    copied = rng.permutation(args.pictures // 10)
    kinds = copied % 4
    sources = [fresh, *known]
    made = [
        copy_of(sources[each % 3][each % len(sources[each % 3])], kind, rng)
        for each, kind in zip(copied, kinds, strict=True)
    ]
    with workplace() as folder:
        os.environ["AUGMENT_HOME"] = str(folder)
        seeds, exam = rows("s", known[0]), rows("e", known[1])
        candidates = rows("v", [*fresh, *made], "s0").with_columns(pl.lit("img2img").alias("generator"))
        seconds: dict[str, list[float]] = {"measure": [], "compare": []}
        for _ in range(args.repeats):
            begun = time.process_time()
            for frame in (seeds, exam, candidates):
                features(frame["image"].to_list())
            seconds["measure"].append(time.process_time() - begun)
            chain = chain_of([ExamImage.name, ImageDup.name], modality="image")
            context = Context(seeds, exam)
            begun = time.process_time()
            sifted = pl.concat([chain.sift(part, context) for part in candidates.iter_slices(500)])
            seconds["compare"].append(time.process_time() - begun)
    found = sifted["reason"].to_list()
    expected = ["copy of an earlier picture", "copy of a seed", "copy of an exam picture"]
    missed = [at for at, each in enumerate(copied) if found[len(fresh) + at] not in (expected[each % 3],)]
    wrong = sum(each is not None for each in found[: len(fresh)])
    result.check("no picture is taken for a copy that is none", wrong == 0, wrong)
    result.check("99 % of the copies are found, and of what they are", len(missed) <= len(made) / 100, len(missed))
    for what, of in seconds.items():
        took = median(of)
        result.rows.append({"step": what, "pictures": args.pictures, "s": took, "us each": took / args.pictures * 1e6})
    if not args.smallest:
        result.check("compared in under 5 s", median(seconds["compare"]) < 5, median(seconds["compare"]))
    result.notes.append(
        f"{len(made):,} copies; each compared with {args.known} seeds, {args.known} of the exam, all kept"
    )
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    raise SystemExit(main().code)
