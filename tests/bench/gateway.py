"""The gateway against nginx: small answers and streams, in one run, on one machine.

    python tests/bench/gateway.py [--seconds 4] [--rounds 3] [--processes 1]

Behind everything stands a constant mock. Measured: the mock alone, nginx `proxy_pass` with
keep-alive and one worker process, and our gateway in one process (or more that share the port) with
key check, routing and usage on. Rounds take turns, the median counts. Needs wrk and nginx; says so
when they are missing. On a machine that is busy with something else the numbers mean little; it
says that too.
"""

import argparse
import asyncio
import io
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from aimindserve.gateway.app import Gateway
from aimindserve.gateway.config import GatewayConfig
from aimindserve.gateway.snapshot import save
from aimindserve.kit.clock import SystemClock
from aimindserve.kit.log import configure
from aimindserve.kit.secrets import keyed_hash
from aimindserve.wire.loop import run
from aimindserve.wire.upstream import Origin

SMALL_LIMIT = 0.5
STREAM_LIMIT = 0.9
SMALL_CONNECTIONS = 16
STREAM_CONNECTIONS = 32
BUSY = 0.5
KEY = "sk-aims_bench000_key"
PEPPER = b"bench"
ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"Hello there."},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":12,"completion_tokens":4,"total_tokens":16}}'
)
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Say hello to everybody."}]}

NGINX = """
daemon off; worker_processes 1; pid {base}/{name}.pid; error_log {base}/{name}.log error;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {base}/{name}-b;
  proxy_temp_path {base}/{name}-p; fastcgi_temp_path {base}/{name}-f;
  uwsgi_temp_path {base}/{name}-u; scgi_temp_path {base}/{name}-s;
  {body}
}}
"""
MOCK = """
  server {{
    listen 127.0.0.1:{mock};
    location / {{ default_type application/json; return 200 '{answer}'; }}
  }}
"""
PROXY = """
  upstream small {{ server 127.0.0.1:{mock}; keepalive 64; keepalive_requests 100000000; }}
  upstream stream {{ server 127.0.0.1:{stream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{nginx};
    location / {{ proxy_pass http://small; proxy_http_version 1.1;
                  proxy_set_header Connection ""; }}
  }}
  server {{
    listen 127.0.0.1:{unbuffered};
    location / {{ proxy_pass http://stream; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffering off; }}
  }}
"""
WRK = """
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.body = [[{body}]]
"""


def main():
    options = arguments()
    if options.serve:
        run(serve(*options.serve))
        return 0
    missing = [name for name in ("wrk", "nginx") if not find(name)]
    if missing:
        print(f"not installed: {', '.join(missing)}. Debian: apt-get install wrk nginx-light")
        return 2
    if os.getloadavg()[0] > BUSY:
        print(f"this machine is busy (load {os.getloadavg()[0]:.1f}): the ratios will be unsteady")
    with tempfile.TemporaryDirectory(prefix="aims-bench") as folder, ExitStack() as stack:
        ports = start_all(Path(folder), stack, options.processes)
        results = measure(Path(folder), ports, options)
    return report(results)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--serve", nargs=3, metavar=("PORT", "TABLE", "SOCKET"))
    return parser.parse_args()


def find(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def start_all(base, stack, processes=1):
    names = ("mock", "stream", "nginx", "unbuffered", "ours", "ours_stream")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    start_nginx(base, stack, "mock", MOCK.format(answer=ANSWER, **ports))
    start_nginx(base, stack, "proxy", PROXY.format(**ports))
    here = Path(__file__)
    start(stack, sys.executable, here.with_name("gateway_mock.py"), ports["stream"])
    for ours, behind in (("ours", "mock"), ("ours_stream", "stream")):
        table = base / f"{ours}.json"
        save(table, documents(ports[behind]), 1)
        for _ in range(processes):
            start(stack, sys.executable, here, "--serve", ports[ours], table, base / "nobody.sock")
    for port in ports.values():
        wait_for(port)
    script = WRK.format(key=KEY, body=json.dumps(QUESTION))
    (base / "post.lua").write_text(script)
    return ports


def documents(port):
    seen = {"placement_id": "p", "state": "ready"}
    status = {"placement": {"id": "p", "ranks": [{"worker": "w"}]}, "observed": seen}
    return {
        "user": {"ann": {"spec": {"role": "user"}}},
        "api-key": {"k": {"spec": {"user": "ann", "key_hash": keyed_hash(PEPPER, KEY)}}},
        "worker": {
            "w": {
                "spec": {"proxy_key": "secret"},
                "status": {"ready": True, "observed": {"host": "127.0.0.1", "port": port}},
            }
        },
        "instance": {"m-00000": {"spec": {"deployment": "m"}, "status": status}},
        "route": {
            "m": {
                "spec": {"targets": [{"deployment": "m", "weight": 1}]},
                "status": {"categories": ["llm"]},
            }
        },
    }


def start_nginx(base, stack, name, body):
    conf = base / f"{name}.conf"
    conf.write_text(NGINX.format(base=base, name=name, body=body))
    start(stack, find("nginx"), "-p", base, "-e", base / f"{name}.log", "-c", conf)


def start(stack, *command):
    process = subprocess.Popen([str(part) for part in command])
    stack.callback(stop, process)


def stop(process):
    process.terminate()
    process.wait(10)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(port):
    deadline = time.monotonic() + 15
    while not listens(port):
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing listens on port {port}")
        time.sleep(0.05)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def serve(port, table, control):
    configure(json_lines=True, stream=io.StringIO())
    config = GatewayConfig(
        control=Origin.unix(control),
        credential="none",
        pepper=PEPPER,
        host="127.0.0.1",
        port=int(port),
        reuse_port=True,
        table_path=Path(table),
        trust_localhost=False,
        metrics_port=None,
    )
    await Gateway(config, SystemClock()).start()
    await asyncio.Event().wait()


def measure(base, ports, options):
    cases = {
        "mock alone": ("mock", SMALL_CONNECTIONS),
        "nginx": ("nginx", SMALL_CONNECTIONS),
        "ours": ("ours", SMALL_CONNECTIONS),
        "streams: mock alone": ("stream", STREAM_CONNECTIONS),
        "streams: nginx": ("unbuffered", STREAM_CONNECTIONS),
        "streams: ours": ("ours_stream", STREAM_CONNECTIONS),
    }
    found = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, (where, connections) in cases.items():
            found[name].append(load(base, ports[where], connections, options.seconds))
    return {name: statistics.median(rates) for name, rates in found.items()}


def load(base, port, connections, seconds):
    command = [
        find("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(base / "post.lua"),
        f"http://127.0.0.1:{port}",
    ]  # fmt: skip
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"port {port} answered badly:\n{text}")
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", text).group(1))


def report(results):
    print(f"{'':24}{'requests/s':>12}")
    for name, rate in results.items():
        print(f"{name:24}{rate:12,.0f}")
    small = results["ours"] / results["nginx"]
    stream = results["streams: ours"] / results["streams: nginx"]
    print(f"\nsmall answers: {small:.2f} x nginx proxy_pass (at least {SMALL_LIMIT})")
    print(f"streams of 100 chunks: {stream:.2f} x nginx unbuffered (at least {STREAM_LIMIT})")
    return 0 if small >= SMALL_LIMIT and stream >= STREAM_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
