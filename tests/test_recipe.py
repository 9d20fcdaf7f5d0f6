from __future__ import annotations

from functools import partial

import pytest

from augment.errors import RecipeError
from augment.recipe import read_recipe, read_schedule, verb_of
from finetune.evaluation.recipe import read_evaluation_recipe
from finetune.recipe import read_finetune_recipe


def test_flags_win_over_the_file(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('source = "sample"\nn = "2x"\nseed = 3\n[set.near_dup]\nthreshold = 0.8\n')
    recipe = read_recipe({"n": "4x", "seed": None}, file)
    assert (recipe.n, recipe.seed, recipe.name) == ("4x", 3, "r")
    assert recipe.settings == {"near_dup": {"threshold": 0.8}}


def test_an_unknown_key_is_named_with_the_nearest(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('source = "sample"\ngenerator = "rules"\n')
    with pytest.raises(RecipeError, match="no recipe key 'generator'; did you mean generators"):
        read_recipe({}, file)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"n": "0x"}, "n: '0x' is no amount; write 5x"),
        ({"n": "many"}, "'many' is no amount"),
        ({"max_attempts": "lots"}, "max-attempts: 'lots' is no factor"),
        ({"holdout": "1.5"}, "holdout"),
        ({"concurrency": 0}, "concurrency.*0"),
        ({"temperature": 9}, "temperature.*9"),
        ({"source": ""}, "no source given"),
    ],
)
def test_a_bad_value_is_named_in_one_line(flags, said):
    with pytest.raises(RecipeError, match=said) as caught:
        read_recipe({"source": "sample", **flags})
    assert "\n" not in str(caught.value)


def test_weights_are_read_and_checked():
    assert read_recipe({"source": "s", "generators": "paraphrase,persona:2"}).weights() == {
        "paraphrase": 1,
        "persona": 2,
    }
    with pytest.raises(RecipeError, match="persona:0"):
        read_recipe({"source": "s", "generators": "persona:0"}).weights()


def test_without_an_llm_the_embedded_default_is_rules():
    assert read_recipe({"source": "s"}).weights() == {"rules": 1}
    assert read_recipe({"source": "s", "llm": "openai:m"}).weights() == {"paraphrase": 1}


def test_a_share_may_be_written_in_percent():
    assert read_recipe({"source": "s", "holdout": "20%"}).holdout == 0.2


def test_broken_toml_and_a_missing_file_are_said(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text("source = ")
    with pytest.raises(RecipeError, match="not valid TOML"):
        read_recipe({}, file)
    with pytest.raises(RecipeError, match="no recipe file"):
        read_recipe({}, tmp_path / "gone.toml")


def test_a_generator_named_twice_is_said():
    with pytest.raises(RecipeError, match="named twice"):
        read_recipe({"source": "s", "generators": "rules,rules:2"}).weights()


READERS = {
    "text": partial(read_recipe, {}, modality="text"),
    "image": partial(read_recipe, {}, modality="image"),
    "finetune": partial(read_finetune_recipe, {"base": "b", "data": "d"}),
    "evaluate": partial(read_evaluation_recipe, {"answers": "a.csv"}),
}


@pytest.mark.parametrize("verb", READERS)
def test_a_recipe_file_says_its_verb_and_is_refused_by_the_others(tmp_path, verb):
    file = tmp_path / "r.toml"
    file.write_text(f'verb = "{verb}"\n' + ('source = "sample"\n' if verb in ("text", "image") else ""))
    assert READERS[verb](file).name == "r"
    for other in READERS.keys() - {verb}:
        with pytest.raises(RecipeError) as caught:
            READERS[other](file)
        assert str(caught.value) == f"recipe {file} is for augment {verb}, not augment {other}; run that"


def test_two_verbs_in_a_file_or_none_at_all_are_one_line(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('source = "sample"\nverb = "text"\nmodality = "image"\n')
    with pytest.raises(RecipeError, match="'text' and 'image' as verb or modality is not one verb"):
        read_recipe({}, file)
    file.write_text('base = "b"\ndata = "d"\n')
    with pytest.raises(RecipeError, match="does not say what it is for"):
        verb_of(file)
    file.write_text('source = "sample"\n')
    assert verb_of(file) == "text"


def test_a_word_as_schedule_is_the_learning_rates_and_a_table_says_when_to_run(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('base = "b"\ndata = "d"\nschedule = "linear"\n')
    assert read_finetune_recipe({}, file).schedule == "linear"
    assert read_schedule({"cron": "0 2 * * *"}, file).cron == "0 2 * * *"
    file.write_text('base = "b"\ndata = "d"\n[schedule]\ncron = "0 3 * * *"\n')
    assert read_finetune_recipe({}, file).schedule == "cosine"
    assert read_schedule({}, file).cron == "0 3 * * *"
    file.write_text('source = "sample"\nschedule = "0 2 * * *"\n')
    with pytest.raises(RecipeError, match="schedule is no table; write"):
        read_recipe({}, file)
