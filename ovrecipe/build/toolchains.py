"""Toolchains on this machine: made once in the user's cache, shared by projects, removed.

A toolchain is a virtual environment with its own packages in front and those of the environment
that ovrecipe runs in behind, so that torch and OpenVINO are not there twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.build.events import Noted, Progressed, Waiting, Watch
from ovrecipe.build.memory import TICK
from ovrecipe.errors import ToolchainError, disk_full, says_disk_full
from ovrecipe.hooks.roles import Toolchain
from ovrecipe.json_files import read_object, write_object
from ovrecipe.processes import started
from ovrecipe.store import locks
from ovrecipe.store.disk import (
    disk_errors,
    entries,
    files_below,
    random_name,
    remove_moved,
    remove_tree,
)
from ovrecipe.types import Json
from ovrecipe.wording import SHORT

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.execute import Work

VARIABLE = "OVRECIPE_TOOLCHAINS"
MANIFEST, LOG_NAME, STAGING = "toolchain.json", "log.txt", ".stage-"
#: Puts a folder's packages behind those that are there, with what its own .pth files say.
BEHIND = "import site; site.addsitedir({!r})\n"
#: Proves, in the new environment, that its packages are found first, load, and see ovrecipe's.
PROOF = """
import importlib, importlib.metadata, importlib.util, json, sys
import ovrecipe
for name, wanted in json.loads(sys.argv[1]).items():
    found = importlib.metadata.version(name)
    assert found == wanted, f"{name} {wanted} is wanted, and {found} is found"
    module = name.replace("-", "_")
    if importlib.util.find_spec(module) is not None:
        importlib.import_module(module)
"""
#: What pip and uv say of a version that the index does not have, or not for this Python.
VANISHED = re.compile(
    r"no matching distribution|there is no version of|no versions? of", re.IGNORECASE
)
SHOWN_LINES = 12


def with_toolchain(
    fields: Mapping[str, Json], provider: str, toolchain: Toolchain
) -> dict[str, Json]:
    """Return what a key says of a provider, with the versions that it meets in a toolchain."""
    about: Any = fields[provider]
    versions = {**about["packages"], **toolchain.packages}
    lock: dict[str, Json] = {"name": toolchain.name, "sha256": _sha256(dict(toolchain.packages))}
    return {**fields, provider: {**about, "packages": versions}, "toolchain": lock}


def _sha256(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Toolchains:
    """The toolchains below `root` for the environment that this process runs in."""

    root: Path
    env: Mapping[str, str]

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Toolchains:
        """Return those of the user's cache, or of the folder that the variable names."""
        if named := env.get(VARIABLE):
            return cls(Path(named).expanduser().absolute(), env)
        from platformdirs import user_cache_path

        return cls(user_cache_path("ovrecipe", appauthor=False) / "toolchains", env)

    def folder(self, toolchain: Toolchain) -> Path:
        """Return where a toolchain lies; each Python and main environment has its own."""
        return self.root / f"{toolchain.name}-{_sha256(_contents(toolchain))[:SHORT]}"

    def python(self, toolchain: Toolchain) -> Path:
        """Return its interpreter."""
        return _python(self.folder(toolchain))

    def objection(self, toolchain: Toolchain) -> str | None:
        """Return why a toolchain cannot be used as it is; None when it can. A few stats."""
        folder = self.folder(toolchain)
        if not folder.is_dir():
            return "it is not made yet"
        if not self.python(toolchain).exists():
            return "its Python is gone"
        manifest = self.manifest(toolchain)
        if {name: manifest.get(name) for name in _contents(toolchain)} != _contents(toolchain):
            return f"its {MANIFEST} says something else"
        for name, version in toolchain.packages.items():
            place = _site_packages(folder) / f"{name.replace('-', '_')}-{version}.dist-info"
            if not place.is_dir():
                return f"its {name} {version} is gone"
        return None

    def manifest(self, toolchain: Toolchain) -> dict[str, Any]:
        """Return what is noted of a toolchain that is made; {} when it is not, or damaged."""
        return noted_in(self.folder(toolchain))

    def make(
        self,
        toolchain: Toolchain,
        *,
        waiting: Callable[[], None] = lambda: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Make a toolchain unless it is there and whole, and return whether that was needed.

        Of two who want it, one makes it and the other waits. It appears with one rename.

        Raises:
            ToolchainError: it cannot be installed; nothing of it stays but its log.
            StoreNotWritable, DiskFull: the disk refuses.
            KeyboardInterrupt: it was cancelled.
        """
        if self.objection(toolchain) is None:
            return False
        folder = self.folder(toolchain)
        with self._writing():
            (self.root / locks.LOCKS).mkdir(parents=True, exist_ok=True)
            with locks.held(self._lock_path(folder, "lock"), waiting=waiting):
                if self.objection(toolchain) is None:
                    return False
                # Nobody else is making it, so these are of processes that were killed.
                for left in entries(self.root):
                    if left.name.startswith(STAGING + folder.name):
                        remove_tree(left)
                staging_dir = self.root / f"{STAGING}{folder.name}-{random_name()}"
                try:
                    self._install(toolchain, staging_dir, cancelled)
                    remove_moved(folder, self.root)
                    staging_dir.rename(folder)
                finally:
                    remove_tree(staging_dir)
        return True

    def remove(self, toolchain: Toolchain) -> bool:
        """Remove a toolchain, and return whether there was one.

        Raises:
            ToolchainError: a running build uses it.
        """
        return self.remove_folder(self.folder(toolchain))

    def folders(self) -> list[Path]:
        """Return every toolchain that is made, those of other environments and locks too."""
        return [path for path in entries(self.root) if (path / MANIFEST).is_file()]

    def remove_folder(self, folder: Path) -> bool:
        """Remove what `folders` named, as `remove` does."""
        if not folder.exists():
            return False
        with self._writing(), locks.alone_if_unused(self._lock_path(folder, "use")) as unused:
            if not unused:
                message = f"toolchain {folder.name}: a running build uses it"
                raise ToolchainError(message, remedy="remove it when the build is over")
            remove_moved(folder, self.root)
        return True

    @contextmanager
    def used(self, toolchain: Toolchain) -> Iterator[Path]:
        """Keep a toolchain from being removed, and give its interpreter."""
        with ExitStack() as stack:
            with self._writing():
                stack.enter_context(locks.used(self._lock_path(self.folder(toolchain), "use")))
            yield self.python(toolchain)

    def _lock_path(self, folder: Path, kind: str) -> Path:
        return self.root / locks.LOCKS / f"{folder.name}.{kind}"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        remedy = f"make it a writable folder, or name another with {VARIABLE}"
        with disk_errors(self.root, remedy=remedy):
            yield

    def _install(
        self, toolchain: Toolchain, staging_dir: Path, cancelled: Callable[[], bool]
    ) -> None:
        import venv

        began = time.monotonic()
        venv.create(staging_dir, symlinks=os.name != "nt")
        python = str(_python(staging_dir))
        wanted = [f"{name}=={version}" for name, version in toolchain.packages.items()]
        installer, command = _installer(python)
        self._run(toolchain, installer, [*command, *wanted], staging_dir, cancelled)
        # Only now: an installer that sees them would leave out what is there in this version.
        behind = "".join(BEHIND.format(folder) for folder in _main_folders())
        (_site_packages(staging_dir) / "_main.pth").write_text(behind, encoding="utf-8")
        proof = [python, "-P", "-c", PROOF, json.dumps(dict(toolchain.packages))]
        self._run(toolchain, "its proof", proof, staging_dir, cancelled)
        for script in entries(_python(staging_dir).parent):
            # They start with a place that is another one by now.
            if not script.name.startswith("python"):
                script.unlink()
        size_bytes = sum(path.lstat().st_size for path in files_below(staging_dir))
        facts = {"made_with": installer, "size_bytes": size_bytes}
        facts["seconds"] = round(time.monotonic() - began, 1)
        write_object(staging_dir / MANIFEST, {**_contents(toolchain), **facts})

    def _run(
        self,
        toolchain: Toolchain,
        doing: str,
        command: Sequence[str],
        staging_dir: Path,
        cancelled: Callable[[], bool],
    ) -> None:
        """Run a command to its end; what it says of errors is the log."""
        log_path = staging_dir / LOG_NAME
        with (
            log_path.open("ab") as log,
            started(command, env=self.env, log=log, hear=lambda _: None) as process,
        ):
            while process.poll() is None:
                if cancelled() or not threading.main_thread().is_alive():
                    raise KeyboardInterrupt
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TICK)
        if process.returncode:
            raise self._failure(toolchain, doing, process.returncode, log_path)

    def _failure(self, toolchain: Toolchain, doing: str, code: int, log_path: Path) -> Exception:
        """Keep the log and return what to tell."""
        kept_path = self.root / "logs" / f"{self.folder(toolchain).name}.log"
        kept_path.parent.mkdir(exist_ok=True)
        shutil.copyfile(log_path, kept_path)
        text = kept_path.read_text(encoding="utf-8", errors="replace")
        shown = "\n  | ".join(["", *text.strip().splitlines()[-SHOWN_LINES:]])
        message = f"toolchain {toolchain.name}: {doing} failed with exit code {code}"
        message = f"{message}; its log is {kept_path}{shown}"
        if says_disk_full(text):
            return disk_full(message)
        remedy = f"when the network is there: ovrecipe toolchain make {toolchain.name}"
        if VANISHED.search(text):
            remedy = (
                "the package index has a version no longer, or not for this Python, or cannot be "
                f"reached; try 'ovrecipe toolchain make {toolchain.name}', or name another one "
                "in the recipe's model.toolchain"
            )
        return ToolchainError(message, remedy=remedy)


def noted_in(folder: Path) -> dict[str, Any]:
    """Return what is noted in a toolchain's folder; {} when nothing can be read there."""
    with suppress(ToolchainError):
        return read_object(folder / MANIFEST, error=ToolchainError)
    return {}


@contextmanager
def exporters_python(work: Work, watch: Watch) -> Iterator[Path]:
    """Give the interpreter that the recipe's exporter works with; it is made where it must be."""
    plan = work.plan
    toolchain, choice = plan.toolchain(), plan.toolchain_choice()
    if toolchain is None:
        yield Path(sys.executable)
        return
    toolchains = Toolchains.of(work.context.project.env)
    # From here on nobody removes it.
    with toolchains.used(toolchain) as python:
        is_made = toolchains.objection(toolchain) is None
        how = "" if is_made else ", which is made now, once for all projects"
        watch(Noted(work.title, f"{choice.reason}; using toolchain {toolchain.name}{how}"))
        if not is_made:
            watch(Progressed(work.title, f"making toolchain {toolchain.name}"))
            waits = Waiting(work.title, f"another build is making toolchain {toolchain.name}")
            toolchains.make(
                toolchain, waiting=lambda: watch(waits), cancelled=work.context.cancelled
            )
        yield python


def check_toolchain(plan: RecipePlan) -> None:
    """Refuse a recipe whose exporter has no environment to work in.

    Raises:
        ToolchainError: none fits the checkpoint, or the one is not made and there is no network.
    """
    from ovrecipe.builtin.hub import is_offline

    choice, toolchain = plan.toolchain_choice(), plan.toolchain()
    if choice.name is None:
        raise ToolchainError(
            f"recipe '{plan.recipe.name}': {choice.reason}",
            remedy="name an environment yourself with model.toolchain, or another exporter",
        )
    env = plan.context.project.env
    if toolchain is None or not is_offline(env):
        return
    objection = Toolchains.of(env).objection(toolchain)
    if objection is not None:
        raise ToolchainError(
            f"recipe '{plan.recipe.name}': {choice.reason}; toolchain {toolchain.name} cannot be "
            f"used: {objection}, and HF_HUB_OFFLINE is set",
            remedy=f"where there is a network, once: ovrecipe toolchain make {toolchain.name}",
        )


def _contents(toolchain: Toolchain) -> dict[str, Any]:
    """Return what a made toolchain depends on: its lock, the Python, the packages behind it."""
    return {
        "name": toolchain.name,
        "packages": dict(toolchain.packages),
        "python": f"{sys.implementation.cache_tag} {sysconfig.get_platform()}",
        "behind": _main_folders(),
    }


def _main_folders() -> list[str]:
    """Return the folders with packages of the environment that this process runs in."""
    folders = [*site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        folders.insert(0, site.getusersitepackages())
    return [folder for folder in folders if Path(folder).is_dir()]


def _paths(folder: Path) -> dict[str, str]:
    base = {"base": str(folder), "platbase": str(folder)}
    return sysconfig.get_paths("venv", vars={**base, "installed_base": str(folder)})


def _python(folder: Path) -> Path:
    return Path(_paths(folder)["scripts"]) / ("python.exe" if os.name == "nt" else "python")


def _site_packages(folder: Path) -> Path:
    return Path(_paths(folder)["purelib"])


def _installer(python: str) -> tuple[str, Sequence[str]]:
    """Return who installs into an environment, and the command but for what: uv, or our pip."""
    if uv := shutil.which("uv"):
        return "uv", [uv, "pip", "install", "--python", python, "--no-deps"]
    try:
        # Not by its spec: setuptools takes a search for pip's as its cue to replace distutils.
        distribution("pip")
    except PackageNotFoundError as exc:
        raise ToolchainError(
            "a toolchain is made with uv or with pip, and neither is here",
            remedy="install uv, or run 'python -m ensurepip' in ovrecipe's environment",
        ) from exc
    flags = ["--no-deps", "--no-compile", "--no-input", "--disable-pip-version-check", "--quiet"]
    return "pip", [sys.executable, "-m", "pip", "--python", python, "install", *flags]
