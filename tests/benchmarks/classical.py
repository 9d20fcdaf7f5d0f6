"""Pictures a second without a model: `python -m tests.benchmarks.classical [--smallest] [--count 2000] [--side 256]`.

Variants of photographs by `classical` and mixtures by `mixgen`, made in this process and by the pool, each from the
request to the PNG in the picture store; and from how many pictures on the pool's start pays.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data

from augment.executors.pool import WORTH, pooled
from augment.generators import SelfAnswering
from augment.generators.classical import Classical
from augment.generators.mixgen import MixGen
from augment.images.store import pictures
from augment.records import Reply, Request, Row
from tests.benchmarks.measure import Result, arguments, interleaved, median, workplace

TARGET = 300
"""Pictures a second of 256 × 256 pixels with two processes."""


def seeds(side: int) -> list[Row]:
    """Four photographs, a caption each."""
    found = []
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        picture = Image.fromarray(getattr(data, name)()).resize((side, side), Image.Resampling.LANCZOS)
        stored = pictures().add(picture)
        content = {"image": stored, "pixels": stored, "width": side, "height": side, "caption": f"this is {name}"}
        found.append(Row(name, "", label=name, **content))
    return found


def requests_of(generator: Any, records: list[Row], count: int) -> list[Request]:
    """`count` requests, of each record in turn."""
    size = len(records)
    return [generator.ask(records[k % size], k, (records[(k + 1) % size],)) for k in range(count)]


def here(requests: Iterable[Request], generator: SelfAnswering) -> list[Reply]:
    """All of them in this process."""
    found = []
    for each in requests:
        reply = generator.answer(each)
        pictures().put(reply.key, reply.picture)
        found.append(replace(reply, picture=b""))
    return found


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=2000, help="pictures a measurement")
    parser.add_argument("--side", type=int, default=256, help="of each picture, in pixels")
    args = parser.parse_args(argv)
    count, side, repeats = (24, 48, 1) if args.smallest else (args.count, args.side, args.repeats)
    result = Result("classical")
    with workplace() as folder:
        made: dict[str, list[Reply]] = {}

        def run(generator: Any, processes: int) -> dict[str, float]:
            """Into a store of its own, so that nothing is there already."""
            place = folder / f"{generator.name}-{processes}-{time.monotonic_ns()}"
            os.environ["AUGMENT_HOME"] = str(place)
            asked = requests_of(generator, seeds(side), count)
            begun, worked = time.perf_counter(), time.process_time()
            if processes:
                replies, first = [], 0.0
                for each in pooled(iter(asked), {generator.name: generator}, processes):
                    first = first or time.perf_counter() - begun
                    replies.append(each)
            else:
                replies, first = here(asked, generator), 0.0
            seconds, worked = time.perf_counter() - begun, time.process_time() - worked
            check(result, f"{generator.name}, {processes or 'no'} processes", place, asked, replies)
            before = made.setdefault(generator.name, replies)
            result.check(f"{generator.name}: the same with {processes or 'no'} processes", before == replies)
            return {"seconds": seconds, "first": first, "CPU": worked}

        runs = {
            (generator.name, processes): (lambda generator=generator, processes=processes: run(generator, processes))
            for generator in (Classical(), MixGen())
            for processes in (0, 1, 2)
        }
        found = interleaved({f"{name} {processes}": each for (name, processes), each in runs.items()}, repeats)
    for name, processes in runs:
        times = found[f"{name} {processes}"]
        seconds = median(each["seconds"] for each in times) or 0.0
        row: dict[str, Any] = {
            "generator": name,
            "processes": processes or "none",
            "pictures/s": count / seconds,
            "first after s": median(each["first"] for each in times) if processes else None,
            "CPU ms each": None if processes else 1000 * (median(each["CPU"] for each in times) or 0.0) / count,
        }
        if name == "classical" and processes == 2:
            row["target"] = TARGET
        result.rows.append(row)
    alone, two = (statistics.median(each["seconds"] for each in found[f"classical {n}"]) for n in (0, 2))
    start = two - alone / 2  # what two processes cost besides halving the work
    result.notes.append(
        f"two processes start in {start:.2f} s: they pay from {2 * start / (alone / count):.0f} pictures on"
    )
    result.notes.append(f"the pool is used from {WORTH} on")
    result.code = result.finish(args)
    return result


def check(result: Result, what: str, place: Path, asked: list[Request], replies: list[Reply]) -> None:
    """One reply a request, in order, and its picture whole in the store."""
    result.check(
        f"{what}: one reply a request, in order", [each.key for each in replies] == [each.key for each in asked]
    )
    there = all((place / "images" / f"{each.key}.png").stat().st_size > 100 for each in asked)
    result.check(f"{what}: every picture is in the store", there)


if __name__ == "__main__":
    sys.exit(main().code)
