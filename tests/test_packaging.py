"""What is installed, and what runs from a bare checkout: the rooms as `inboxd.daemon`, `inboxd.jobs`, `inboxd.cache`.

Never as top-level `daemon`, `jobs` or `cache`, which belong to others. Everything is built from a copy, so that no
build leaves anything in the tree.
"""

import ast
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import inboxd
from tests.daemonkit import ROOT

# The rooms, and the data that is installed beside them.
ROOMS = ("daemon", "jobs", "cache", "systemd")
# What the page is made of lies beside the code; it is no code of ours to import.
WEB = "daemon/web"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# What the build backend must at least be, as [build-system] says.
NEWEST_NEEDED = 77
MODULES = sorted(path for folder in ("inboxd", *ROOMS) for path in (ROOT / folder).glob("*.py"))


def copy(target: Path) -> Path:
    """Copy what belongs to the project, links as links, without what was built or measured from it."""
    passed = shutil.ignore_patterns(
        "__pycache__", "*.egg-info", "build", "dist", "spool", "demo-spool", ".*cache", ".venv", ".git", ".hypothesis"
    )
    return Path(shutil.copytree(ROOT, target, symlinks=True, ignore=passed))


def build(source: Path, out: Path, *what: str) -> None:
    # A backend that is installed already saves the fetching of one.
    isolation = ["--no-isolation"] if int(version("setuptools").partition(".")[0]) >= NEWEST_NEEDED else []
    command = [sys.executable, "-m", "build", *isolation, *what, "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `sdist/`, `wheel/` (of the tree) and `again/` (of the sdist), made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            source = copy(folder / "source")
            build(source, folder / "sdist", "--sdist")
            build(source, folder / "wheel", "--wheel")
            with tarfile.open(one(folder / "sdist")) as sdist:
                sdist.extractall(folder / "unpacked", filter="data")
            build(one(folder / "unpacked"), folder / "again", "--wheel")
            (folder / "done").touch()
    return folder


def one(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.journey
def test_the_wheel_holds_the_package_as_it_is_and_nothing_else(built: Path) -> None:
    found = contents(one(built / "wheel"))
    metadata = {name for name in found if re.match(r"inboxd-[\d.]+\.dist-info/", name)}
    tree = {
        f"inboxd/{room}{path.name}": path.read_bytes()
        for room in ("", *(f"{room}/" for room in ROOMS))
        for path in (built / "source" / (room or "inboxd")).iterdir()
        if path.is_file()
    }
    for path in (built / "source" / WEB).rglob("*"):
        if path.is_file():
            tree[f"inboxd/{path.relative_to(built / 'source')}"] = path.read_bytes()
    assert {name: data for name, data in found.items() if name not in metadata} == tree
    assert {"inboxd/py.typed", "inboxd/daemon/cli.py"} <= found.keys()
    (top,) = (found[name] for name in metadata if name.endswith("top_level.txt"))
    assert top.decode().split() == ["inboxd"]
    (scripts,) = (found[name] for name in metadata if name.endswith("entry_points.txt"))
    assert scripts.decode().split("\n")[:2] == ["[console_scripts]", "inboxd = inboxd.daemon.cli:main"]


@pytest.mark.journey
def test_the_sdist_builds_the_same_wheel(built: Path) -> None:
    assert contents(one(built / "again")) == contents(one(built / "wheel"))


@pytest.mark.journey
def test_the_sdist_holds_what_a_build_needs(built: Path) -> None:
    unpacked = one(built / "unpacked")
    found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    needed = {str(path.relative_to(ROOT)) for path in MODULES} | {
        "pyproject.toml",
        PROJECT["project"]["readme"],
        "inboxd/py.typed",
    }
    assert needed - found == set()
    assert not any(name.startswith("tests/") for name in found)


def test_a_bare_checkout_runs(tmp_path: Path) -> None:
    checkout = copy(tmp_path / "checkout")
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = "import inboxd.daemon.cli, sys; print(*sorted({inboxd.__file__, inboxd.daemon.__file__}))"
    for arguments, told in (
        (["-m", "inboxd", "--version"], f"inboxd, version {inboxd.__version__}"),
        (["-c", script], f"{checkout}/inboxd/__init__.py {checkout}/inboxd/daemon/__init__.py"),
    ):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=checkout, env=bare, capture_output=True, text=True, check=False
        )
        assert (done.stdout.strip(), done.returncode) == (told, 0), done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_is_linked_into_the_package(room: str) -> None:
    assert (ROOT / "inboxd" / room).readlink() == Path("..", room)


def test_the_version_stands_in_two_places_and_is_one() -> None:
    assert PROJECT["project"]["version"] == inboxd.__version__


def test_every_room_is_a_package_of_its_own_name() -> None:
    setuptools = PROJECT["tool"]["setuptools"]
    assert set(setuptools["packages"]) == {"inboxd", *(f"inboxd.{room}" for room in ROOMS)}
    assert setuptools["package-dir"] == {"inboxd": "inboxd", **{f"inboxd.{room}": room for room in ROOMS}}


def test_rooms_are_flat() -> None:
    inner = {path for room in ROOMS for path in (ROOT / room).iterdir() if path.is_dir()}
    assert {path.name for path in inner} <= {"__pycache__", "web"}
    assert not list((ROOT / WEB).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
