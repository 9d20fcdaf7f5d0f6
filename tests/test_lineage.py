"""A dataset that grows by versions: what was published stays, only what is new or edited is made."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from augment.errors import RunError
from augment.lineage import carried
from augment.manifest import digest_of, manifest_of
from augment.pipeline import Curated, curate
from tests.server import serve
from tests.test_pipeline import curated, plan_of, seeds, variants


def grow(**flags: object) -> Curated:
    return curate(plan_of(source="seeds.jsonl", n="3x", incremental=True, **flags))


def lines(place: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (place / "seeds.jsonl").read_text().splitlines()]


def write(place: Path, rows: list[dict[str, str]]) -> None:
    (place / "seeds.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))


def more(place: Path, rows: int) -> None:
    """The file with so many rows in all; the first ones stay."""
    seeds(place, rows)


def test_nothing_new_is_seen_whatever_the_order(place):
    seeds(place, 10)
    grow()
    write(place, lines(place)[::-1])
    plan = plan_of(source="seeds.jsonl", n="3x", incremental=True)
    assert plan.nothing_new
    more(place, 11)
    assert not plan_of(source="seeds.jsonl", n="3x", incremental=True).nothing_new


def test_a_new_row_is_augmented_and_what_was_published_stays_as_it_is(place):
    seeds(place, 10)
    first = grow()
    more(place, 12)
    second = grow()
    assert second.path != first.path
    before, after = variants(first), variants(second)
    kept = after.join(before.select("id"), on="id", how="semi")
    assert kept.equals(before.select(kept.columns))
    assert len(after) == 36
    counts = second.summary.counts
    assert (counts["carried"], counts["kept"], counts["candidates"]) == (30, 36, 36)
    assert counts["replies_reused"] == 0, "satisfied seeds are not even looked up"
    assert counts["requests_sent"] == 6


def test_the_manifest_names_the_parent_and_the_version(place):
    seeds(place, 5)
    first = grow()
    more(place, 6)
    second = grow()
    more(place, 7)
    third = grow()
    assert [manifest_of(each.path)["version"] for each in (first, second, third)] == [1, 2, 3]
    assert manifest_of(first.path)["parent"] is None
    named = manifest_of(third.path)["parent"]
    assert named["name"] == second.path.name
    assert named["fingerprint"] == manifest_of(second.path)["fingerprint"]
    assert named["manifest"] == digest_of(second.path / "manifest.json")["sha256"]


def test_an_edited_row_is_a_new_one_and_its_old_variants_go(place):
    seeds(place, 6)
    first = grow()
    rows = lines(place)
    rows[2]["answer"] = "改过的回答。"
    write(place, rows)
    second = grow()
    old = curated(first).filter(pl.col("generator") == "seed")["id"].to_list()
    new = curated(second).filter(pl.col("generator") == "seed")["id"].to_list()
    (gone,) = set(old) - set(new)
    (came,) = set(new) - set(old)
    parents = variants(second)["parents"].list.first()
    assert gone not in parents
    assert parents.to_list().count(came) == 3
    assert second.summary.counts["carried"] == 15


def test_a_removed_row_takes_its_variants_along(place):
    seeds(place, 6)
    grow()
    write(place, lines(place)[1:])
    second = grow()
    assert len(variants(second)) == 15
    assert second.summary.counts["requests_sent"] == 0


def test_what_is_carried_is_held_against_a_new_exam(place):
    seeds(place, 6)
    flags = {"filters": "contamination", "exam": "exam.jsonl"}

    def examine(question: str) -> Curated:
        (place / "exam.jsonl").write_text(json.dumps({"question": question, "answer": "甲"}, ensure_ascii=False))
        return grow(**flags)

    first = examine("完全不同的另一个问题啊")
    asked = [row["question"] for row in lines(place)]
    made = variants(first)["prompt"]
    windows = (text[i : i + 14] for text in made for i in range(len(text) - 13))
    spoken = next(one for one in windows if not any(one[i : i + 6] in each for each in asked for i in range(9)))
    hit = made.filter(made.str.contains(spoken, literal=True))
    second = examine(spoken)
    assert not variants(second)["prompt"].str.contains(spoken, literal=True).any()
    assert second.summary.counts["carried"] == 18 - len(hit) < 18
    assert len(variants(second)) == 18, "a seed that lost one is given another"
    rejected = pl.read_parquet(second.path / "rejected.parquet")
    assert set(hit) <= set(rejected.filter(pl.col("dropped_by") == "contamination")["prompt"])


def test_a_seed_goes_on_with_candidates_after_those_it_has(place):
    seeds(place, 4)
    first = grow()
    plan = plan_of(source="seeds.jsonl", n="3x", incremental=True)
    frame = pl.concat(carried(plan))
    whole = variants(first).select("id", "variant")
    assert frame.select("id", "variant").equals(whole)
    assert frame["_candidate"].to_list() == [0, 1, 2] * 4


def test_candidate_numbers_are_those_of_the_turns(place):
    seeds(place, 4)
    flags = {"source": "seeds.jsonl", "n": "7x", "generators": "paraphrase,persona:2,answer"}
    made = curate(plan_of(**flags, incremental=True))
    plan = plan_of(**flags, incremental=True)
    frame = pl.concat(carried(plan))
    assert frame["_candidate"].to_list() == list(range(7)) * 4
    for generator, k, candidate in frame.select("generator", "variant", "_candidate").iter_rows():
        one, number = plan.turn(candidate)
        assert (one.name, number) == (generator, k)
    assert made.summary.counts["kept"] == 28


def test_another_recipe_or_model_is_another_line(place):
    seeds(place, 5)
    grow()
    assert plan_of(source="seeds.jsonl", n="3x", incremental=True).parent is not None
    assert plan_of(source="seeds.jsonl", n="4x", incremental=True).parent is None
    assert plan_of(source="seeds.jsonl", n="3x", incremental=True, llm="echo:other").parent is None
    assert plan_of(source="seeds.jsonl", n="3x").parent is None


def test_a_run_made_without_the_flag_can_be_grown(place):
    seeds(place, 5)
    first = curate(plan_of(source="seeds.jsonl", n="3x"))
    parent = plan_of(source="seeds.jsonl", n="3x", incremental=True).parent
    assert parent is not None
    assert parent.folder == first.path


def test_without_seeds_it_grows_too(place):
    seeds(place, 5)
    grow(without_seeds=True)
    more(place, 6)
    second = grow(without_seeds=True)
    assert second.summary.counts["carried"] == 15
    assert len(curated(second)) == 18


def test_a_parent_that_was_tampered_with_is_refused(place):
    seeds(place, 5)
    first = grow()
    (first.path / "curated/train.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="is not the file that"):
        plan_of(source="seeds.jsonl", n="3x", incremental=True)


def test_a_parent_of_several_row_groups_is_carried_over_in_order(place, monkeypatch):
    monkeypatch.setattr("augment.publish.BLOCK", 5)
    monkeypatch.setattr("augment.lineage.BLOCK", 7)
    seeds(place, 20)
    first = grow()
    more(place, 25)
    second = grow()
    assert variants(second)["id"].to_list()[:60] == variants(first)["id"].to_list()
    parents = variants(second)["parents"].list.first().to_list()
    assert parents == [each for each in curated(second).filter(pl.col("generator") == "seed")["id"] for _ in range(3)]


@pytest.mark.parametrize(
    ("words", "said"), [(("--n", "30"), "needs variants for each seed, not 30"), (("--out", "x"), "leave out --out x")]
)
def test_what_does_not_go_with_versions_is_refused(place, augment, words, said):
    seeds(place, 5)
    ran = augment("text", "--source", "seeds.jsonl", "--incremental", "--generators", "rules", *words)
    assert ran.code == 2
    assert said in ran.err


def test_the_command_says_that_there_is_nothing_new_and_publishes_nothing(place, augment):
    seeds(place, 5)
    words = ("text", "--source", "seeds.jsonl", "--n", "2x", "--incremental")
    first = augment(*words)
    runs = sorted((place / "runs").iterdir())
    again = augment(*words)
    assert again.code == 0
    assert "nothing new since version 1" in again.out
    assert again.out.splitlines()[-1] == first.out.splitlines()[-1]
    assert sorted((place / "runs").iterdir()) == runs
    told = json.loads(augment(*words, "--json").out)
    assert told == {"nothing_new": True, "version": 1, "path": first.out.splitlines()[-1]}


def test_only_the_new_rows_reach_the_server(place, augment):
    seeds(place, 8)
    with serve() as server:
        words = ("text", "--source", "seeds.jsonl", "--n", "2x", "--llm", "openai", "--base-url", server.url)
        assert augment(*words, "--incremental").code == 0
        before = len(server.log())
        (place / "home").rename(place / "lost")  # the reply store is not what keeps satisfied seeds from being asked
        more(place, 9)
        ran = augment(*words, "--incremental")
        assert ran.code == 0
        assert "16 carried over" in ran.out
        asked = len(server.log()) - before
    assert 2 <= asked <= 6
