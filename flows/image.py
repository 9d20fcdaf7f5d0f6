"""`augment image` as a Prefect flow."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from augment.recipe import ImageRecipe
from flows.curation import curated, run_name


@flow(name="image", flow_run_name=run_name, persist_result=False)
def image(recipe: ImageRecipe, retries: int = 0, retry_delay: float = 60.0) -> State[Any]:
    """Make n good variants of each picture of a source and publish them as a dataset.

    Args:
        recipe: what `augment image` takes as flags or as a TOML file.
        retries: how often a failed run is tried again; what is wrong with the recipe itself is not.
        retry_delay: seconds between two tries.
    """
    return curated(recipe, retries, retry_delay)
