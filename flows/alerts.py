"""Prefect automations around our runs: word to a webhook when one fails, and an end for those whose process died."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import get_current_settings
from pydantic import SecretStr

TAG = "augment"
"""The tag of every deployment that `augment serve` makes; the automations look for it."""

_OURS: dict[str, str | list[str]] = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
_ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}
_PAYLOAD = """{"run": {{ flow_run.name | tojson }}, "state": {{ flow_run.state.name | tojson }},
"message": {{ flow_run.state.message | tojson }}, "page": {{ flow_run | ui_url | tojson }}}"""


def alert(client: SyncPrefectClient, url: str) -> None:
    """Post to `url` whenever a run of ours has failed or crashed: its name, state, message and page, as JSON."""
    document: Any = Webhook(method="POST", url=SecretStr(url)).save("augment-alert", overwrite=True)
    _put(
        client,
        AutomationCore(
            name="augment: tell when a run fails",
            description="Made by augment serve --alert",
            trigger=EventTrigger(
                expect={f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut")},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related=_OURS,
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            actions=[CallWebhook(block_document_id=document, payload=_PAYLOAD)],
        ),
    )


def notice_crashes(client: SyncPrefectClient) -> None:
    """Let a run of ours count as crashed when its process has given no sign of life for three beats."""
    beat = get_current_settings().flows.heartbeat_frequency or 180
    _put(
        client,
        AutomationCore(
            name="augment: notice runs whose process died",
            description="Made by augment serve",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.heartbeat", *_ENDED},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related=_OURS,
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=timedelta(seconds=3 * beat),
            ),
            actions=[
                ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message="its process has died", force=False)
            ],
        ),
    )


def _put(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Create the automation, or bring the one of its name up to date."""
    known = client.read_automations_by_name(automation.name)
    if known:
        client.update_automation(known[0].id, automation)
    else:
        client.create_automation(automation)
