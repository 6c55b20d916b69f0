"""List the accelerators of all workers: memory, what of it is used, and by which instances."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from aimindserve.cli._columns import at
from aimindserve.cli._invocation import TABLES, Invocation, client_command
from aimindserve.cli._output import listing_options, print_rows
from aimindserve.client.objects import AnyObject


@client_command("gpus", outputs=TABLES)
@listing_options
def gpus(here: Invocation, filters: tuple[str, ...], sort: str | None, no_header: bool) -> None:
    """List the accelerators of all workers: memory, what of it is used, and by which instances.

    USED is what the driver tells, by all programs; CLAIMED is what instances were promised.

    \b
    aimindserve gpus
    aimindserve gpus --filter worker=gpu-07 -o csv
    """
    with here.client() as client:
        instances = list(client.instances.all())
        found = list(devices(client.workers.all(), instances))
    print_rows(here, "gpu", found, filters=filters, sort=sort, no_header=no_header)


COMMAND = gpus


def devices(
    workers: Iterable[AnyObject], instances: Iterable[AnyObject]
) -> Iterator[dict[str, Any]]:
    """Every device with its memory in bytes, and the instances placed on it."""
    claims = _claims(instances)
    for worker in workers:
        seen: Mapping[str, Any] = at(worker.document, "status.observed") or {}
        used = {each["id"]: each for each in at(seen, "usage.devices") or ()}
        for device in cast("list[Mapping[str, Any]]", at(seen, "inventory.devices") or []):
            usage = used.get(device["id"], {})
            mine = claims.get(str(device["id"]), {})
            yield {
                **device,
                "worker": worker.name,
                "memory_used_bytes": usage.get("memory_used_bytes"),
                "utilization": usage.get("utilization"),
                "memory_claimed_bytes": sum(mine.values()),
                "instances": sorted(mine),
            }


def _claims(instances: Iterable[AnyObject]) -> dict[str, dict[str, int]]:
    """Device -> instance -> bytes promised to it there."""
    claims: dict[str, dict[str, int]] = {}
    for instance in instances:
        for rank in at(instance.document, "status.placement.ranks") or ():
            for claim in rank.get("claims") or ():
                mine = claims.setdefault(str(claim["device"]), {})
                parts = cast("Mapping[str, int]", claim.get("parts") or {})
                mine[instance.name] = mine.get(instance.name, 0) + sum(parts.values())
    return claims
