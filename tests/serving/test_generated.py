"""The generated code is what the sources give."""

import subprocess
import sys
from pathlib import Path

import pytest
import surgecast


def test_generated_code_is_up_to_date():
    pytest.importorskip("grpc_tools", reason="the compiler is a dependency of development only")
    script = Path(surgecast.__file__).parents[1] / "generate.py"
    result = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
