"""Machine code that was kept is used only while no kernel has changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from pipelines.kernels import _jit

CALLS = "from kept.caller import twice; print(twice(3))"
CALLER = """
from kept._jit import jit
from kept.callee import once
@jit
def twice(x):
    return once(x) + once(x)
"""
CALLEE = """
from kept._jit import jit
@jit
def once(x):
    return x + {number}
"""


def test_a_callee_in_another_file_is_compiled_anew(tmp_path: Path) -> None:
    package = tmp_path / "kept"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(Path(_jit.__file__), package / "_jit.py")
    (package / "caller.py").write_text(CALLER)
    answers = []
    for number in (1, 1, 2):
        (package / "callee.py").write_text(CALLEE.format(number=number))
        done = subprocess.run([sys.executable, "-c", CALLS], cwd=tmp_path, capture_output=True, text=True, check=True)
        answers.append(done.stdout.strip())
    assert answers == ["8", "8", "10"]
