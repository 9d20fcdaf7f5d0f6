"""What changed between two runs: every row goes somewhere, what moved is named, what did not is not."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import polars as pl
import pytest
from rich.cells import cell_len
from rich.console import Console

from augment.diff import compare
from augment.diff.view import print_diff
from augment.pipeline import curate
from augment.records import SCHEMA, VERDICT
from tests.test_pipeline import plan_of, seeds

Rows = list[dict[str, str | None]]


@pytest.fixture
def rows(place) -> Rows:
    """Ten questions with an answer each."""
    return [json.loads(line) for line in (place / seeds(place, 10)).read_text().splitlines()]


def make(rows: Rows, name: str, **flags: object) -> Path:
    """A run of those rows: two variants each, unless the flags say otherwise."""
    Path("seeds.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    return curate(plan_of(**{"source": "seeds.jsonl", "n": "2x", "out": Path("runs") / name, **flags})).path


def write(name: str, rows: list[dict], rejected: list[dict] | None = None, **scores: list) -> Path:
    """A run folder that holds exactly these rows and scores, as one that was published long ago would."""
    folder = Path("runs") / name
    (folder / "curated").mkdir(parents=True)
    defaults = {"parents": [], "generator": "seed", "variant": 0, "prompt": "问", "source": "s"}
    lines = [{**dict.fromkeys(SCHEMA), **defaults, **row} for row in rows]
    frame = pl.DataFrame(lines, schema=SCHEMA).with_columns(pl.Series(key, value) for key, value in scores.items())
    frame.write_parquet(folder / "curated/train.parquet")
    lines = [{**dict.fromkeys({**SCHEMA, **VERDICT}), **row} for row in rejected or []]
    pl.DataFrame(lines, schema={**SCHEMA, **VERDICT}).write_parquet(folder / "rejected.parquet")
    manifest = {"fingerprint": name, "source": {"name": "s", "fingerprint": name}, "files": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def shown(found: dict, width: int | None = None) -> str:
    """The comparison on a terminal of that width, or piped."""
    seen = io.StringIO()
    terminal = width is not None
    print_diff(found, Console(file=seen, force_terminal=terminal, color_system=None, width=width or 80))
    return seen.getvalue()


def account(found: dict, kind: str) -> tuple[int, ...]:
    """Unchanged, changed, added, removed; the sums are checked on the way."""
    counts = found[kind]
    assert counts["before"] == counts["unchanged"] + counts["changed"] + counts["removed"]
    assert counts["after"] == counts["unchanged"] + counts["changed"] + counts["added"]
    return tuple(counts[name] for name in ("unchanged", "changed", "added", "removed"))


def seed(id: str, prompt: str | None, response: str | None = None, **rest: object) -> dict:
    return {"id": id, "prompt": prompt, "response": response, **rest}


def variant(id: str, parent: str, k: int, prompt: str, response: str | None = None, **rest: object) -> dict:
    origin = {"id": id, "parents": [parent], "generator": "rules", "variant": k}
    return {**origin, "prompt": prompt, "response": response, **rest}


def test_a_run_does_not_differ_from_itself_nor_from_the_same_run_again(augment, rows):
    make(rows, "a")
    make(rows, "b")
    for pair in (("a", "a"), ("a", "b"), ("runs/a", "b")):
        ran = augment("diff", *pair)
        assert ran.code == 0
        names = " and ".join(Path(each).name for each in pair)
        assert ran.out == f"nothing differs between {names}: the same 30 rows, scores and rejections\n"
    assert compare(Path("runs/a"), Path("runs/a"))["same"] is True


def test_rows_that_came_and_went_are_added_and_removed_with_their_variants(rows):
    old, new = make(rows[:9], "a"), make([*rows[2:9], rows[9]], "b")
    found = compare(old, new, examples=9)
    assert account(found, "seeds") == (7, 0, 1, 2)
    assert account(found, "variants") == (14, 0, 2, 4)
    assert account(found, "rows") == (21, 0, 3, 6)
    added = [each["new"]["prompt"] for each in found["examples"]["added"]]
    assert added[0] == rows[9]["question"]
    assert len(added) == 3
    assert {each["old"]["prompt"] for each in found["examples"]["removed"]} >= {row["question"] for row in rows[:2]}


@pytest.mark.parametrize(
    ("edit", "fields"),
    [
        ({"question": "第0号：换了一个完全不同的问法来问"}, ["prompt"]),
        ({"answer": "换了一个完全不同的回答。"}, ["response"]),
        ({"label": "乙"}, ["label"]),
    ],
)
def test_an_edited_seed_and_its_variants_are_changed_not_removed_and_added(rows, edit, fields):
    old, new = make(rows, "a"), make([{**rows[0], **edit}, *rows[1:]], "b")
    found = compare(old, new)
    assert account(found, "seeds") == (9, 1, 0, 0)
    assert account(found, "variants") == (18, 2, 0, 0)
    first = found["examples"]["changed"][0]
    assert first["fields"] == fields
    assert first["old"]["prompt"] == rows[0]["question"]
    assert found["examples"]["changed"][1]["new"]["parents"] == [first["new"]["id"]]


def test_a_question_and_an_answer_that_both_changed_are_another_seed(rows):
    both = {"question": "一个从来没有出现过的问题", "answer": "一个从来没有出现过的回答。", "label": "甲"}
    found = compare(make(rows, "a"), make([both, *rows[1:]], "b"))
    assert account(found, "seeds") == (9, 0, 1, 1)
    assert account(found, "variants") == (18, 0, 2, 2)


def test_questions_are_matched_by_their_folded_form(place):
    old = write("a", [seed("1", "血压高，怎么办？", "甲")])
    new = write("b", [seed("2", "血壓高 怎麼辦", "乙")])
    assert account(compare(old, new), "seeds") == (0, 1, 0, 0)


def test_an_answer_that_several_seeds_share_matches_none(place):
    old = write("a", [seed("1", "问甲", "是"), seed("2", "问乙", "是"), seed("3", "问丙", "独有的回答")])
    new = write("b", [seed("4", "问丁", "是"), seed("2", "问乙", "是"), seed("5", "问戊", "独有的回答")])
    found = compare(old, new)
    assert account(found, "seeds") == (1, 1, 1, 1)
    assert found["examples"]["changed"][0]["old"]["id"] == "3"


def test_seeds_without_an_answer_are_not_matched_by_its_absence(place):
    found = compare(write("a", [seed("1", "问甲")]), write("b", [seed("2", "问乙")]))
    assert account(found, "seeds") == (0, 0, 1, 1)


def test_rows_without_a_question_are_not_matched_by_its_absence(place):
    found = compare(write("a", [seed("1", None, image="x")]), write("b", [seed("2", None, image="y")]))
    assert account(found, "seeds") == (0, 0, 1, 1)


def test_seeds_of_one_question_are_matched_one_to_one_same_answers_first(place):
    old = write("a", [seed("1", "问", "甲", label="x"), seed("2", "问", "乙", label="x"), seed("3", "问", "丙")])
    new = write("b", [seed("4", "问", "乙", label="y"), seed("5", "问！", "甲", label="x")])
    found = compare(old, new)
    assert account(found, "seeds") == (0, 2, 0, 1)
    pairs = {(each["old"]["id"], each["new"]["id"]) for each in found["examples"]["changed"]}
    assert pairs == {("1", "5"), ("2", "4")}
    assert found["examples"]["removed"][0]["old"]["id"] == "3"


def test_seeds_of_one_question_and_no_common_answer_are_matched_in_file_order(place):
    old = write("a", [seed("1", "问", "甲"), seed("2", "问", "乙"), variant("5", "2", 0, "变")])
    new = write("b", [seed("3", "问", "丙"), seed("4", "问", "丁"), variant("6", "4", 0, "体")])
    found = compare(old, new, examples=9)
    assert account(found, "seeds") == (0, 2, 0, 0)
    pairs = {(each["old"]["id"], each["new"]["id"]) for each in found["examples"]["changed"]}
    assert pairs == {("1", "3"), ("2", "4"), ("5", "6")}


def test_a_variant_that_an_edited_seed_left_as_it_was_is_unchanged(place):
    old = write("a", [seed("1", "问", "甲"), variant("2", "1", 0, "变", "新写"), variant("3", "1", 1, "体", "甲")])
    new = write("b", [seed("4", "问", "乙"), variant("5", "4", 0, "变", "新写"), variant("6", "4", 1, "体", "乙")])
    found = compare(old, new)
    assert account(found, "variants") == (1, 1, 0, 0)
    assert found["variants"]["rescored"] == found["variants"]["remade"] == 0


def test_a_variant_is_told_by_seed_generator_and_number(place):
    base = [seed("1", "问"), seed("9", "另")]
    old = write("a", [*base, variant("2", "1", 0, "变"), variant("3", "1", 1, "体")])
    new = write("b", [*base, variant("4", "1", 0, "换"), variant("5", "1", 2, "体"), variant("6", "9", 1, "体")])
    found = compare(old, new)
    assert account(found, "variants") == (0, 1, 2, 1)
    other = write("c", [*base, {**variant("7", "1", 0, "变"), "generator": "persona"}])
    assert account(compare(old, other), "variants") == (0, 0, 1, 2)


def test_a_label_that_is_no_part_of_the_id_is_a_change_too(place):
    old = write("a", [seed("1", "问"), variant("2", "1", 0, "变", label="x")])
    found = compare(old, write("b", [seed("1", "问"), variant("2", "1", 0, "变", label="y")]))
    assert account(found, "variants") == (0, 1, 0, 0)
    assert found["examples"]["changed"][0]["fields"] == ["label"]
    assert "label     x → y" in shown(found)


def test_a_row_that_stands_twice_is_counted_twice(place):
    old = write("a", [seed("1", "问"), seed("1", "问"), seed("1", "问")])
    assert account(compare(old, write("b", [seed("1", "问"), seed("1", "问")])), "seeds") == (2, 0, 0, 1)


def test_runs_without_seeds_are_compared_by_their_variants(rows):
    old = make(rows, "a", without_seeds=True)
    new = make(rows, "b", without_seeds=True, n="3x")
    found = compare(old, new)
    assert account(found, "seeds") == (0, 0, 0, 0)
    assert account(found, "variants") == (20, 0, 10, 0)


def test_other_scores_are_rescored_and_another_maker_is_remade(place):
    some = [seed("1", "问"), seed("2", "问二"), seed("3", "问三")]
    old = write("a", some, s=[1.0, None, float("nan")], t=["x", "y", "z"])
    again = compare(old, write("b", some, s=[1.0, None, float("nan")], t=["x", "y", "z"]))
    assert again["same"]
    new = write("c", [some[0], {**some[1], "model": "m"}, some[2]], s=[1.5, None, float("nan")], t=["x", "y", "w"])
    found = compare(old, new)
    assert (found["rows"]["unchanged"], found["rows"]["rescored"], found["rows"]["remade"]) == (3, 2, 1)
    assert not found["same"]
    assert "of the unchanged, 2 have other scores and 1 were made by another model" in shown(found)


def test_a_score_of_another_type_is_compared_by_value(place):
    old = write("a", [seed("1", "问")], s=[1])
    assert compare(old, write("b", [seed("1", "问")], s=[1.0]))["rows"]["rescored"] == 0
    assert compare(old, write("c", [seed("1", "问")], s=["1.5"]))["rows"]["rescored"] == 1


def test_labels_shift_by_counts_shares_and_distance(place):
    old = write("a", [seed(str(i), f"问{i}", label="x" if i < 3 else None) for i in range(4)])
    new = write("b", [seed(str(i), f"问{i}", label="y" if i < 1 else "x" if i < 3 else None) for i in range(4)])
    found = compare(old, new)["labels"]
    assert found["distance"] == pytest.approx(0.25)
    by_name = {each["label"]: each for each in found["labels"]}
    assert (by_name["x"]["before"], by_name["x"]["after"]) == (3, 2)
    assert (by_name["x"]["share_before"], by_name["y"]["share_after"]) == (0.75, 0.25)
    said = shown(compare(old, new))
    assert re.search(r"^x +3 +75\.0% +2 +50\.0% +-25\.0 points$", said, re.MULTILINE)
    assert "(none)" not in said, "a label that did not move is not shown"
    assert "total variation distance 0.2500; 1 label as before" in said


def test_ten_labels_are_shown_and_the_rest_is_summed(place):
    old = write("a", [seed("0", "问", label="x")])
    new = write("b", [seed(str(i), f"问{i}", label=f"l{i:02}") for i in range(14)])
    said = shown(compare(old, new, 0))
    assert len(re.findall(r"^l\d\d", said, re.MULTILINE)) == 9
    assert re.search(r"^5 more +0 +0\.0% +5 +35\.7% +\+35\.7 points$", said, re.MULTILINE)


def test_lengths_shift_by_median_mean_and_p90_in_characters(place):
    old = write("a", [seed(str(i), "问" * (i + 1), None) for i in range(11)])
    new = write("b", [seed(str(i), "问" * (i + 3), "答") for i in range(11)])
    found = compare(old, new)["lengths"]
    assert found["prompt"]["before"] == {"n": 11, "mean": 6, "median": 6, "p10": 2, "p90": 10}
    assert found["prompt"]["by"] == {"n": 0, "mean": 2, "median": 2, "p10": 2, "p90": 2}
    assert (found["response"]["before"]["mean"], found["response"]["by"]["mean"]) == (None, None)
    said = shown(compare(old, new))
    assert re.search(r"prompt +before +11 +6 +6 +10\n +after +11 +8 +8 +12\n +by +0 +\+2 +\+2 +\+2\n", said)
    assert re.search(r"response +before +0 +- +- +-\n +after +11 +1 +1 +1\n", said)


def test_scores_shift_and_those_of_one_run_are_named(place):
    some = [seed(str(i), f"问{i}") for i in range(11)]
    old = write(
        "a", some, s=[i / 10 for i in range(11)], yes=[True] * 5 + [False] * 5 + [None], gone=[1] * 11, still=[7] * 11
    )
    new = write("b", some, s=[i / 5 for i in range(11)], yes=[True] * 11, came=["x"] * 11, still=[7] * 11)
    found = compare(old, new)
    scores = found["scores"]
    assert scores["columns"]["s"]["before"] == pytest.approx(
        {"n": 11, "mean": 0.5, "median": 0.5, "p10": 0.1, "p90": 0.9}
    )
    assert scores["columns"]["s"]["after"]["p90"] == pytest.approx(1.8)
    assert scores["columns"]["yes"] == {"before": {"n": 10, "share_true": 0.5}, "after": {"n": 11, "share_true": 1.0}}
    assert (scores["only_old"], scores["only_new"]) == (["gone"], ["came"])
    said = shown(found)
    assert re.search(r"^s +before +11 +0\.5 +0\.5 +0\.1 +0\.9\n +after +11 +1 +1 +0\.2 +1\.8$", said, re.MULTILINE)
    assert re.search(r"^yes +before +10 +50\.0% true\n +after +11 +100\.0% true$", said, re.MULTILINE)
    assert "only OLD has gone" in said
    assert not re.search("^still", said, re.MULTILINE)
    assert "spread as before: 1 other score\n" in said
    assert "only NEW has came" in said


def test_null_and_nan_are_no_values_of_a_score(place):
    some = [seed(str(i), f"问{i}") for i in range(3)]
    spread = compare(write("a", some, s=[1.0, float("nan"), None]), write("b", some, s=[2.0, 4.0, None]))["scores"][
        "columns"
    ]
    assert spread["s"]["before"] == {"n": 1, "mean": 1, "median": 1, "p10": 1, "p90": 1}
    assert (spread["s"]["after"]["n"], spread["s"]["after"]["median"]) == (2, 3)


def test_a_score_column_more_is_a_difference_even_where_no_row_moved(place):
    old = write("a", [seed("1", "问")])
    found = compare(old, write("b", [seed("1", "问")], s=["x"]))
    assert not found["same"]
    assert found["rows"]["rescored"] == 0


def test_generators_are_counted_before_and_after(rows):
    found = compare(make(rows, "a"), make(rows, "b", generators="persona,paraphrase", n="4x"))
    counts = {each["generator"]: (each["before"], each["after"]) for each in found["generators"]}
    assert counts == {"persona": (20, 20), "paraphrase": (0, 20)}
    said = shown(found)
    assert re.search(r"^paraphrase +0 +20 +\+20$", said, re.MULTILINE)
    assert not re.search(r"^persona +20", said, re.MULTILINE)


def test_a_changed_threshold_shows_in_the_recipe_and_in_what_was_rejected(augment, rows):
    old = make(rows, "a", filters="length", set={"length": {"max_prompt": 40}})
    new = make(rows, "b", filters="length", set={"length": {"max_prompt": 30}})
    found = compare(old, new)
    change = {"key": "settings.length.max_prompt", "before": 40, "after": 30}
    assert found["recipe"] == [change]
    counts = {(each["dropped_by"], each["reason"]): each for each in found["rejected"]}
    moved = counts["length", "prompt too long"]
    assert moved["before"] == len(pl.read_parquet(old / "rejected.parquet"))
    assert moved["after"] == len(pl.read_parquet(new / "rejected.parquet")) > moved["before"]
    said = augment("diff", "a", "b").out
    assert "recipe: settings.length.max_prompt 40 → 30" in said
    assert re.search(rf"^length +prompt too long +{moved['before']} +{moved['after']} +\+\d+$", said, re.MULTILINE)


def test_failures_are_called_failed_and_other_rejected_rows_are_noticed(place):
    some = [seed("1", "问")]
    old = write("a", some, [{"id": "x", "dropped_by": "engine", "reason": "HTTP 400"}])
    other = compare(old, write("b", some, [{"id": "y", "dropped_by": "engine", "reason": "HTTP 400"}]))
    assert "as many for each reason, not the same rows" in shown(other)
    assert "rejected by" not in shown(other)
    gone = compare(old, write("c", some))
    assert re.search(r"^failed +HTTP 400 +1 +0 +-1$", shown(gone), re.MULTILINE)


def test_a_recipe_that_makes_the_same_rows_differs_in_the_recipe_alone(rows):
    found = compare(make(rows, "a"), make(rows, "b", max_attempts="4x"))
    assert found["same"]
    said = shown(found)
    assert "recipe: max_attempts 3.0 → 4.0" in said
    assert said.endswith("nothing else differs: the same 30 rows, scores and rejections\n")


def test_versions_are_told_in_one_line_in_either_direction(augment, rows):
    words = {"n": "1x", "incremental": True, "out": None}
    first, second, third = (make(rows[:count], "", **words) for count in (8, 9, 10))
    one, two, three = (each.name for each in (first, second, third))
    found = compare(first, second)["relation"]
    assert found == {"kind": "version", "steps": 1, "text": f"{two} (version 2) grew from {one} (version 1)"}
    assert compare(first, third)["relation"]["steps"] == 2
    assert compare(third, first)["relation"]["kind"] == "earlier version"
    said = augment("diff", one, three).out.splitlines()
    assert said[0] == f"{three} (version 3) grew from {one} (version 1)"


def test_without_versions_the_sources_are_compared(rows):
    first, other = make(rows, "a"), make(rows[:9], "b")
    same = make(rows, "c", n="3x")
    Path("other.jsonl").write_text(Path("seeds.jsonl").read_text() + "\n")
    Path("seeds.jsonl").rename("renamed.jsonl")
    renamed = make(rows, "d", source="other.jsonl", limit=4)
    assert compare(first, same)["relation"]["text"] == "the same source (seeds) with the same rows"
    assert compare(first, other)["relation"]["text"] == "the same source (seeds) with other rows"
    assert compare(other, renamed)["relation"]["kind"] == "different sources"


def test_a_manifest_without_any_word_on_versions_is_a_first_version(place):
    old, new = write("a", [seed("1", "问")]), write("b", [seed("2", "另一个")])
    found = compare(old, new)
    assert found["new"] == {"run": "b", "path": "runs/b", "version": 1}
    assert found["recipe"] == []


def test_examples_take_each_seed_before_any_seed_twice(rows):
    old = make(rows[:1], "a")
    found = compare(old, make(rows, "b"), examples=4)
    assert [each["new"]["generator"] for each in found["examples"]["added"]] == ["seed"] * 4
    assert compare(old, Path("runs/b"), examples=0)["examples"] == {"added": [], "removed": [], "changed": []}
    assert "added (4 of 27)" in shown(found)


def test_a_change_is_shown_in_its_text(rows):
    asked = rows[0]["question"]
    found = compare(make(rows, "a"), make([{**rows[0], "question": "请问" + asked}, *rows[1:]], "b"), examples=1)
    assert "prompt    {+请问+}第0号" in shown(found)


HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m 一\n二\r三\t{+四+} [red]五[/red] \u202e六 " + "长" * 10_000


def test_nothing_in_the_data_drives_the_terminal_or_fills_it(augment, place):
    old = write(
        "a",
        [seed("1", "问", HOSTILE, label=HOSTILE), seed("2", HOSTILE, "甲")],
        [{"id": "r", "dropped_by": "x", "reason": HOSTILE}],
    )
    new = write("b", [seed("3", "问", HOSTILE + "尾", label="y"), seed("4", HOSTILE + "另", "乙", label=HOSTILE)])
    for out in (augment("diff", "a", "b").out, shown(compare(old, new), 80), augment("diff", "a", "b", "--json").out):
        assert not set("\x1b\x07\x9b\r\t") & set(out)
        assert "\u202e" not in out or out.startswith("{")
    said = augment("diff", "a", "b").out
    assert max(map(len, said.splitlines())) < 300
    assert "[red]五[/red]" in said
    assert json.loads(augment("diff", "a", "b", "--json").out)["examples"]["removed"][0]["old"]["prompt"] == HOSTILE


def test_json_has_all_of_it_unrounded(augment, rows):
    old, new = make(rows[:9], "a", filters="length"), make(rows, "b", filters="length")
    told = json.loads(augment("diff", "a", "b", "--json", "--examples", "1").out)
    assert told == json.loads(json.dumps(compare(old, new, 1)))
    lengths = pl.read_parquet(new / "curated/train.parquet")["prompt"].str.len_chars()
    assert told["lengths"]["prompt"]["after"]["mean"] == lengths.mean()


def test_eighty_columns_hold_the_tables_and_the_examples(rows):
    found = compare(make(rows[:6], "a", filters="default"), make(rows[3:], "b", filters="default"))
    assert max(map(cell_len, shown(found, 80).splitlines())) <= 80


def test_what_is_piped_is_one_line_a_text(rows):
    rows[0]["answer"] = "字" * 59
    found = compare(make(rows[1:], "a"), make(rows, "b"))
    assert "response  " + "字" * 59 in shown(found)
    assert all(line == line.rstrip() for line in shown(found).splitlines())


def break_(name: str, folder: Path) -> None:
    path = folder / "curated/train.parquet"
    if name == "missing":
        path.unlink()
    elif name == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif name == "scrambled":
        whole = path.read_bytes()
        path.write_bytes(whole[:4] + bytes(each ^ 0x5A for each in whole[4:-2000]) + whole[-2000:])
    elif name == "text":
        path.write_text("no parquet\n\x1b[2J")
    elif name == "foreign":
        pl.DataFrame({"id": ["1"]}).write_parquet(path)
    elif name == "no rejected":
        (folder / "rejected.parquet").unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "curated/train.parquet is missing"),
        ("cut", "curated/train.parquet cannot be read"),
        ("scrambled", "curated/train.parquet cannot be read"),
        ("text", "curated/train.parquet cannot be read"),
        ("foreign", "lacks the column 'parents'"),
        ("no rejected", "rejected.parquet is missing"),
    ],
)
@pytest.mark.parametrize("side", ["a", "b"])
def test_a_damaged_run_is_one_line(augment, place, how, said, side):
    for name in ("a", "b"):
        write(name, [seed(str(i), f"问{i}", "答" * i) for i in range(2000)])
    break_(how, Path("runs") / side)
    ran = augment("diff", "a", "b")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert f"augment: runs/{side}/" in ran.err
    assert said in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "nowhere"), "no run 'nowhere', here or under runs/; known: a"),
        (("a", "runs/aa"), "no run 'runs/aa'"),
        (("a", "."), ". holds no finished run"),
    ],
)
def test_what_is_no_run_is_one_line(augment, place, words, said):
    write("a", [seed("1", "问")])
    ran = augment("diff", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert said in ran.err
