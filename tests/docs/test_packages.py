"""What `bench.packages` says of licences, and its bill of materials."""

import json
from collections.abc import Callable
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from bench.packages import bill, declared, licence, needed, problem

Package = Callable[..., Distribution]


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """Makes an installed package of its metadata's lines."""

    def make(*lines: str) -> Distribution:
        info = tmp_path / "motor-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", "Name: motor", *lines]) + "\n")
        return PathDistribution(info)

    return make


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["License-Expression: MIT AND Apache-2.0", "License: nonsense"], "MIT AND Apache-2.0"),
        (["License: Apache 2.0"], "Apache-2.0"),
        (["License: BSD-3-Clause", "Classifier: License :: OSI Approved :: BSD License"], "BSD-3-Clause"),
        (["Classifier: License :: OSI Approved :: MIT License"], "MIT"),
        (["License: Copyright by us, see elsewhere"], None),
        (["Classifier: License :: OSI Approved :: BSD License"], None),
        ([], None),
    ],
)
def test_a_licence_is_read_from_newer_and_older_metadata(
    lines: list[str], found: str | None, package: Package
) -> None:
    assert licence("motor", package(*lines)) == found


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ("MIT", None),
        ("GPL-3.0-only OR MIT", None),
        ("Apache-2.0 WITH LLVM-exception AND MIT", None),
        ("AGPL-3.0-only", "is not among the licences"),
        ("MIT AND GPL-3.0-only", "is not among the licences"),
        ("CC-BY-NC-4.0", "is not among the licences"),
        ("My own licence", "is no SPDX expression"),
        (None, "names no licence"),
    ],
)
def test_what_forbids_use_in_companies_and_what_is_not_known_is_told(
    found: str | None, complaint: str | None
) -> None:
    said = problem("motor", found)
    assert said is None if complaint is None else said is not None and complaint in said


def test_a_licence_of_checks_is_for_those_packages_alone() -> None:
    assert problem("krippendorff", "GPL-3.0-or-later") is None
    assert problem("motor", "GPL-3.0-or-later") is not None


def test_what_is_needed_is_followed_through_the_installed_packages() -> None:
    found, lacking = needed([Requirement("textual"), Requirement("nothing-of-that-name")])
    assert {"textual", "rich", "pygments"} <= set(found) and lacking == {"nothing-of-that-name"}


def test_the_bill_is_valid_and_names_each_package_with_its_licence_and_needs() -> None:
    own, _ = declared()
    few = [one for one in own if one.name in ("textual", "packaging")]
    packages, _ = needed(few)
    text = bill("0.1.0", packages, few)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    values = json.loads(text)
    assert values["metadata"]["component"]["name"] == "assay"
    parts = {part["name"]: part for part in values["components"]}
    assert parts["rich"]["purl"] == f"pkg:pypi/rich@{distribution('rich').version}"
    assert parts["rich"]["licenses"] == [{"license": {"id": "MIT"}}]
    needs = {one["ref"]: one.get("dependsOn", []) for one in values["dependencies"]}
    assert parts["rich"]["purl"] in needs[parts["textual"]["purl"]]
    assert parts["textual"]["purl"] in needs[values["metadata"]["component"]["bom-ref"]]
