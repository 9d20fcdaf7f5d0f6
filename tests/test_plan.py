"""What a recipe resolves to: whose turn each candidate is, the sampling asked for, and the run's identity."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from augment.errors import RecipeError, RunError
from augment.generators.persona import Persona
from augment.plan import _turns
from tests.test_pipeline import plan_of, run, seeds, variants


def test_turns_are_spread_evenly_and_the_first_named_goes_first():
    assert _turns([2, 1]) == (0, 1, 0)
    assert _turns([1, 1]) == (0, 1)


def test_whose_turn_a_candidate_is_does_not_depend_on_n(place):
    source = seeds(place)
    turns = []
    for n in ("2x", "4x", "7x", "50"):
        plan = plan_of(source=source, n=n, generators="persona:2,paraphrase,answer")
        turns.append([(generator.name, k) for generator, k in map(plan.turn, range(8))])
    assert all(each == turns[0] for each in turns)


def test_the_recipes_sampling_is_asked_for_and_recorded(place):
    done = run(source=seeds(place), n="1x", temperature=0.3, max_tokens=777)
    asked = {(each["temperature"], each["max_tokens"]) for each in map(json.loads, variants(done)["params"])}
    assert asked == {(0.3, 777)}


def test_an_edited_source_makes_another_run(place):
    file = Path(seeds(place))
    run(source=file.name, n="1x", out=place / "r")
    file.write_text(file.read_text().replace("第7号", "第七号"))
    with pytest.raises(RunError, match="holds another run"):
        run(source=file.name, n="1x", out=place / "r")


def test_another_revision_of_the_model_makes_another_run(place):
    plan = plan_of(source=seeds(place))
    first, second = (
        dataclasses.replace(plan, engine=SimpleNamespace(name="e", model="m", revision=revision)) for revision in "12"
    )
    assert first.fingerprint != second.fingerprint


def test_how_fast_and_where_a_run_is_made_does_not_make_another(place):
    source = seeds(place)
    elsewhere = plan_of(source=source, concurrency=1, timeout=5, out="x")
    assert elsewhere.fingerprint == plan_of(source=source).fingerprint


def test_a_column_that_a_generator_needs_and_the_source_lacks_is_named(place, monkeypatch):
    monkeypatch.setattr(Persona, "needs", ("image",))
    with pytest.raises(RecipeError, match="needs the column 'image'"):
        plan_of(source=seeds(place))


def test_only_generators_that_add_facts_are_allowed_new_ones(place):
    plan = plan_of(source=seeds(place), generators="persona,paraphrase,answer")
    assert plan.context().adds_facts == {"persona"}
