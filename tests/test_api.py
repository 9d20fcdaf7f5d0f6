"""augment in Python: the words of the command, and a finished run as an object."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import augment as api
from augment import engines
from augment.errors import RecipeError, RunError, SourceError
from augment.recipe import RECIPES
from tests.server import serve
from tests.test_pipeline import seeds

ROOT = Path(__file__).parent.parent


def test_importing_augment_imports_nothing_but_itself():
    code = "import sys, augment; print([name for name in sys.modules if name.startswith('augment')], 'polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "['augment'] False"


def test_what_is_lazy_is_there_and_nothing_else_is():
    assert {"text", "image", "paired", "Run", "AugmentError", "__version__"} <= set(dir(api))
    assert set(api.__all__) <= set(dir(api))
    assert engines.TABLE.kind == "engine"
    with pytest.raises(AttributeError, match="no attribute 'txt'"):
        _ = api.txt


@pytest.mark.parametrize("modality", ["text", "image", "paired"])
def test_each_call_names_every_key_of_its_recipe(modality):
    named = inspect.signature(getattr(api, modality)).parameters
    keys = {field.alias or name for name, field in RECIPES[modality].model_fields.items()}
    assert set(named) == keys | {"recipe", "progress"}


def test_text_makes_what_the_command_makes(place, augment):
    source = seeds(place, 6)
    assert augment("text", "--source", source, "--n", "3x", "--set", "near_dup.threshold=0.5", "--out", "cli").code == 0
    run = api.text(source=source, n="3x", llm=None, set={"near_dup": {"threshold": 0.5}}, out=place / "called")
    assert run.path == place / "called"
    assert (place / "cli/curated/train.parquet").read_bytes() == (run.path / "curated/train.parquet").read_bytes()


def test_nothing_is_printed_unless_progress_is_wanted(place, capfd):
    source = seeds(place, 4)
    api.text(source, n="2x", out="quiet")
    assert capfd.readouterr() == ("", "")
    api.text(source, n="2x", out="told", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "no --llm given: using the generator `rules`" in err


def test_a_run_is_opened_by_folder_or_name_and_holds_what_its_files_hold(place):
    made = api.text(source="sample", n="2x", set={"near_dup": {"threshold": 0.5}})
    run = api.Run.open(made.path.name)
    assert run == api.Run.open(str(made.path)) == api.Run.open(made.path) == made
    assert run.curated.equals(pl.read_parquet(run.path / "curated/train.parquet"))
    assert run.rejected.equals(pl.read_parquet(run.path / "rejected.parquet"))
    assert len(run.curated) == run.summary["seeds"] + run.summary["kept"]
    assert len(run.rejected.filter(pl.col("dropped_by") == "near_dup")) > 0
    variant = run.curated.filter(pl.col("generator") == "rules").row(0, named=True)
    assert run.explain(variant["id"][:12])["content"]["prompt"] == variant["prompt"]
    done = run.export("chatml", place / "train")
    assert done.rows == len(run.curated)
    assert len(done.path.read_text("utf-8").splitlines()) == done.rows


def test_a_recipe_file_is_read_and_keys_win_over_it(place):
    source = seeds(place, 4)
    Path("mine.toml").write_text(f'source = "{source}"\nn = "1x"\nseed = 7\n')
    assert api.text(recipe="mine.toml", out="as-written").summary["kept"] == 4
    assert api.text(recipe=Path("mine.toml"), n="2x", out="more").summary["kept"] == 8


def test_columns_are_mapped_as_on_the_command_line(place):
    Path("other.csv").write_text("query,answer\n血压150/95要马上吃药吗,先复测再就医\n", "utf-8")
    for columns in ("prompt=query,response=answer", {"prompt": "query", "response": "answer"}):
        run = api.text(Path("other.csv"), n="1x", map=columns, out="mapped", overwrite=True)
        assert run.curated["response"].to_list() == ["先复测再就医"] * 2


def test_incremental_with_nothing_new_is_the_run_that_is_there(place):
    source = seeds(place, 4)
    first = api.text(source, n="1x", incremental=True)
    assert api.text(source, n="1x", incremental=True).path.resolve() == first.path.resolve()


def test_pictures_and_pairs(place):
    run = api.image(source="sample-images", n="1x", limit=3)
    assert run.summary["kept"] == 3
    drawn = run.curated.filter(pl.col("generator") != "seed")["image"]
    assert all((run.path / "curated" / name).is_file() for name in drawn) and len(drawn) == 3
    assert api.paired(source="sample-images", n="1x", limit=3).summary["seeds"] == 3


def test_an_llm_is_asked_also_inside_a_running_loop_as_in_a_notebook(place):
    source = seeds(place, 3)
    with serve() as server:

        async def cell():
            return api.text(source, n="1x", llm="openai:test-model", base_url=server.url, filters="none", out="asked")

        run = asyncio.run(cell())
        assert run.summary["requests_sent"] == server.stats()["calls"] > 0


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: api.text(), RecipeError, "no source given"),
        (lambda: api.text("sample", treshold=1), RecipeError, "no recipe key 'treshold'"),
        (lambda: api.text("sample", n="many"), RecipeError, "'many' is no amount"),
        (lambda: api.text("nowhere.csv"), SourceError, "nowhere.csv"),
        (lambda: api.text("sample", set={"near_dup": {"treshold": 1}}), RecipeError, "threshold"),
        (lambda: api.text(recipe="none.toml"), RecipeError, "no recipe file none.toml"),
        (lambda: api.Run.open("nothing"), RunError, "no run 'nothing'"),
    ],
)
def test_errors_are_those_of_the_command(place, call, error, said):
    assert issubclass(error, api.AugmentError)
    with pytest.raises(error, match=said):
        call()


def test_a_broken_run_says_which_file(place):
    run = api.text("sample", n="1x", limit=2, out="run")
    (run.path / "summary.json").write_text("{")
    (run.path / "rejected.parquet").unlink()
    again = api.Run.open("run")
    with pytest.raises(RunError, match=r"cannot read run/summary\.json"):
        _ = again.summary
    with pytest.raises(RunError, match=r"cannot read run/rejected\.parquet"):
        _ = again.rejected
    (run.path / "manifest.json").unlink()
    with pytest.raises(RunError, match="no finished run"):
        api.Run.open("run")
