"""Builds the interfaces with CMake, so that `pip install .` makes a whole package where ROS 2 is not installed."""

import os
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildInterfaces(build_ext):
    """Run CMake's install into a staging folder and put what it made into the wheel.

    Modules go beside the Python rooms; libraries, executables and share files become the wheel's data files, which pip
    lays under the environment's prefix.
    """

    def run(self) -> None:
        """Configure, build and install into staging, then share the result out."""
        source = Path(__file__).resolve().parent
        build = Path(self.build_temp).resolve() / "interfaces"
        staging = Path(self.build_temp).resolve() / "staging"
        commands = [
            [
                *("cmake", "-S", str(source), "-B", str(build), "-G", "Ninja", f"-DCMAKE_INSTALL_PREFIX={staging}"),
                *(f"-DPython3_EXECUTABLE={sys.executable}", "-DPHYSAI_ROS_RELOCATABLE=ON"),
            ],
            ["cmake", "--build", str(build)],
            ["cmake", "--install", str(build)],
        ]
        for command in commands:
            subprocess.run(command, check=True)
        packages = [path for path in staging.rglob("physai_ros") if (path / "msg" / "__init__.py").is_file()]
        if len(packages) != 1:
            raise RuntimeError(f"CMake installed {len(packages)} packages of generated interfaces; expected one.")
        self.copy_tree(str(packages[0]), str(Path(self.build_lib) / "physai_ros"))
        self.distribution.data_files = data_files(staging, excluded=packages[0].parent)

    def get_outputs(self) -> list[str]:
        """Return the generated modules, which are copied and not compiled by setuptools."""
        return []


def data_files(staging: Path, excluded: Path) -> list[tuple[str, list[str]]]:
    """Return what CMake installed, by folder below the prefix, without the Python packages in `excluded`.

    ament's `egg-info` lies in `excluded` too: were it part of the wheel, pip could not uninstall it.
    """
    folders: dict[str, list[str]] = {}
    for path in sorted(staging.rglob("*")):
        if path.is_file() and excluded not in path.parents:
            folders.setdefault(str(path.parent.relative_to(staging)), []).append(os.path.relpath(path))
    return sorted(folders.items())


setup(ext_modules=[Extension("physai_ros.interfaces", sources=[])], cmdclass={"build_ext": BuildInterfaces})
