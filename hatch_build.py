"""Makes the compiled library of elementwise penalties when penalize is built or installed from its source.

It needs a C compiler and Linux. Without them penalize is installed all the same, and torch's operations do the work.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "src/penalize/evaluation/kernels.c"
# What sqrt() does with negative numbers, and when it traps, keeps loops from being vectorized. The library is not
# linked with OpenMP: it finds torch's.
FLAGS = ["-O3", "-std=gnu11", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"]


class LibraryHook(BuildHookInterface):  # type: ignore[misc]
    """Compiles the library beside its source, where an editable installation finds it, and adds it to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        source = Path(self.root, SOURCE)
        library = source.with_suffix(".so")
        if sys.platform != "linux" or not self._compiled(source, library):
            return
        build_data["artifacts"].append(str(library.relative_to(self.root)))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def _compiled(self, source: Path, library: Path) -> bool:
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        part = library.with_suffix(".o")
        try:
            subprocess.run([*compiler, *FLAGS, "-c", str(source), "-o", str(part)], check=True)
            subprocess.run([*compiler, "-shared", str(part), "-o", str(library), "-lm"], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"penalize is installed without its compiled library: {error}")
            library.unlink(missing_ok=True)
            return False
        finally:
            part.unlink(missing_ok=True)
        return True
