"""What is asked of pip: the name, the extras, and the pins say the same everywhere."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import remanence
from remanence.errors import DISTRIBUTION, MissingExtra

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TEXTS = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.py"), *ROOT.glob("src/**/*.py")]


def normal(name: str) -> str:
    """How indexes spell a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in requirements}


def test_the_distribution_is_named_once():
    assert PROJECT["name"] == DISTRIBUTION
    assert f"pip install '{DISTRIBUTION}[lm]'" in str(MissingExtra("transformers", "lm", "a cache policy"))


def test_every_install_line_names_the_distribution_and_extras_that_exist():
    found = 0
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        for named, extras in re.findall(r"pip\s+install\s+(?:-\S+\s+)*'?(remanence[\w-]*|\.)(?:\[([\w,{}]+)\])?", text):
            assert named in (DISTRIBUTION, "."), f"{path} tells to install {named}"
            known = {*EXTRAS, "{extra}"}
            assert not extras or set(extras.split(",")) <= known, f"{path} names the extra {extras}"
            found += 1
    assert found > 5


def refusals():
    """Each `MissingExtra` of the source whose package and extra are written out: file, package, extra."""
    for path in ROOT.glob("src/**/*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "MissingExtra(" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MissingExtra":
                package, extra = node.args[:2]
                if isinstance(package, ast.Constant) and isinstance(extra, ast.Constant):
                    yield path.name, package.value, extra.value


@pytest.mark.parametrize(("file", "package", "extra"), sorted(refusals()))
def test_the_extra_that_a_refusal_names_brings_the_package(file, package, extra):
    assert normal(package) in packages([*PROJECT["dependencies"], *EXTRAS[extra]])


LOCKS = {"constraints.txt": set(EXTRAS), "constraints-oldest.txt": set(EXTRAS) - {"dev"}}


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_every_package_of_every_extra_is_pinned_and_no_address_is(lock, extras):
    lines = [line for line in (ROOT / lock).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    wanted = packages([*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])])
    assert wanted - {DISTRIBUTION} <= packages(lines)
    for line in lines:
        assert re.match(r"[\w.-]+==[\w.+!]+( ; .+?)?( +#.*)?$", line), f"{lock} holds {line!r}"


def test_the_lowest_versions_that_ran_are_those_that_the_project_asks_for():
    pinned = dict(
        re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints-oldest.txt").read_text("utf-8"), re.MULTILINE)
    )
    asked = [*PROJECT["dependencies"], *(line for extra in LOCKS["constraints-oldest.txt"] for line in EXTRAS[extra])]
    for name, lowest in (re.match(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)$", line).groups() for line in asked):
        if normal(name) != "torch":  # held at one release everywhere
            assert f"{pinned[normal(name)]}.0.0".startswith(lowest), f"{name} was run at {pinned[normal(name)]}"


def test_the_version_is_the_package_s_own():
    assert re.fullmatch(r"\d+\.\d+\.\d+", remanence.__version__)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(remanence.__version__)}\]?", changes, re.MULTILINE)
