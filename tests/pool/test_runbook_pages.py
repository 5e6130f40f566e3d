"""The runbooks as pages: anchors that alarms link to, links that lead somewhere, and nothing but text."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from pool.runbook_pages import DOCS, INDEX, files, read_page

PAGES = files()


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A small house of documents."""
    (tmp_path / "operate").mkdir()
    (tmp_path / "metrics.md").write_text(
        "# Metrics\n\n### dmpool_job_age_seconds\n\n[old](operate/alarms.md#nojob)\n"
    )
    (tmp_path / "operate" / "README.md").write_text("# Operating\n\n[Alarms](alarms.md)\n")
    (tmp_path / "operate" / "alarms.md").write_text(
        "# Alarms\n\nFirst.\n\n## NoJob\n\n<script>alert(1)</script> and <b>this</b>\n\n"
        "    dmpool front status\n\n"
        "## NoJob\n\n[metrics.md](../metrics.md#dmpool_job_age_seconds), [all](README.md), [here](#nojob),\n"
        "[the rest](../operator.md#reports), [far](https://example.org/), [no](javascript:alert),\n"
        "![picture](https://example.org/a.png)\n\n| a | b |\n|---|---|\n| 1 | `2` |\n"
    )
    return tmp_path


def test_a_page_has_its_sections_with_anchors_in_both_spellings(docs: Path) -> None:
    page = read_page("alarms", files(docs))
    assert page.title == "Alarms"
    assert "First." in page.head
    assert [re.findall(r'id="(.+?)"', one) for one in page.sections] == [
        ["nojob", "NoJob"],
        ["nojob-1"],
    ]
    assert page.contents == []


def test_markup_in_a_page_is_text(docs: Path) -> None:
    first = read_page("alarms", files(docs)).sections[0]
    assert "&lt;script&gt;" in first
    assert "<script" not in first
    assert "<b>" not in first
    assert "<pre><code>dmpool front status\n</code></pre>" in first


def test_links_lead_to_what_is_served_and_other_links_are_text(docs: Path) -> None:
    second = read_page("alarms", files(docs)).sections[1]
    assert re.findall(r'href="(.+?)"', second) == [
        "/operate/metrics#dmpool_job_age_seconds",
        "/operate/",
        "#nojob",
        "https://example.org/",
    ]
    assert ">metrics</a>" in second
    assert "the rest, " in second
    assert "<img" not in second
    assert '<div class="wide"><table>' in second
    metrics = read_page("metrics", files(docs))
    assert 'id="dmpool_job_age_seconds"' in metrics.head
    assert 'href="/operate/alarms#nojob"' in metrics.head


def test_the_list_of_pages_is_that_of_the_documents() -> None:
    assert set(PAGES) == {path.stem for path in (DOCS / "operate").glob("*.md")} | {"metrics"}
    assert INDEX in PAGES
    assert files(Path("/nowhere")) == {}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_link_between_the_pages_finds_its_anchor(name: str) -> None:
    text = whole(name)
    for target, anchor in re.findall(r'href="/operate/([a-z]*)#(.+?)"', text):
        assert f'id="{anchor}"' in whole(target or INDEX), f"{target}#{anchor}"
    for anchor in re.findall(r'href="#(.+?)"', text):
        assert f'id="{anchor}"' in text, anchor
    assert len(re.findall(r'id="(.+?)"', text)) == len(set(re.findall(r'id="(.+?)"', text)))


@cache
def whole(name: str) -> str:
    page = read_page(name, PAGES)
    return "".join([page.head, *page.sections])
