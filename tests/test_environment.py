"""The set-up files agree: pyproject.toml's ranges, the lock, environment.yml and the Makefile."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.txt").read_text()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())

DIRECT = [
    Requirement(text)
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
]
# a pin and its hashes are one logical line, continued by backslashes
PINS = [
    line
    for line in re.sub(r"\\\n\s*", "", LOCK).splitlines()
    if line and not line.lstrip().startswith("#")
]


def locked(name):
    """The lock's requirements for `name`; several when they differ by Python version or platform."""
    lines = [line.split("--hash")[0] for line in PINS]
    wanted = canonicalize_name(name)
    return [Requirement(line) for line in lines if canonicalize_name(line.split("==")[0]) == wanted]


def test_conda_gives_python_and_pip_and_the_lock_gives_everything_else():
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]
    assert CONDA["dependencies"] == ["python=3.11", "pip", {"pip": ["-r requirements.txt"]}]


def test_the_project_allows_the_python_that_conda_installs():
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains("3.11")


@pytest.mark.parametrize("wanted", DIRECT, ids=str)
def test_each_direct_dependency_is_pinned_within_its_range(wanted):
    pins = locked(wanted.name)
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    versions = [next(iter(pin.specifier)).version for pin in pins]
    assert len(here) == 1, f"{wanted.name}: {len(here)} pins apply to this Python"
    assert all(wanted.specifier.contains(version) for version in versions), versions


def test_the_lock_was_made_from_these_direct_dependencies():
    # the lock notes who asked for a package below its hashes, on one line or one name a line
    asked = set()
    for block in re.split(r"\n(?=[a-z])", LOCK):
        if re.search(r"# +(via )?tgtqr \(pyproject\.toml\)", block):
            asked.add(canonicalize_name(re.match(r"[\w.-]+", block)[0]))
    assert asked == {canonicalize_name(wanted.name) for wanted in DIRECT}


def test_each_line_of_the_lock_is_one_version_with_its_hashes():
    pin = re.compile(r"[\w.-]+==[\w.+!]+( ; [^#]+?)?( *--hash=sha256:[0-9a-f]{64})+")
    assert [line for line in PINS if not pin.fullmatch(line)] == []


def test_the_lock_names_no_place_to_download_from():
    place = r"\S*://\S*|\bfile:|--(?:extra-)?index|--find-links|\b[a-z0-9-]+\.(?:org|com|net|io)\b"
    assert re.findall(place, LOCK) == []


@pytest.mark.parametrize("target", ["env", "demo", "test", "check", "bench"])
def test_make_knows_the_target(target):
    rules = re.findall(r"^([a-z]+):.* ## \S", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert target in rules


def make_env(home, python):
    """`make env` on a copy of the set-up files, with a `python` that answers as the script says."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, home)
    (home / "python").write_text(f'#!/bin/sh\ncase "$*" in\n{python}\nesac\n')
    (home / "python").chmod(0o755)
    return subprocess.run(
        ["make", "-C", home, "env", "PYTHON=./python"], capture_output=True, text=True
    )


def test_make_env_names_the_package_that_lacks(tmp_path):
    done = make_env(tmp_path, "*print*) echo 3.11 ;;\n*ensurepip*) exit 1 ;;")
    assert done.returncode != 0
    assert "apt-get install python3.11-venv" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_make_env_refuses_an_old_python(tmp_path):
    done = make_env(tmp_path, "*print*) echo 3.9 ;;\n*exit*) exit 1 ;;")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed; found 3.9" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_an_install_that_fails_is_not_taken_for_a_finished_one(tmp_path):
    # the new environment's own interpreter fails at whatever it is asked, pip first
    broken = "mkdir -p .venv/bin; echo 'exit 1' > .venv/bin/python; chmod +x .venv/bin/python"
    for _ in range(2):
        done = make_env(tmp_path, f"*print*) echo 3.11 ;;\n*venv*clear*) {broken} ;;")
        assert done.returncode != 0
        assert "First time" in done.stdout
        assert not list(tmp_path.glob(".venv/.*"))
