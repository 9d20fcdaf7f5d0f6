"""What is known of a licence goes with the data, from its source and models to the export; unknown stays unknown."""

from __future__ import annotations

import itertools
import json

import pytest

from augment.source_cards import Card
from augment.terms import families, family_of, terms_lines, terms_of, warning_of
from tests.server import serve
from tests.test_pipeline import plan_of, seeds


@pytest.mark.parametrize(
    ("model", "licence", "may"),
    [
        ("gpt-4o-mini", "OpenAI's terms of use", "restricted"),
        ("openai/gpt-oss-20b", "Apache-2.0", "yes"),
        ("Qwen/Qwen3-8B", "Apache-2.0", "yes"),
        ("Qwen/Qwen2.5-72B-Instruct", "Qwen licence of its version", "conditions"),
        ("Qwen/Qwen2.5-7B-Instruct", "Apache-2.0", "yes"),
        ("meta-llama/Llama-3.3-70B-Instruct", "Llama Community License of its version", "conditions"),
        ("meta-llama/Meta-Llama-3-8B", "Llama 2 or Llama 3 Community License", "restricted"),
        ("deepseek-ai/DeepSeek-R1", "MIT", "yes"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "MIT, and the Llama licence of its base", "conditions"),
        ("google/gemma-3-4b-it", "Gemma Terms of Use", "conditions"),
        ("zai-org/GLM-4.5-Air", "MIT", "yes"),
    ],
)
def test_a_family_is_found_by_its_name(model, licence, may):
    found = family_of(model)
    assert found is not None
    assert (found.licence, found.outputs_may_train) == (licence, may)


@pytest.mark.parametrize("model", ["", "test-model", "somebody/Qwen3-8B", "qwen-max", "ernie-4.0", "my-gpt-4o"])
def test_what_is_not_in_the_table_is_unknown(model):
    assert family_of(model) is None


def test_the_host_says_more_than_the_name():
    assert family_of("Qwen/Qwen3-8B", "api.anthropic.com").licence == "Anthropic's terms of service"
    assert family_of("Qwen/Qwen3-8B", "127.0.0.1").licence == "Apache-2.0"
    assert family_of("test-model", "api.openai.com.example.org") is None


def test_each_family_says_how_it_is_found_and_what_its_conditions_are():
    for each in families():
        assert bool(each.hosts) != bool(each.names and each.owners), each
        assert each.outputs_may_train == "yes" or each.note, each
        assert all(name == name.lower() for name in (*each.hosts, *each.names, *each.owners))
    for one, other in itertools.combinations(families(), 2):
        assert set(one.names).isdisjoint(other.names)


def test_a_plan_tells_of_its_source_and_its_model(place):
    assert terms_of(plan_of(source="sample"))["source"]["licence"] == "Apache-2.0"
    assert terms_of(plan_of(source="sample"))["models"] == [], "echo is no model"


def test_a_run_carries_terms_through_manifest_card_versions_and_export(augment, place):
    with serve(models="gpt-4o") as server:
        words = ("--llm", "openai:gpt-4o", "--base-url", server.url, "--n", "1x", "--filters", "none", "--out", "r")
        assert augment("text", "--source", seeds(place, 4), *words).code == 0
    terms = json.loads((place / "r/manifest.json").read_text())["terms"]
    assert terms["source"] == {"name": "seeds", "licence": "unknown", "note": ""}
    assert [(each["model"], each["outputs_may_train"]) for each in terms["models"]] == [("gpt-4o", "restricted")]
    for line in terms_lines(terms):
        assert line in (place / "r/README.md").read_text().splitlines()
    done = augment("export", "r", "--format", "chatml", "--out", "c")
    assert done.code == 0
    assert done.err == (
        "note: read the terms before you train on it: gpt-4o is under OpenAI's terms of use, not for training every "
        "other model (output may not be used to develop models that compete with OpenAI)\n"
    )
    assert augment("filter", "r", "--filters", "length", "--out", "f").code == 0
    assert json.loads((place / "f/manifest.json").read_text())["terms"] == terms
    assert "* Model gpt-4o: OpenAI's terms of use, " in (place / "f/README.md").read_text()
    again = ("--source", "r", "--generators", "rules", "--n", "1x", "--filters", "none", "--out", "s")
    assert augment("text", *again).code == 0
    assert json.loads((place / "s/manifest.json").read_text())["terms"] == terms, "what was made of it stays under it"


def test_an_export_of_what_may_be_trained_on_or_is_unknown_says_nothing(augment, place):
    augment(
        "text", "--source", seeds(place, 4), "--generators", "rules", "--n", "1x", "--filters", "none", "--out", "r"
    )
    assert augment("export", "r", "--format", "chatml", "--out", "c").err == ""
    manifest = json.loads((place / "r/manifest.json").read_text())
    del manifest["terms"]  # a run of an earlier version
    (place / "r/manifest.json").write_text(json.dumps(manifest))
    assert augment("export", "r", "--format", "alpaca", "--out", "c").err == ""


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("cc-by-nc-4.0", "not for commercial use"),
        ("CC BY-NC-ND 4.0", "not for commercial use, no derivatives"),
        ("cc-by-4.0", ""),
        ("unknown", ""),
        ("Apache-2.0", ""),
    ],
)
def test_a_sources_licence_that_restricts_is_warned_of(licence, said):
    told = warning_of({"source": {"name": "x", "licence": licence, "note": ""}, "models": []})
    assert told == (f"read the terms before you train on it: source x is under {licence}: {said}" if said else "")
    assert Card().licence == "unknown"


def test_pictures_carry_terms_too(augment, place):
    words = ("--source", "sample-images", "--limit", 3, "--n", "1x", "--filters", "none", "--holdout", "0")
    assert augment("image", *words, "--generators", "classical", "--out", "r").code == 0
    manifest = json.loads((place / "r/manifest.json").read_text())
    assert manifest["terms"]["source"]["licence"] == "Apache-2.0"
    assert "* No model was asked." in (place / "r/README.md").read_text()
    told = {"engine": "diffusers", "model": "m", "licence": "RAIL", "outputs_may_train": "unclear", "note": ""}
    manifest["terms"]["models"] = [told]
    (place / "r/manifest.json").write_text(json.dumps(manifest))
    done = augment("export", "r", "--format", "imagefolder", "--out", "e")
    assert done.code == 0
    assert "m is under RAIL, whether others may be trained on what it makes is unclear" in done.err
