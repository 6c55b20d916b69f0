"""The whole product behind a certificate of its own: https everywhere, cookies that stay there."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request

import pytest

from e2e.system import PASSWORD, System, clean_env, eventually, free_ports, running

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the pair")
ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(key, certificate) for 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2",
         "-subj", "/CN=aims.test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


@pytest.fixture(scope="module")
def system(pair, tmp_path_factory):
    key, certificate = pair
    flags = {
        "ssl-keyfile": str(key), "ssl-certfile": str(certificate), "token": "the-join-token",
        "disable-worker": "true", "enable-cors": "true", "allow-origins": ORIGIN,
    }  # fmt: skip
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(certificate)  # as whoever uses a private authority sets it
    try:
        with running(tmp_path_factory.mktemp("tls-data"), scheme="https", **flags) as found:
            yield found
    finally:
        os.environ.pop("SSL_CERT_FILE")
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before


def answer_of(system: System, method: str, path: str, body: object = None, **headers: str):
    """The raw answer, with every header as it was sent."""
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    line = http.client.HTTPSConnection("127.0.0.1", system.port, timeout=20, context=context)
    with contextlib.closing(line):
        data = None if body is None else json.dumps(body)
        line.request(method, path, data, {"content-type": "application/json", **headers})
        answer = line.getresponse()
        answer.read()
        return answer


def test_signing_in_sets_a_cookie_that_stays_on_https(system):
    body = {"username": "admin", "password": PASSWORD}
    answer = answer_of(system, "POST", "/api/v1/auth/login", body)
    assert answer.status == 200
    words = [word.strip().lower() for word in answer.headers["set-cookie"].split(";")]
    assert {"secure", "httponly", "samesite=lax"} <= set(words)


def test_other_origins_are_told_once_what_they_may(system):
    for path in ("/readyz", "/v1/models"):
        answer = answer_of(system, "GET", path, origin=ORIGIN)
        assert answer.headers.get_all("access-control-allow-origin") == [ORIGIN], path
        stranger = answer_of(system, "GET", path, origin="https://evil.example")
        assert stranger.headers.get_all("access-control-allow-origin") is None, path


def test_plain_http_gets_no_answer(system):
    with pytest.raises((OSError, http.client.HTTPException)):
        urllib.request.urlopen(f"http://127.0.0.1:{system.port}/readyz", timeout=10)
    assert system.request("GET", "/readyz")[0] == 200, "and nothing else suffers from it"


def test_the_command_line_trusts_the_given_authority_and_nobody_else(system):
    told = system.cli("workers", "-o", "json")
    assert told.returncode == 0, told.stderr
    bare = {name: text for name, text in clean_env().items() if name != "SSL_CERT_FILE"}
    refused = subprocess.run(
        [sys.executable, "-m", "aimindserve", "workers", "--server", system.url],
        capture_output=True, text=True, timeout=60, env=bare, check=False,
    )  # fmt: skip
    assert refused.returncode == 8
    assert "certificate" in refused.stderr.lower()


def test_a_worker_joins_over_https(system, tmp_path):
    worker, metrics = free_ports(2)
    process = subprocess.Popen(
        [sys.executable, "-m", "aimindserve", "start", "--server-url", system.url,
         "--token", "the-join-token", "--worker-name", "far", "--worker-ip", "127.0.0.1",
         "--worker-port", str(worker), "--metrics-port", str(metrics),
         "--data-dir", str(tmp_path / "far"), "--service-port-range", "20300-20331",
         "--rpc-server-port-range", "20332-20363"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_env(),
    )  # fmt: skip
    try:

        def ready() -> bool:
            assert process.poll() is None
            return system.get("workers", "far")["status"]["phase"] == "ready"

        eventually(ready, within_s=40, what="the worker is ready")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in {0, 130}
