"""The Prefect API that is configured: whether it is there."""

from __future__ import annotations

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL

from augment.errors import RunError


def check_api() -> None:
    """Ask the configured Prefect API, if there is one, whether it is there.

    Raises:
        RunError: it does not answer, or refuses.
    """
    url = PREFECT_API_URL.value()
    if not url:
        return
    with get_client(sync_client=True) as client:
        try:
            client.read_flows(limit=1)
        except (httpx.HTTPError, OSError, ValueError, PrefectException) as error:  # ValueError: what it says is no JSON
            why = str(error).partition("\n")[0] or type(error).__name__
            raise RunError(
                f"no use of the Prefect API at {url} ({why}); start it with  prefect server start  or add --no-prefect"
            ) from None
