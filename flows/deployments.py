"""Deployments: which flows Prefect's UI offers, under which profile, and when it starts them by itself.

One deployment a flow and profile; its parameters are the resolved profile, so that the form in the UI shows every value
with its description. `sluice serve` registers them; `prefect.yaml` holds the same for `prefect deploy --all` (it is
written by `python -m flows.deployments`, and a test keeps the two equal).
"""

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from flows.config import CONFIGS
from flows.resolving import resolve

POOL = "sluice"
SCHEDULES = {("pipeline", "demo"): "0 3 * * *"}  # nightly: what is new is computed, the rest reused
TIMEZONE = "UTC"
PROFILES_OFFERED = ("demo", "laptop")


@dataclass(frozen=True)
class Deployment:
    """One flow under one profile."""

    flow: str
    profile: str
    cron: str | None

    @property
    def entrypoint(self) -> str:
        return f"flows.{self.flow}.{self.flow}"

    @property
    def parameters(self) -> dict[str, Any]:
        """What the form shows: the whole resolved configuration."""
        return {"config": resolve(self.flow, self.profile).model_dump(mode="json")}

    @property
    def description(self) -> str:
        """First paragraph of the flow's docstring."""
        flow = getattr(importlib.import_module(f"flows.{self.flow}"), self.flow)
        return (flow.fn.__doc__ or "").strip()


def deployments() -> Iterator[Deployment]:
    """All deployments, flow by flow."""
    for flow in CONFIGS:
        for profile in PROFILES_OFFERED:
            yield Deployment(flow, profile, SCHEDULES.get((flow, profile)))


def register(pool: str = POOL) -> list[str]:
    """Create the work pool and the deployments on the current Prefect API; returns their names."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.flows import EntrypointType

    with contextlib.suppress(ObjectAlreadyExists), get_client(sync_client=True) as client:  # by an earlier `serve`
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    names = []
    for one in deployments():
        flow = getattr(importlib.import_module(f"flows.{one.flow}"), one.flow)
        flow.to_deployment(
            name=one.profile,
            parameters=one.parameters,
            description=one.description,
            tags=["sluice", one.profile],
            cron=one.cron,
            work_pool_name=pool,
            entrypoint_type=EntrypointType.MODULE_PATH,
            enforce_parameter_schema=True,
        ).apply()
        names.append(f"{one.flow}/{one.profile}")
    return names


def prefect_yaml() -> str:
    """The text of prefect.yaml."""
    entries = [
        {
            "name": one.profile,
            "entrypoint": one.entrypoint,
            "description": one.description,
            "tags": ["sluice", one.profile],
            "parameters": one.parameters,
            "schedules": [{"cron": one.cron, "timezone": TIMEZONE}] if one.cron else [],
            "work_pool": {"name": POOL},
            "enforce_parameter_schema": True,
        }
        for one in deployments()
    ]
    head = (
        "# Deployments for `prefect deploy --all`, on a server and a work pool of your own; `sluice serve` registers\n"
        "# the same by itself. Written by `python -m flows.deployments > prefect.yaml` from infra/profiles.\n"
    )
    body = {"name": "sluice", "pull": None, "deployments": entries}
    return head + yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)


if __name__ == "__main__":
    import sys

    sys.stdout.write(prefect_yaml())
