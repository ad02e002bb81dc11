"""Put machine code into a wheel where FASTMLP_PREBUILD=1 asks for it (`make wheel`); any other build is left as it is.

With the names of levels and commas between them instead of 1, the wheel has code for these alone.
"""

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLATFORM = "manylinux_2_17_x86_64"  # the code calls the C library for sched_yield and for functions of math.h, and nothing younger


class PrebuildHook(BuildHookInterface[Any]):
    """Runs bench/prebuild.py, and says for which Python and platform the wheel is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the code; `version` is "editable" for an installation in place."""
        asked = os.environ.get("FASTMLP_PREBUILD", "")
        if self.target_name != "wheel" or version == "editable" or asked in ("", "0"):
            return
        if not sys.platform.startswith("linux"):
            sys.exit("FASTMLP_PREBUILD: expected Linux, whose wheels the code is for; unset it")
        for pinned in self.metadata.core.optional_dependencies["prebuilt"]:
            _check_version(*pinned.split("=="))
        self.folder = tempfile.TemporaryDirectory()
        made = Path(self.folder.name, "prebuilt")
        here = os.environ | {"PYTHONPATH": self.root}  # the package as it will be in the wheel
        levels = [] if asked == "1" else asked.split(",")
        subprocess.run([sys.executable, Path(self.root, "bench", "prebuild.py"), made, *levels], check=True, env=here)
        for path in made.rglob("*"):
            if path.is_file():
                build_data["force_include"][str(path)] = f"fastmlp/prebuilt/{path.relative_to(made)}"
        python = f"cp{sys.version_info.major}{sys.version_info.minor}"  # code of another minor version does not fit
        build_data["tag"] = f"{python}-{python}-{PLATFORM}"
        build_data["pure_python"] = False

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Throw away what is in the wheel by now."""
        if hasattr(self, "folder"):
            self.folder.cleanup()


def _check_version(package: str, expected: str) -> None:
    if version(package) != expected:
        sys.exit(f"FASTMLP_PREBUILD: expected {package}=={expected} (the extra prebuilt), got {version(package)}; install that one")
