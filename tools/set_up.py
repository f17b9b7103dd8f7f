"""Make the environment `.venv` of a source tree: packages, generated interfaces, executables.

Run by `make setup` with the system's Python, so it uses nothing but the standard library. What is done already is not
done again: a stamp in the environment holds hashes of what each step was made from. Python rooms and share files are
read from the source tree itself, so that editing them needs no further step.
"""

import argparse
import ast
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ("ros_wheels", "build", "run", "exchange", "view", "test")
# How uv calls what pip is told of indexes; uv reads none of pip's settings by itself.
UV_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}
# What an installed ROS 2, or another environment of its wheels, leaves in the shell and what would mislead this one.
MISLEADING = (
    *("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME"),
    *("ROS_DISTRO", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"),
)


IMPORT_ALL = """
import contextlib, importlib, pkgutil, physai_ros.cli, physai_ros.nodes
for room in (physai_ros.cli, physai_ros.nodes):
    for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        with contextlib.suppress(ImportError):
            importlib.import_module(module.name)
"""


class SetUpError(Exception):
    """Something is missing; the message is one line that says what to do."""


def main() -> int:
    """Run the steps that are due; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the environment to make")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers to run at once")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        done = set_up(arguments.venv.absolute(), arguments.jobs)
    except SetUpError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    if done:
        seconds = time.monotonic() - began
        (arguments.venv / "physai_ros_setup_seconds").write_text(f"{seconds:.1f}\n")
        print(f"setup: ready in {seconds:.0f} s; the command is {arguments.venv}/bin/physai")
    return 0


def set_up(venv: Path, jobs: int) -> bool:
    """Bring `venv` up to date; return whether anything had to be done."""
    check_python()
    stamp_file = venv / "physai_ros_setup.json"
    stamp = json.loads(stamp_file.read_text()) if stamp_file.is_file() else {}
    due = {
        "environment": f"{sys.version} {venv}",
        "packages": digest(["constraints.txt", *map(file_of, REQUIREMENTS)]),
        "interfaces": f"{ROOT} "
        + digest(["CMakeLists.txt", "cmake", "package.xml", "msg", "srv", "action", "physai_ros/__init__.py"])
        + digest(["tools/set_up.py"]),
    }
    if stamp == due and (venv / "bin" / "physai").is_file():
        return False
    log = ROOT / "build" / "setup.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("")
    if stamp.get("environment") != due["environment"] or not (venv / "bin" / "python").exists():
        stamp = {}
        print(f"setup: 1/3 environment {venv} ({sys.version.split()[0]})", flush=True)
        make_environment(venv)
    check_compiler()
    if stamp.get("packages") != due["packages"]:
        print("setup: 2/3 packages of requirements/*.txt, pinned by constraints.txt (a minute or a few)", flush=True)
        stamp_file.unlink(missing_ok=True)
        install_packages(venv, log)
    print("setup: 3/3 interfaces of msg/, srv/ and action/ (about a minute)", flush=True)
    build_interfaces(venv, jobs, log)
    # What the processes of a graph import is compiled here, once: they start together, and each would do it.
    run([str(venv / "bin" / "python"), "-c", IMPORT_ALL], log)
    stamp_file.write_text(json.dumps(due, indent=1) + "\n")
    return True


def check_python() -> None:
    """Raise if this Python is too old or cannot make environments."""
    if sys.version_info < (3, 10):  # noqa: UP036
        raise SetUpError(f"Python {sys.version.split()[0]} is too old; install Python 3.10 or newer as python3.")
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise SetUpError("Python's venv module is missing; install it (Debian, Ubuntu: apt install python3-venv).")


def check_compiler() -> None:
    """Raise if no C++ compiler is on the path."""
    names = [name for name in (os.environ.get("CXX"), "c++", "g++", "clang++") if name]
    if not any(shutil.which(name.split()[0]) for name in names):
        raise SetUpError("no C++ compiler found; install one (Debian, Ubuntu: apt install g++) or set CXX.")


def make_environment(venv: Path) -> None:
    """Make an empty environment."""
    finished = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if finished.returncode:
        reason = " ".join(finished.stdout.split())[-300:]
        raise SetUpError(f"python3 -m venv failed (Debian, Ubuntu: apt install python3-venv): {reason}")


def file_of(name: str) -> str:
    """Return the path of a requirements file, below the source tree."""
    return f"requirements/{name}.txt"


def install_packages(venv: Path, log: Path) -> None:
    """Install what requirements/ lists: by uv, which takes a fraction of pip's time, or by pip where uv cannot."""
    pip = [str(venv / "bin" / "python"), "-m", "pip"]
    constraint = ["--constraint", str(ROOT / "constraints.txt")]
    wanted = [f"--requirement={ROOT / file_of(name)}" for name in REQUIREMENTS]
    install = [*pip, "install", "--quiet", "--disable-pip-version-check", *constraint]
    if not run([*install, "uv"], log):
        options, certificates = uv_options(pip)
        uv = [str(venv / "bin" / "uv"), "pip", "install", "--quiet", f"--python={venv}/bin/python", *options]
        if not run([*uv, *constraint, *wanted], log, certificates):
            return
    # Not compiled: pip would do that on one core.
    if run([*install, "--no-compile", *wanted], log):
        hint = "is the network, or the package index that pip is set up with, within reach?"
        raise SetUpError(f"neither uv nor pip could install the packages; {hint} Last lines of {log}: {tail(log)}")


def uv_options(pip: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return what pip is set up with as options and environment of uv."""
    command = [*pip, "config", "list"]
    listed = subprocess.run(command, env=clean_environment(), stdout=subprocess.PIPE, text=True).stdout.splitlines()
    # Lines such as: global.index-url='https://...'. The environment, which is listed first, has the last word.
    settings = {}
    for line in sorted(listed, key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in ("global", "install", ":env:"):
            settings[option] = ast.literal_eval(value)
    # As pip does it, the best version of all indexes is taken.
    options = ["--index-strategy=unsafe-best-match"]
    for name, option in UV_OPTIONS.items():
        options += [f"{option}={value}" for value in settings.get(name, "").split()]
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        options.append("--no-index")
    return options, {"SSL_CERT_FILE": settings["cert"]} if settings.get("cert") else {}


def build_interfaces(venv: Path, jobs: int, log: Path) -> None:
    """Build the interfaces, install them with the executables, and let the environment find the source tree."""
    build = ROOT / "build" / "interfaces"
    cache = build / "CMakeCache.txt"
    if cache.is_file() and f"CMAKE_INSTALL_PREFIX:PATH={venv}\n" not in cache.read_text():
        shutil.rmtree(build)
    packages = next((venv / "lib").glob("python3*")) / "site-packages"
    shutil.rmtree(packages / "physai_ros", ignore_errors=True)
    cmake = str(venv / "bin" / "cmake")
    configure = [cmake, "-S", str(ROOT), "-B", str(build), "-G", "Ninja", f"-DCMAKE_INSTALL_PREFIX={venv}"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={venv}/bin/ninja", f"-DPython3_EXECUTABLE={venv}/bin/python"]
    configure += ["-DPHYSAI_ROS_SOURCE_TREE=ON"]
    for command in (
        configure,
        [cmake, "--build", str(build), "--parallel", str(jobs)],
        [cmake, "--install", str(build)],
    ):
        if run(command, log, {"PATH": f"{venv}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"}):
            raise SetUpError(f"CMake failed. Last lines of {log}: {tail(log)}")
    (packages / "physai_ros_source_tree.pth").write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n")


def run(command: list[str], log: Path, extra: "dict[str, str] | None" = None) -> int:
    """Run a command with its output in the log; return its exit code."""
    with log.open("a") as output:
        output.write(f"$ {' '.join(command)}\n")
        output.flush()
        environment = {**clean_environment(), **(extra or {})}
        return subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT).returncode


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what belongs to another Python environment or ROS 2."""
    return {name: value for name, value in os.environ.items() if name not in MISLEADING}


def digest(names: list[str]) -> str:
    """Return a hash over the names and contents of files, and of all files in folders, below the source tree."""
    result = hashlib.sha256()
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                result.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return result.hexdigest()


def tail(log: Path) -> str:
    """Return the last lines of a log as one line."""
    return " | ".join(line.strip() for line in log.read_text().splitlines()[-5:] if line.strip())


if __name__ == "__main__":
    sys.exit(main())
