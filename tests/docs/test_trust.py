"""The files that tell who may use Assay, how it is installed and checked, say the same and work."""

import hashlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/install.md")


def test_the_licence_is_the_apache_licences_own_text() -> None:
    words = " ".join((ROOT / "LICENSE").read_text().split())
    assert hashlib.sha256(words.encode()).hexdigest() == (
        "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645"
    )
    assert PROJECT["license"] == "Apache-2.0" and PROJECT["license-files"] == ["LICENSE"]


def test_the_citation_and_the_changes_are_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert citation["cff-version"] and citation["title"] and citation["message"] and citation["authors"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None and newest[1] == PROJECT["version"]
    wheels = re.findall(r"assay-([\d.]+)-py3", "".join((ROOT / page).read_text() for page in PAGES))
    assert wheels and set(wheels) == {PROJECT["version"]}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_every_make_target_of_the_pages_and_the_workflow_is_there() -> None:
    text = "".join((ROOT / page).read_text() for page in (*PAGES, ".github/workflows/ci.yml"))
    lines = re.findall(r"(?:^|`|run: )make ([a-z -]+)", text, re.MULTILINE)
    asked = {word for line in lines for word in line.split()}
    assert {"setup", "demo", "test", "test-fast", "test-dist", "dist"} <= asked <= TARGETS


def test_help_lists_every_target() -> None:
    assert set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)) == TARGETS
    assert set(re.search(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)[1].split()) == TARGETS


def test_the_workflow_runs_what_continuous_integration_runs() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert ".ci/run" in [step.get("run") for step in steps]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in steps if "uses" in step)


def test_the_hooks_run_tools_of_the_environment() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    tools = {shlex.split(hook["entry"])[0].removeprefix(".venv/bin/") for hook in repository["hooks"]}
    assert tools == {"ruff", "mypy", "lint-imports"}
    assert [tool for tool in tools if f"$(BIN)/{tool}" not in MAKEFILE] == []


def test_the_container_starts_assay_without_the_rights_of_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert 'ENTRYPOINT ["assay"]' in lines and "ARG TORCH=cpu" in lines
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000"]


HASHED = (ROOT / "constraints.txt").read_text()
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)(?: ; [^\\\n]*)? \\\n((?: +--hash=\S+(?: \\)?\n)+)", re.MULTILINE)
LOCK = PIN.findall(HASHED)


def test_every_package_of_the_set_up_is_pinned_with_hashes_and_fits_what_is_declared() -> None:
    pins = {canonicalize_name(name): version for name, version, _ in LOCK}
    assert len(pins) == len(re.findall(r"^[^ #\n]", HASHED, re.MULTILINE)) > 100
    assert all(re.fullmatch(r"(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", hashes) for *_, hashes in LOCK)
    dev = PROJECT["optional-dependencies"]["dev"]
    wanted = [Requirement(words) for words in (*PROJECT["dependencies"], *dev)]
    wrong = [
        str(one)
        for one in wanted
        if one.name not in ("assay", "torch")
        and not one.specifier.contains(pins.get(canonicalize_name(one.name), "0"), prereleases=True)
    ]
    assert wrong == []


def test_torch_and_what_its_build_brings_are_the_choice_of_an_index() -> None:
    pins = {canonicalize_name(name) for name, *_ in LOCK}
    assert not pins & {"torch", "triton"} and not any(re.match(r"nvidia-(?!ml)|cuda-", name) for name in pins)
    torch = Requirement(re.search(r"^TORCH \?= (.*)", MAKEFILE, re.MULTILINE)[1])
    [declared] = [Requirement(words) for words in PROJECT["dependencies"] if words.startswith("torch")]
    assert declared.specifier.contains(next(iter(torch.specifier)).version)
