"""The first sign-in of an administrator, typed into a terminal of its own."""

import contextlib
import io
import os
import subprocess
import sys
import time

import httpx
import pytest

from integration.cli.serving import serving

pty = pytest.importorskip("pty")
NEW = "a lighthouse in the fog"


class Terminal:
    """A command that runs on a pseudo terminal: what it shows, and what is typed."""

    def __init__(self, *words: str, home: str) -> None:
        self._ours, theirs = pty.openpty()
        env = {name: text for name, text in os.environ.items() if not name.startswith("GPUSTACK")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aimindserve", *words],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**env, "XDG_CONFIG_HOME": home, "HOME": home, "LANG": "C.UTF-8", "LC_ALL": ""},
        )  # fmt: skip
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.shown = ""
        self._read = 0

    def until(self, text: str) -> None:
        """Wait for `text` behind what was waited for before."""
        deadline = time.monotonic() + 30
        while text not in self.shown[self._read :]:
            assert time.monotonic() < deadline, f"no {text!r} in {self.shown!r}"
            with contextlib.suppress(BlockingIOError, OSError):
                self.shown += os.read(self._ours, 4096).decode()
            time.sleep(0.01)
        self._read = self.shown.index(text, self._read) + len(text)

    def type(self, text: str) -> None:
        os.write(self._ours, f"{text}\n".encode())

    def ends_with(self) -> int:
        code = self.process.wait(30)
        with contextlib.suppress(OSError):
            while piece := os.read(self._ours, 4096):
                self.shown += piece.decode()
        os.close(self._ours)
        return code


@pytest.fixture
def fresh(tmp_path):
    """A server somewhere else, with a password that it made itself; and a home directory."""
    with serving(peer="10.0.0.9", bootstrap_password=None) as served:
        first = (served.data_dir / "initial_admin_password").read_text().strip()
        yield served, first, str(tmp_path)


def test_the_first_password_must_be_changed_and_mistakes_are_forgiven(fresh):
    served, first, home = fresh
    terminal = Terminal("login", served.url, home=home)
    terminal.until("Username [admin]: ")
    terminal.type("")
    for wrong in ("wrong once", "wrong twice"):
        terminal.until("Password: ")
        terminal.type(wrong)
        terminal.until("is wrong")
    terminal.until("Password: ")
    terminal.type(first)
    terminal.until("choose another now")
    terminal.until("New password: ")
    terminal.type("short")
    terminal.until("again: ")
    terminal.type("short")
    terminal.until("must have")
    terminal.until("New password: ")
    terminal.type(NEW)
    terminal.until("again: ")
    terminal.type(f"{NEW}!")
    terminal.until("do not match")
    terminal.until("New password: ")
    terminal.type(NEW)
    terminal.until("again: ")
    terminal.type(NEW)
    terminal.until("Signed in")
    assert terminal.ends_with() == 0
    for secret in (first, NEW, "wrong once"):
        assert secret not in terminal.shown, "nothing typed is shown"
    assert not (served.data_dir / "initial_admin_password").exists()
    spec = served.store.get("user", "admin").spec
    assert spec.must_change_password is False

    after = Terminal("users", "--server", served.url, home=home)
    after.until("admin")
    assert after.ends_with() == 0, "the session that was kept is a good one"


def test_three_wrong_passwords_end_it(fresh):
    served, _, home = fresh
    terminal = Terminal("login", served.url, "-u", "admin", home=home)
    for wrong in ("one", "two", "three"):
        terminal.until("Password: ")
        terminal.type(wrong)
    assert terminal.ends_with() == 4
    assert "is wrong" in terminal.shown


def piped(text, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_without_a_terminal_the_new_password_is_the_next_line(fresh, monkeypatch, capsys):
    served, first, _ = fresh
    piped(first, monkeypatch)
    assert served.run("login", served.url, "--password-stdin") == 4
    told = capsys.readouterr().err
    assert "--new-password-stdin" in told
    assert "console" not in told

    for text, code in ((f"{first}\n", 2), (f"{first}\nshort\n", 2), (f"{first}\n{NEW}\n", 0)):
        piped(text, monkeypatch)
        words = ("login", served.url, "--password-stdin", "--new-password-stdin")
        assert served.run(*words) == code
    assert served.run("users", "--server", served.url) == 0
    assert not (served.data_dir / "initial_admin_password").exists()
    piped(NEW, monkeypatch)
    assert served.run("login", served.url, "--password-stdin") == 0
    assert served.run("login", served.url, "--new-password-stdin") == 2


def test_by_the_api_alone(fresh):
    served, first, _ = fresh
    with httpx.Client(base_url=served.url) as client:
        answer = client.post("/api/v1/auth/login", json={"username": "admin", "password": first})
        assert answer.status_code == 200
        refused = client.get("/api/v1/users")
        assert (refused.status_code, refused.json()["code"]) == (403, "password_change_required")
        assert "/api/v1/auth/password" in refused.json()["hint"]
        change = {"current_password": first, "new_password": NEW}
        assert client.post("/api/v1/auth/password", json=change).status_code == 200
        assert client.get("/api/v1/users").status_code == 200


def test_the_page_at_the_address_says_how(fresh):
    served, _, _ = fresh
    page = httpx.get(served.url).text
    for word in ("aimindserve login http://", "/api/v1/auth/password", "/docs", "/v1"):
        assert word in page
