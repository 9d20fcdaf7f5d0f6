from __future__ import annotations

import pytest

from augment.errors import RecipeError
from augment.recipe import read_recipe


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
