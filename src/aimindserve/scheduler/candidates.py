"""From judged workers to the candidate that is taken: on the best one, or on several together."""

from collections.abc import Sequence
from dataclasses import replace

from aimindserve.core.device import Need
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.judge import Judge, Sheet
from aimindserve.scheduler.packing.across import Part
from aimindserve.scheduler.packing.base import Packed
from aimindserve.scheduler.packing.remote import Remote


def candidate(judge: Judge, sheet: Sheet, ask: Ask) -> Packed | None:
    """Where `ask` goes with the sheet's shape as things are; None when it fits nowhere.

    Devices chosen by hand are taken with or without room: then there are warnings.
    """
    shape = sheet.shape
    world = judge.world
    sheet.refresh(world)
    if shape.across:
        if sheet.failed_moment == world.moment or not isinstance(sheet.way, Part):
            return None
        ranked = [world.now[position] for position in sheet.ranked()]
        found = sheet.way.join(ranked)
        if found is None and ask.device_ids:
            found = sheet.way.join(ranked, forced=True)
    else:
        position = sheet.best()
        if position is not None:
            return sheet.way.pack(world.now[position])
        if shape.layers is None or not shape.layers.remote_max:
            return None
        if sheet.failed_moment == world.moment:
            return None
        found = _remote(judge, sheet, ask)
    if found is None:
        sheet.failed_moment = world.moment
    return found


def _remote(judge: Judge, sheet: Sheet, ask: Ask) -> Packed | None:
    """With devices of other workers: these need nothing of the model's files, but room for a
    process."""
    mains = sheet.passing_but("memory", judge.world.now)
    if not mains:
        return None
    others = _hosts(judge, sheet.shape, ask)
    # Which devices it will be is not known yet: enough on all that it could be is enough.
    shape = sheet.shape.over({each.name for worker in (*mains, *others) for each in worker.devices})
    way = Remote(ask, shape)
    found = way.pack(mains, others)
    if found is None and ask.device_ids:
        found = way.pack(mains, others, forced=True)
    return None if found is None else replace(found, confidence=shape.confidence)


def _hosts(judge: Judge, shape: Shape, ask: Ask) -> Sequence[WorkerView]:
    layers = shape.layers
    ram = layers.remote_ram if layers is not None else Need().ram
    process = Shape("remote devices", (Need(ram=ram),), shape.requirement)
    kind = judge.kind(
        replace(
            ask,
            shapes=(process,),
            device_ids=(),
            devices_each=None,
            file_workers=None,
            file_at=frozenset(),
            file_bytes=0,
            instances_per_worker_max=None,
        )
    )
    (sheet,) = kind.sheets
    sheet.refresh(judge.world)
    return [
        judge.world.now[position]
        for position, score in enumerate(sheet.results)
        if score is not None
    ]
