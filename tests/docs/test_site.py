"""The site of docs/: every page is in its contents, links lead somewhere, and what pages show is printed."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Assay, assay

__all__ = ["assay"]  # the fixture

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ABOVE = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
FENCE = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SHOWN = re.compile(r"```sh\nassay (.+)\n```\n\n```text\n(.*?)```", re.DOTALL)


def contents() -> list[str]:
    """The pages in the site's contents, in their order."""

    def within(item: Any) -> Iterator[str]:
        if isinstance(item, str):
            yield item
        else:
            for part in item.values() if isinstance(item, dict) else item:
                yield from within(part)

    return list(within(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings: as the site names them, which GitHub does too."""
    plain = (re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading) for heading in HEADING.findall(prose(page)))
    slugs = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in plain)
    return {re.sub(r"\s", "-", slug) for slug in slugs if not re.search(r"\s\s|-\s|\s-", slug)}


def test_every_page_is_in_the_contents_once() -> None:
    assert Counter(contents()) == Counter(str(page.relative_to(DOCS)) for page in PAGES)


def test_every_question_is_on_the_first_page() -> None:
    questions = {str(page.relative_to(DOCS)) for page in (DOCS / "questions").iterdir()}
    assert questions <= set(LINK.findall((DOCS / "index.md").read_text()))


def test_a_newcomer_reads_no_more_than_120_lines_first() -> None:
    assert len(ABOVE[0].read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", [*ABOVE, *PAGES], ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"https?://|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), link
        assert page in ABOVE or DOCS in target.parents, f"{link} leads out of the site"
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lists_and_blocks_look_the_same_on_the_site_and_elsewhere(page: Path) -> None:
    """The site's Markdown takes four spaces inside a list, and a blank line before one."""
    before = ""
    for line in prose(page).splitlines():
        assert before or not re.match(r" {1,3}\S", line), f"{line}: a paragraph of a list takes four spaces"
        is_item, was_item = (re.match(r" *([-*]|\d+\.) ", each) for each in (line, before))
        starts_list = is_item and not was_item and not before.startswith(" ")
        assert not (starts_list and before), f"{line}: a list begins after a blank line"
        before = line
    assert not re.search(r"^ {1,3}```", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_of_an_answer_is_printed(page: Path, assay: Assay) -> None:
    for command, shown in SHOWN.findall(page.read_text()):
        said = assay(*command.split())
        assert said.code == 0 and said.out.startswith(shown), command
