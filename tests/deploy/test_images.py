"""docker/Dockerfile without an engine: what its stages promise, the libraries that its programs need. The images themselves
are built and run by .github/workflows/images.yml, or by hand with docker/build."""
import json
import os
import pathlib
import re

import pytest
import stack
import yaml
from chart import CHART
from conftest import ROOT, run

DOCKERFILE = ROOT / "docker" / "Dockerfile"
BIN = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin"))


def stages():
    """{name: (from, [(instruction, rest)])}, continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text()).replace("\\\n", " ")
    found, current = {}, None
    for line in filter(None, (line.strip() for line in text.splitlines())):
        word, rest = line.split(" ", 1)
        if word == "FROM":
            base, _, name = rest.split()
            current = found.setdefault(name, (base, []))
        elif current:
            current[1].append((word, rest.strip()))
    return found


def test_each_service_is_a_stage_that_runs_as_the_charts_user():
    found = stages()
    assert set(found) == {"build", "runtime", *stack.SERVICES}
    user = yaml.safe_load((CHART / "values.yaml").read_text())["uid"]
    runtime = dict(found["runtime"][1])
    assert runtime["USER"] == f"{user}:{user}" and runtime["STOPSIGNAL"] == "SIGTERM"
    for name in stack.SERVICES:
        base, lines = found[name]
        assert base == "runtime" and ("ENTRYPOINT", f'["/usr/local/bin/weir-{name}"]') in lines
        assert not any(word in ("USER", "RUN", "ADD") for word, _ in lines), name
        port = {"fetcher": "9101", "normalizer": "9102", "reconciler": "9103", "gateway": "9104"}[name]
        assert port in dict(lines)["EXPOSE"].split()
        limits, _, command = dict(lines)["HEALTHCHECK"].partition(" CMD ")
        assert json.loads(command) == [f"/usr/local/bin/weir-{name}", "--health"] and "--timeout=5s" in limits.split(), "no shell, and longer than the 4 s it takes at most"
    assert found["build"][0] == found["runtime"][0] == "${BASE}"
    assert "latest" not in DOCKERFILE.read_text() and not any(word == "ADD" for _, lines in found.values() for word, _ in lines)


def test_the_image_has_the_libraries_that_the_programs_need():
    installed = set(re.findall(r"[a-z0-9][a-z0-9.+-]+", next(rest for word, rest in stages()["runtime"][1] if "apt-get install" in rest)))
    programs = [*(f"weir-{service}" for service in stack.SERVICES), "weirctl"]
    needed = {library for name in programs for library in re.findall(r"NEEDED.*\[(.*?)\]", run("readelf", "-d", BIN / name)[1])}
    assert "libpq.so.5" in needed
    _, owners = run("dpkg", "-S", *(f"*/{library}" for library in needed))
    found = {line.split("/")[-1]: line.split(":")[0] for line in owners.splitlines() if ": " in line}
    there = ("libc.", "libm.", "ld-linux", "libgcc_s.", "libyyjson.")  # in every Debian; the last is copied from the build
    missing = {library: found.get(library) for library in needed if found.get(library) not in installed and not library.startswith(there)}
    assert not missing, missing


def test_packages_of_the_build_are_not_in_the_image():
    assert not re.search(r"-dev\b|\bgcc\b|\bmake\b", next(rest for word, rest in stages()["runtime"][1] if "apt-get install" in rest))


def test_the_context_has_what_the_build_copies_and_no_more():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert {".git", "build", "tests", "deploy", "**/node_modules"} <= set(ignored)
    for word, rest in stages()["build"][1]:
        if word == "COPY" and rest != ". .":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists() and not any(source.split("/")[0] == line for line in ignored), source


@pytest.fixture(scope="module")
def boms(tmp_path_factory):
    """The SBOM of each service, of a package list as the recipe writes it: what this machine has of the recipe's packages and those they bring."""
    folder = tmp_path_factory.mktemp("sbom")
    recipe = re.findall(r"\blib[a-z0-9.+-]+", next(rest for word, rest in stages()["runtime"][1] if "apt-get install" in rest))
    _, listed = run("dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\n", "bash", "ca-certificates", "libc6", *recipe)
    (folder / "packages.txt").write_text(listed)
    environment = dict(os.environ, BUILD=str(folder), PACKAGES=str(folder / "packages.txt"), SOURCE_DATE_EPOCH="1790000000")
    status, said = run(ROOT / "docker" / "sbom", env=environment)
    assert status == 0, said
    first = {name: (folder / "sbom" / f"weir-{name}.spdx.json").read_bytes() for name in stack.SERVICES}
    run(ROOT / "docker" / "sbom", env=environment)
    assert first == {name: (folder / "sbom" / f"weir-{name}.spdx.json").read_bytes() for name in stack.SERVICES}, "the same image gives the same bytes"
    return {name: json.loads(text) for name, text in first.items()}


def test_the_sbom_is_spdx(boms):
    for name, bom in boms.items():
        assert (bom["spdxVersion"], bom["dataLicense"], bom["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT")
        assert bom["creationInfo"]["created"] == "2026-09-21T14:13:20Z" and all(re.match(r"(Tool|Organization|Person): ", c) for c in bom["creationInfo"]["creators"])
        ids = [package["SPDXID"] for package in bom["packages"]]
        assert len(set(ids)) == len(ids) and all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", i) for i in ids), name
        assert all(package["downloadLocation"] and package["versionInfo"] for package in bom["packages"])
        described = [r["relatedSpdxElement"] for r in bom["relationships"] if r["relationshipType"] == "DESCRIBES"]
        assert [p["name"] for p in bom["packages"] if p["SPDXID"] in described] == [f"weir-{name}"]
        assert {r["relatedSpdxElement"] for r in bom["relationships"]} == set(ids), "everything is contained in the image"


def test_the_sbom_has_every_package_of_the_recipe_and_what_the_build_brings(boms):
    recipe = set(re.findall(r"\blib[a-z0-9.+-]+", next(rest for word, rest in stages()["runtime"][1] if "apt-get install" in rest)))
    for name, bom in boms.items():
        versions = {package["name"]: package["versionInfo"] for package in bom["packages"]}
        assert recipe | {"ca-certificates", "libyyjson0", "libhiredis-dev"} <= set(versions), recipe - set(versions)
        assert ("preact" in versions) == (name == "gateway")
        assert all(f"{p['name']}@" in p["externalRefs"][0]["referenceLocator"] for p in bom["packages"])
