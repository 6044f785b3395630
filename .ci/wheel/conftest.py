"""The archives, made once of what git tracks and left in dist/, and an environment with the wheel alone."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SURROUNDINGS = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
"""The environment variables, less what would let the checkout or another Python in."""


def tracked() -> list[str]:
    """The files that git tracks or would track, and that are there."""
    listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).is_file()]


@dataclass(frozen=True)
class Archives:
    """What would be uploaded."""

    wheel: Path
    source: Path


@pytest.fixture(scope="session")
def archives(tmp_path_factory) -> Archives:
    """The source archive, made of a copy of the tracked files, and the wheel, made of the source archive."""
    copy, made = tmp_path_factory.mktemp("tracked"), tmp_path_factory.mktemp("archives")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made), str(copy)]
    done = subprocess.run(command, env=SURROUNDINGS, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    shutil.copytree(made, ROOT / "dist")
    return Archives(next(made.glob("*.whl")), next(made.glob("*.tar.gz")))


@dataclass(frozen=True)
class Installed:
    """A fresh environment, and a folder outside the checkout in which its commands run."""

    folder: Path
    work: Path
    wheel: Path

    def install(self, *extras: str) -> None:
        """Install the wheel with some extras, and nothing else, in the versions of the lock file."""
        wanted = f"{self.wheel}[{','.join(extras)}]" if extras else str(self.wheel)
        compiled = self.folder / "wanted.txt"
        compiled.write_text(wanted + "\n", encoding="utf-8")
        locked = self.folder / "locked.txt"
        self._uv(
            "compile", "--quiet", "--constraints", str(ROOT / "requirements.lock"), str(compiled), "-o", str(locked)
        )
        self._uv("sync", "--python", str(self.command("python")), str(locked))

    def _uv(self, *arguments: str) -> None:
        command = [Path(sys.executable).with_name("uv"), "pip", *arguments]
        done = subprocess.run(command, env=SURROUNDINGS, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def command(self, name: str) -> Path:
        """A command of the environment."""
        return self.folder / "bin" / name

    def run(self, name: str, *arguments: object, code: int = 0) -> str:
        """Run a command to its end, and return what it printed on both streams."""
        command = [str(self.command(name)), *map(str, arguments)]
        done = subprocess.run(
            command, env=SURROUNDINGS, cwd=self.work, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="session")
def installed(archives, tmp_path_factory) -> Installed:
    """An environment with the wheel and what it needs, no extra."""
    place = Installed(tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("elsewhere"), archives.wheel)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place.folder], check=True)
    place.install()
    return place
