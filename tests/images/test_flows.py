"""`augment image` and `augment paired` as Prefect flows: the same run, under their own names."""

from __future__ import annotations

import re

import pytest

from tests.prefect_server import Server
from tests.test_resume import bytes_of


@pytest.mark.parametrize(("verb", "n"), [("image", "1x"), ("paired", "2x")])
def test_a_flow_of_pictures_is_the_same_run(prefect: Server, tmp_path, verb, n):
    words = (verb, "--source", "sample-images", "--n", n, "--limit", "10", "--filters", "none", "--out", "r")
    words = (*words, "--generators", "classical,img2img", "--engine", "noise", "--size", "64")
    for name in ("flow", "plain"):
        (tmp_path / name).mkdir()
    flow = prefect.command(tmp_path / "flow", *words)
    plain = prefect.command(tmp_path / "plain", *words, "--no-prefect")
    assert flow.end() == 0, flow.err
    assert plain.end() == 0, plain.err
    assert bytes_of(tmp_path / "flow") == bytes_of(tmp_path / "plain")
    run = prefect.only_run(re.findall(r"Beginning flow run '(.+?)'", flow.err)[0])
    assert run["name"] == f"sample-images {n}"
    assert run["state_name"] == "Completed"


def test_a_recipe_of_pictures_is_served_as_its_own_flow(tmp_path):
    from flows.schedules import deployment, read_served

    recipe = tmp_path / "nightly.toml"
    recipe.write_text('modality = "paired"\nsource = "sample-images"\nn = "2x"\n[schedule]\ncron = "0 2 * * *"\n')
    made = deployment(read_served(recipe, {}))
    assert made.entrypoint == "flows.paired.paired"
    assert made.parameters["recipe"]["n"] == "2x"
