"""Sets up what the peers need in `.bench/` of the checkout: a venv, node modules, Debian packages unpacked.

Nothing is installed into the machine: packages of Debian that it lacks are downloaded by apt and unpacked, so that
this needs no root. What cannot be had raises Missing with the reason, and the bench says so.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.rig import ROOT

PLACE = ROOT / ".bench"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
SLOW = 900


class Missing(Exception):
    """Something cannot be set up; its text is the reason."""


class Kit:
    """The tools in `place`; each is made when it is first asked for, and kept for the next run."""

    def __init__(self, place: Path = PLACE) -> None:
        self._place = place
        self.versions: dict[str, str] = {}

    def python(self, *packages: str) -> str:
        """Return a Python that has these packages of the index."""
        python = self._place / "venv" / "bin" / "python"
        if not python.exists():
            _run([sys.executable, "-m", "venv", str(python.parent.parent)])
        if not self._have(python, packages):
            _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
            self._have(python, packages)
        return str(python)

    def _have(self, python: Path, packages: tuple[str, ...]) -> bool:
        listed = json.loads(_run([str(python), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]))
        versions = {package["name"].lower(): package["version"] for package in listed}
        names = [package.partition("[")[0].lower() for package in packages]
        self.versions |= {name: versions[name] for name in names if name in versions}
        return all(name in versions for name in names)

    def node(self, *packages: str) -> str:
        """Return the node program, to be run with `modules` in its environment."""
        node = shutil.which("node", path=PATH)
        npm = shutil.which("npm", path=PATH)
        if node is None or npm is None:
            raise Missing("no node or npm on this machine (apt install nodejs npm)")
        self.versions["node"] = _run([node, "--version"]).strip().lstrip("v")
        self.modules.parent.mkdir(parents=True, exist_ok=True)
        lacking = [name for name in packages if not (self.modules / name / "package.json").exists()]
        if lacking:
            _run([npm, "install", "--no-audit", "--no-fund", "--prefix", str(self.modules.parent), *lacking])
        for name in packages:
            self.versions[name] = json.loads((self.modules / name / "package.json").read_bytes())["version"]
        return node

    @property
    def modules(self) -> Path:
        """The folder of the node packages."""
        return self._place / "node" / "node_modules"

    @property
    def root(self) -> Path:
        """The folder into which packages of Debian are unpacked."""
        return self._place / "root"

    def debian(self, package: str, program: str) -> str:
        """Return the path of a program: the machine's own, or else the one of Debian's package, unpacked."""
        own = shutil.which(program, path=PATH)
        return own or self._from(package, f"usr/bin/{program}", f"usr/sbin/{program}")

    def file(self, package: str, path: str) -> str:
        """Return where a file of Debian's package is: at its place in the machine, or unpacked."""
        return f"/{path}" if os.path.exists(f"/{path}") else self._from(package, path)

    def _from(self, package: str, *paths: str) -> str:
        for _ in range(2):
            for path in paths:
                if (self.root / path).exists():
                    return str(self.root / path)
            self._unpack(package)
        raise Missing(f"Debian's {package} holds no {paths[0]}")

    def _unpack(self, package: str) -> None:
        if shutil.which("apt-get") is None:
            raise Missing(f"no {package} here, and no apt-get to download it")
        simulated = _run(["apt-get", "-s", "-qq", "--no-install-recommends", "install", package])
        names = [line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")]
        archives = self._place / "debs" / package
        archives.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "-qq", "download", *names], cwd=archives)
        for archive in sorted(archives.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(archive), str(self.root)])

    def libraries(self) -> dict[str, str]:
        """Return the environment in which unpacked programs find their libraries."""
        found = sorted(str(path) for path in (self.root / "usr" / "lib").glob("*-linux-gnu*"))
        return {"LD_LIBRARY_PATH": ":".join(found)} if found else {}


def _run(command: list[str], cwd: Path | None = None) -> str:
    """Run a command and return what it prints; raises Missing with the last that it says when it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SLOW, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{Path(command[0]).name}: {error}") from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        telling = [line for line in said if line.lower().startswith(("error", "e:", "npm err"))] or said
        raise Missing(f"{' '.join([Path(command[0]).name, *command[1:3]])}: {telling[-1] if telling else 'failed'}")
    return done.stdout
