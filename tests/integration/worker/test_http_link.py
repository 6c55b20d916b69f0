"""The link to the server over real HTTP: what goes wrong there is told in our own errors."""

import asyncio

import pytest

from aimindserve.core.errors import (
    AimsError,
    ExistsError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from aimindserve.core.report import Report
from aimindserve.kit.clock import SystemClock
from aimindserve.wire.server import ServerConfig, serve
from aimindserve.worker.http_link import HttpLink
from aimindserve.worker.link import Hello, Identity
from integration.worker.agent_process import config_of
from integration.worker.plane import TOKEN, Plane, assignment

HELLO = Hello("w1", False, "machine-1234", "0.1")


def link_to(tmp_path, url, token=TOKEN, silence_s=1.0):
    given = {"dir": str(tmp_path), "url": url, "token": token, "ports": [1, 2]}
    return HttpLink(config_of(given), silence_s=silence_s)


def with_answer(tmp_path, status, body, call):
    """What `call(link)` makes of a server that always answers so."""

    async def main():
        def handle(request):
            request.respond(status, body)

        server = await serve(handle, ServerConfig(), SystemClock())
        link = link_to(tmp_path, f"http://127.0.0.1:{server.port}")
        try:
            return await call(link)
        finally:
            await link.aclose()
            await server.stop(0.0)

    return asyncio.run(main())


def test_join_follow_and_report(tmp_path):
    async def main():
        async with Plane() as plane:
            link = link_to(tmp_path, plane.url)
            identity = await link.register(HELLO)
            assert identity == plane.identity
            assert plane.registrations[0]["machine_id"] == "machine-1234"
            sets = link.desired(identity)
            assert (await anext_(sets)).revision == 1
            plane.want(assignment("dep-a", tmp_path / "x"))
            second = await anext_(sets)
            assert second == plane.desired
            await sets.aclose()
            await link.aclose()

    asyncio.run(main())


async def anext_(sets):
    return await sets.__anext__()


def test_a_wrong_token_is_refused(tmp_path):
    async def main():
        async with Plane() as plane:
            link = link_to(tmp_path, plane.url, token="wrong")
            with pytest.raises(UnauthenticatedError):
                await link.register(HELLO)
            with pytest.raises(UnauthenticatedError):
                await anext_(link.desired(Identity("w1", "wrong", "x")))
            await link.aclose()

    asyncio.run(main())


def test_a_stream_that_falls_silent_is_dead(tmp_path):
    async def main():
        async with Plane() as plane:
            plane.silent = True
            link = link_to(tmp_path, plane.url, silence_s=0.3)
            with pytest.raises(UnavailableError):
                await anext_(link.desired(plane.identity))
            await link.aclose()

    asyncio.run(main())


def test_nobody_is_there(tmp_path):
    async def main():
        link = link_to(tmp_path, "http://127.0.0.1:9")
        with pytest.raises(UnavailableError) as caught:
            await link.register(HELLO)
        assert "cannot be reached" in caught.value.message
        await link.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (409, b'{"code":"exists","detail":"taken","hint":"another name"}', ExistsError),
        (401, b"not json", UnauthenticatedError),
        (503, b"", UnavailableError),
        (500, b"<html>", UpstreamError),
        (200, b"<html>", UpstreamError),
        (200, b'{"name": 5}', UpstreamError),
        (302, b"", UpstreamError),
        (418, b"[1, 2]", UpstreamError),
    ],
)
def test_odd_answers(tmp_path, status, body, kind):
    with pytest.raises(kind) as caught:
        with_answer(tmp_path, status, body, lambda link: link.register(HELLO))
    assert isinstance(caught.value, AimsError)
    if b"hint" in body:
        assert caught.value.hint == "another name"


@pytest.mark.parametrize("body", [b"event: desired\ndata: {}\n\n", b"event: desired\ndata: x\n\n"])
def test_an_odd_event(tmp_path, body):
    async def follow(link):
        return await anext_(link.desired(Identity("w1", "c", "k")))

    with pytest.raises(UpstreamError):
        with_answer(tmp_path, 200, body, follow)


def test_other_events_and_comments_are_skipped(tmp_path):
    async def follow(link):
        return [one async for one in link.desired(Identity("w1", "c", "k"))]

    body = b": hi\r\n\r\nevent: news\ndata: 1\n\n"
    body += b'event: desired\ndata: {"revision":7,"worker":"w1"}\n\n'
    (only,) = with_answer(tmp_path, 200, body, follow)
    assert only.revision == 7


def test_over_a_unix_socket(tmp_path):
    async def main():
        path = tmp_path / "s"

        def handle(request):
            assert request.path == "/api/v1/workers/register"
            request.respond(200, b'{"name":"w1","credential":"c","proxy_key":"k"}')

        server = await serve(handle, ServerConfig(unix_path=path), SystemClock())
        link = link_to(tmp_path, f"unix://{path}")
        assert (await link.register(HELLO)).credential == "c"
        await link.aclose()
        await server.stop(0.0)

    asyncio.run(main())


def test_an_untrusted_certificate_is_refused(tmp_path):
    """There is no switch to look away."""
    import ssl
    import subprocess

    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout",
         tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip("no openssl here")

    async def main():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

        def handle(request):
            request.respond(200, b'{"name":"w1","credential":"c","proxy_key":"k"}')

        server = await serve(handle, ServerConfig(tls=context), SystemClock())
        url = f"https://localhost:{server.port}"
        link = link_to(tmp_path, url)
        with pytest.raises(UnavailableError):
            await link.register(HELLO)
        await link.aclose()
        from dataclasses import replace

        given = {"dir": str(tmp_path), "url": url, "token": "t", "ports": [1, 2]}
        trusting = HttpLink(replace(config_of(given), ca_file=tmp_path / "cert.pem"))
        assert (await trusting.register(HELLO)).name == "w1"
        await trusting.aclose()
        await server.stop(0.0)

    asyncio.run(main())


def test_a_report_travels_whole(tmp_path):
    async def main():
        async with Plane() as plane:
            link = link_to(tmp_path, plane.url)
            from aimindserve.core.device import EMPTY_USAGE, Reserved
            from aimindserve.core.report import WorkerObservation
            from aimindserve.worker.simulated import EXAMPLE_MACHINE

            seen = WorkerObservation(
                "0.1", "127.0.0.1", 1, 2, EXAMPLE_MACHINE, EMPTY_USAGE, Reserved()
            )
            report = Report(3, seen)
            ack = await link.report(plane.identity, report)
            assert ack.interval_s == 1.0
            assert plane.reports == [report]
            await link.aclose()

    asyncio.run(main())
