"""What can be derived is generated, and what must be written is there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "aimindserve"
PACKAGES = sorted(path.parent for path in SRC.glob("*/__init__.py") if path.parent.name != "_web")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_each_package_says_what_it_is_for(package: Path) -> None:
    readme = package / "README.md"
    assert readme.exists(), f"{package.name} has no README.md"
    text = readme.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60, "a package's README has at most sixty lines"
    assert "ust not" in text, "say what the package must not know or do"


@pytest.mark.parametrize(
    "record", sorted((ROOT / "docs/adr").glob("*.md")), ids=lambda path: path.stem
)
def test_each_decision_names_its_check(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    assert re.match(r"# \d{4}\. ", text)
    enforced = text.split("Enforced by:", 1)
    assert len(enforced) == 2, "name the check that enforces it"
    for path in re.findall(r"`((?:tests|src|requirements)/[\w./]+)`", enforced[1].split("\n\n")[0]):
        assert (ROOT / path).exists(), f"{record.name} names {path}, which does not exist"


def test_the_troubleshooting_pages_are_up_to_date() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import troubleshooting
    finally:
        sys.path.pop(0)
    for language, target in troubleshooting.TARGETS.items():
        assert target.read_text(encoding="utf-8") == troubleshooting.page(language), (
            "run: python tools/troubleshooting.py"
        )


def test_the_api_pages_are_up_to_date() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import api_reference
    finally:
        sys.path.pop(0)
    document = json.loads(api_reference.SNAPSHOT.read_text(encoding="utf-8"))
    for language, target in api_reference.TARGETS.items():
        page = api_reference.page(document, language)
        assert target.read_text(encoding="utf-8") == page, "run: make docs"
    summaries = {
        " ".join((operation.get("summary") or "").split())
        for methods in document["paths"].values()
        for operation in methods.values()
        if isinstance(operation, dict)
    }
    english = {told for told in summaries if told and api_reference.chinese(told) == told}
    assert not english, "add these to SUMMARIES in tools/api_reference.py"


def _pages() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return [ROOT / name for name in tracked if (ROOT / name).exists()]


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in _pages()
        for target in re.findall(
            r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")
        )
        if not (page.parent / target).exists()
    ]
    assert not broken, broken


FOR_CONTRIBUTORS = {"adr", "howto"}
"""Written for those who change the program, in the language of its code."""


def test_every_page_is_there_in_both_languages() -> None:
    docs = ROOT / "docs"
    pages = {page.relative_to(docs) for page in docs.rglob("*.md")}
    chinese = {page.relative_to("zh") for page in pages if page.parts[0] == "zh"}
    english = {page for page in pages if page.parts[0] not in FOR_CONTRIBUTORS | {"zh"}}
    assert not english - chinese, "no 简体中文 page"
    assert not chinese - english, "a 简体中文 page of which there is no other"


def test_chinese_pages_link_to_chinese_pages() -> None:
    strayed = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in (ROOT / "docs/zh").rglob("*.md")
        for target in re.findall(r"\]\(([^):#]+\.md)", page.read_text(encoding="utf-8"))
        if "zh" not in (page.parent / target).resolve().relative_to(ROOT).parts
        and (
            ROOT / "docs/zh" / (page.parent / target).resolve().relative_to(ROOT / "docs")
        ).exists()
    ]
    assert not strayed, strayed
