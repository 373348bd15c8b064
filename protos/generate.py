"""Generate the Python code of `protos/surgecast/v1/*.proto`, or check that what is checked in is up to date.

python protos/generate.py            write the generated files beside their sources
python protos/generate.py --check    exit 1, naming the files, when regenerating would change any
"""

from __future__ import annotations

import argparse
import importlib.resources
import sys
import sysconfig
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
PACKAGE = Path("surgecast", "v1")


def generate(out: Path) -> None:
    """Write messages, stubs and their types into `out`; exits when the compiler refuses a source."""
    scripts = Path(sysconfig.get_path("scripts"))
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).glob("*.proto"))
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [
        "protoc",
        f"--proto_path={ROOT}",
        f"--proto_path={well_known}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        *sources,
    ]
    status = protoc.main(arguments)
    if status != 0:
        sys.exit(status)


def generated(root: Path) -> dict[str, bytes]:
    """The generated files below `root`, by name."""
    return {path.name: path.read_bytes() for path in sorted((root / PACKAGE).glob("*_pb2*.py*"))}


def differences() -> list[str]:
    """Names of generated files that are missing, left over or different."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, present = generated(Path(folder)), generated(ROOT)
    return sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 on a difference")
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    changed = differences()
    for name in changed:
        print(
            f"{PACKAGE / name} is not what the sources give: run python protos/generate.py", file=sys.stderr
        )
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
