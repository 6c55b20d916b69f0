"""What we say llama.cpp takes on devices against what it says itself, over well-known models.

    PYTHONPATH=src:tests python tests/bench/memory_devices.py [MODEL…] [--write]

Asks a llama.cpp that was built with RPC (tests/bench/oracle/build.py; without it nothing is asked)
for dry runs on headers without weights: each model alone on a device in six settings, one model of
each family over two and three devices and partly on the host in four. The devices are processes of
this machine. Prints by model how many answers there were, and the error of the compute buffers, in
percent, least and greatest: of a device that has all, of the largest of several over all cuts, of
the host before them. `--write` stores the answers for `make test`.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

from aimindserve.formats.llama_cpp.compute import prepared_buffer
from aimindserve.formats.llama_cpp.memory import on_devices
from golden.llama_cpp import rpc
from golden.llama_cpp.answers import MIX, facts
from golden.llama_cpp.headers import header, slugs
from golden.llama_cpp.shapes import FAMILIES
from unit.formats.gguf_files import sparse

MIB = 1024**2


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if not rpc.there():
        print(f"no {rpc.PROGRAMS}: build it with tests/bench/oracle/build.py")
        return
    found = []
    print(f"{'':30}{'answers':>8}{'one device':>18}{'several':>18}{'host':>18}")
    with rpc.served(3) as devices, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        for slug in arguments.models or slugs():
            rows = list(asked(slug, path, devices))
            show(slug, rows)
            found += rows
    if arguments.write:
        rpc.write(found)


def asked(slug, path, devices):
    sparse(path, *header(slug, MIX))
    model = facts(slug)
    everything = (model.layer_count + model.prediction_layer_count + 1,)
    wanted = [(None, everything, setting) for setting in rpc.GRID]
    if slug in FAMILIES:
        wanted += [(cut, cut, setting) for cut in rpc.cuts(model) for setting in rpc.FEW]
    for counts, given, setting in wanted:
        answer = rpc.ask(path, devices[: len(given)], given, rpc.settings(*setting))
        if answer is not None:
            compute = [device[2] for device in answer.devices]
            yield slug, counts, setting, compute, answer.host_compute


def show(slug, rows):
    model = facts(slug)
    everything = model.layer_count + model.prediction_layer_count + 1
    largest = defaultdict(float)
    alone, several, host = [], [], []
    for _, counts, setting, devices, before in rows:
        settings = rpc.settings(*setting)
        if counts is None:
            alone.append(error(claimed(model, settings, 1), devices[0]))
            host.append(error(prepared_buffer(model, settings) / MIB, before))
        elif sum(counts) == everything:
            largest[setting] = max(largest[setting], *devices)
            host.append(error(prepared_buffer(model, settings, 4) / MIB, before))
    several = [
        error(claimed(model, rpc.settings(*setting), 3), size) for setting, size in largest.items()
    ]
    columns = "".join(
        f"{min(each):+9.2f} {max(each):+8.2f}" if each else f"{'':18}"
        for each in (alone, several, host)
    )
    print(f"{slug:30}{len(rows):8}{columns}", flush=True)


def claimed(model, settings, devices):
    _, layers = on_devices(model, settings, partial=False, devices_max=devices)
    return (layers.overhead.compute + layers.overhead_last.compute) / MIB


def error(ours, theirs):
    return 0.0 if abs(ours - theirs) < 0.02 else 100 * (ours / theirs - 1)


if __name__ == "__main__":
    main()
