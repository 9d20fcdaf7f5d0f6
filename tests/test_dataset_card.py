from __future__ import annotations

from augment.dataset_card import command_of, dataset_card
from augment.summary import Summary
from tests.test_pipeline import plan_of, run, seeds


def test_the_command_names_every_choice_that_is_no_default(place):
    plan = plan_of(
        source=seeds(place),
        generators="persona:2,answer",
        filters="length",
        exam=seeds(place, 3, "e.jsonl"),
        limit=9,
        max_attempts="2x",
        holdout=0.2,
        seed=4,
        temperature=0.3,
        max_tokens=77,
        map={"prompt": "question"},
        set={"length": {"max_prompt": 99}},
        without_seeds=True,
    )
    words = command_of(plan.recipe)
    for part in (
        "--generators persona:2,answer",
        "--filters length",
        "--exam e.jsonl",
        "--limit 9",
        "--max-attempts 2.0",
        "--holdout 0.2",
        "--seed 4",
        "--temperature 0.3",
        "--max-tokens 77",
        "--map prompt=question",
        "--set length.max_prompt=99",
        "--without-seeds",
    ):
        assert part in words


def test_the_card_gives_the_licence_and_the_size_as_the_hub_spells_them(place):
    counts = run(source="sample", n="1x").summary.counts
    text = dataset_card(plan_of(source="sample"), Summary({**counts, "kept": 5000}))
    assert 'license: "apache-2.0"' in text
    assert '"1K<n<10K"' in text
