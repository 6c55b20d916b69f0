"""The worker's metrics as Prometheus text. Built from the latest survey, so a scrape costs nothing.

The names of the machine's metrics are those that existing dashboards for such clusters use; rates
are percent.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from aimindserve.core.device import Inventory, Usage
from aimindserve.worker.observed import Health, Process

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PROVIDER = "aimindserve"


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown."""

    worker: str
    address: str
    inventory: Inventory
    usage: Usage
    processes: Iterable[Process]
    traffic: Callable[[str], int]
    """Requests under way of the process with this token."""
    now_epoch: float


def render(picture: Picture) -> bytes:
    """All metrics of one worker in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Shown(picture))
    return generate_latest(registry)


class _Shown(Collector):
    """The one collector; inheritance is how the library wants it."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def collect(self) -> Iterable[Metric]:
        yield from _machine(self._picture)
        yield from _devices(self._picture)
        yield from _disks(self._picture)
        yield from _engines(self._picture)


def _machine(picture: Picture) -> Iterable[Metric]:
    has, uses = picture.inventory, picture.usage
    values = {"name": has.os_name, "version": has.os_version}
    yield _info("worker_node_os", "Operating system.", picture, values)
    kernel = {"name": has.os, "release": has.kernel, "version": "", "architecture": has.arch}
    yield _info("worker_node_kernel", "Kernel.", picture, kernel)
    uptime_s = max(0.0, picture.now_epoch - has.boot_time)
    yield _one("worker_node_uptime_seconds", "Since the machine started.", picture, uptime_s)
    yield _one("worker_node_cpu_cores", "Processors to use.", picture, has.cpu_count)
    load = uses.cpu * 100.0
    yield _one("worker_node_cpu_utilization_rate", "Load in percent.", picture, load)
    yield _one("worker_node_memory_total_bytes", "Memory to use.", picture, has.ram_bytes)
    used = uses.ram_used_bytes
    yield _one("worker_node_memory_used_bytes", "Memory in use.", picture, used)
    rate = _percent(used, has.ram_bytes)
    yield _one("worker_node_memory_utilization_rate", "In percent.", picture, rate)


def _devices(picture: Picture) -> Iterable[Metric]:
    labels = ["instance", "provider", "index"]
    names = InfoMetricFamily("worker_node_gpu", "A device.", labels=labels)
    load = GaugeMetricFamily("worker_node_gpu_utilization_rate", "In percent.", labels=labels)
    heat = GaugeMetricFamily("worker_node_gpu_temperature_celsius", "Temperature.", labels=labels)
    total = GaugeMetricFamily("worker_node_gram_total_bytes", "Device memory.", labels=labels)
    used = GaugeMetricFamily("worker_node_gram_used_bytes", "Of it in use.", labels=labels)
    rate = GaugeMetricFamily("worker_node_gram_utilization_rate", "In percent.", labels=labels)
    usage = {one.id: one for one in picture.usage.devices}
    for device in picture.inventory.devices:
        where = [picture.address, PROVIDER, str(device.index)]
        names.add_metric(where, {"name": device.name})
        total.add_metric(where, device.memory_bytes)
        seen = usage.get(device.id)
        if seen is None:
            continue
        load.add_metric(where, seen.utilization * 100.0)
        used.add_metric(where, seen.memory_used_bytes)
        rate.add_metric(where, _percent(seen.memory_used_bytes, device.memory_bytes))
        if seen.temperature_c is not None:
            heat.add_metric(where, seen.temperature_c)
    return (names, load, heat, total, used, rate)


def _disks(picture: Picture) -> Iterable[Metric]:
    labels = ["instance", "provider", "mountpoint"]
    total = GaugeMetricFamily("worker_node_filesystem_total_bytes", "Size.", labels=labels)
    used = GaugeMetricFamily("worker_node_filesystem_used_bytes", "In use.", labels=labels)
    rate = GaugeMetricFamily("worker_node_filesystem_utilization_rate", "In %.", labels=labels)
    for disk in picture.inventory.file_systems:
        where = [picture.address, PROVIDER, disk.mount_point]
        in_use = disk.total_bytes - disk.available_bytes
        total.add_metric(where, disk.total_bytes)
        used.add_metric(where, in_use)
        rate.add_metric(where, _percent(in_use, disk.total_bytes))
    return (total, used, rate)


def _engines(picture: Picture) -> Iterable[Metric]:
    labels = ["worker", "model_instance"]
    ready = GaugeMetricFamily("aims_engine_ready", "1 while it answers.", labels=labels)
    memory = GaugeMetricFamily("aims_engine_resident_bytes", "Its memory.", labels=labels)
    run = GaugeMetricFamily("aims_engine_run", "Starts on this worker.", labels=labels)
    requests = GaugeMetricFamily("aims_engine_requests", "Requests under way.", labels=labels)
    for process in picture.processes:
        where = [picture.worker, process.handle.instance]
        ready.add_metric(where, 1.0 if process.health is Health.READY else 0.0)
        memory.add_metric(where, process.rss_bytes)
        run.add_metric(where, process.handle.run)
        requests.add_metric(where, picture.traffic(process.token))
    return (ready, memory, run, requests)


def _info(name: str, help_: str, picture: Picture, values: Mapping[str, str]) -> Metric:
    family = InfoMetricFamily(name, help_, labels=["instance", "provider"])
    family.add_metric([picture.address, PROVIDER], dict(values))
    return family


def _one(name: str, help_: str, picture: Picture, value: float) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=["instance", "provider"])
    family.add_metric([picture.address, PROVIDER], value)
    return family


def _percent(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole else 0.0
