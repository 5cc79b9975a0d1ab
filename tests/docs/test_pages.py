"""The documents: links lead somewhere, the README is short, and nothing is installed from an index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomlkit

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
INSTALLED_BY_USERS = [
    *PAGES,
    *sorted((ROOT / "notebooks").iterdir()),
    *sorted((ROOT / "docs").rglob("*.example")),
]


def read_anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_and_anchors_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in read_anchors(linked), target


def test_the_readme_is_short_and_shows_code_early() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 900
    assert "```" in "\n".join(text.splitlines()[:40])


@pytest.mark.parametrize("page", INSTALLED_BY_USERS, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_tells_to_install_from_an_index(page: Path) -> None:
    """The distribution is in no index yet: the extras come from a checkout or a wheel."""
    assert not re.search(r"pip install (?:-\S+ )*['\"]?vbc-source\b", page.read_text())


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {
        target.partition("#")[0]
        for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text())
    }
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= linked


def test_tests_named_in_contributing_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "CONTRIBUTING.md").read_text()))
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert [name for name in named if f"def {name}(" not in sources] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_modules_named_in_the_page_exist(page: str) -> None:
    named = set(re.findall(r"\b[\w/.]+\.(?:py|yml|sql)\b", (ROOT / page).read_text()))
    folders = [ROOT, ROOT / "vbc_source", ROOT / "vbc_source" / "analytics" / "dbt", ROOT / "docs"]
    missing = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert [name for name in missing if not list((ROOT / "tests").rglob(Path(name).name))] == []


def test_the_arrows_in_the_page_are_those_that_are_checked() -> None:
    contracts = tomlkit.parse((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## The arrows between folders")[2]
    drawn = page.split("```")[1].partition("\n\nemulator")[0]
    layers = [layer.replace(" | ", "   ") for layer in contracts[0]["layers"]]
    assert drawn.split() == " ".join(layers).split()
