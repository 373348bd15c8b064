"""A bundle: a trained model on disk. safetensors and JSON, every file hashed, never pickle.

bundle.json            format, configuration, schema, facts, SHA-256 of the other files
weights.safetensors    the network's parameters
coupling.safetensors   ranks of the joint scenarios, one row a series
series.json            the keys of those rows
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from forecast.demand.panel import SeriesKeys
from forecast.errors import IntegrityError, NotFoundError
from forecast.model.config import ModelConfig
from forecast.model.schema import FeatureSchema

FORMAT: Final = 2
RANKS: Final = "ranks_SHK"
FILES: Final = ("weights.safetensors", "coupling.safetensors", "series.json")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A trained model and all that is needed to score with it.

    weights: parameters by name. ranks_SHK: joint scenarios of the training series, rows as `keys`; of a
    bundle that was loaded they are mapped from its file, so that only rows that are asked for take memory.
    facts: what a person wants to know of it (origin, data version, series, steps, seed ...); plain values.
    """

    config: ModelConfig
    schema: FeatureSchema
    weights: Mapping[str, Tensor]
    ranks_SHK: NDArray[np.uint8]
    keys: SeriesKeys
    facts: Mapping[str, str | int | float]

    @cached_property
    def bundle_id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of its manifest."""
        return _identifier(_manifest(self)[0])

    def save(self, folder: Path) -> None:
        """Write the bundle as `folder`, whole or not at all; a folder that is there already stays as it
        is."""
        if folder.exists():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        manifest, contents = _manifest(self)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, data in {**contents, "bundle.json": manifest}.items():
                with (temporary / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            temporary.chmod(0o755)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read and verify a bundle.

        Raises:
            NotFoundError: no bundle there. IntegrityError: another format, or bytes that are not what was
            written.
        """
        try:
            data = (folder / "bundle.json").read_bytes()
            manifest = json.loads(data)
        except FileNotFoundError:
            raise NotFoundError("bundle", expected=f"a bundle in {folder}", found="no bundle.json") from None
        except ValueError as error:
            raise IntegrityError("bundle.json", expected="JSON", found=str(error)) from None
        if manifest.get("format") != FORMAT:
            ways = "train again, install the release that wrote it, or `surgecast models rollback`"
            raise IntegrityError(
                "bundle.json format",
                expected=str(FORMAT),
                found=f"{manifest.get('format')}; {ways}",
            )
        for name in FILES:
            _verify(folder / name, manifest["sha256"][name])
        keys = json.loads((folder / "series.json").read_bytes())
        bundle = cls(
            config=ModelConfig(**manifest["config"]),
            schema=FeatureSchema.from_dict(manifest["schema"]),
            weights=load_tensors((folder / "weights.safetensors").read_bytes()),
            ranks_SHK=_map_ranks(folder / "coupling.safetensors"),
            keys=SeriesKeys(**{name: np.asarray(values, dtype=np.str_) for name, values in keys.items()}),
            facts=manifest["facts"],
        )
        vars(bundle)["bundle_id"] = _identifier(
            data
        )  # what `bundle_id` would find, at the cost of writing it
        return bundle


def _manifest(bundle: Bundle) -> tuple[bytes, dict[str, bytes]]:
    """The manifest's bytes, and the other files' bytes."""
    keys = {name: getattr(bundle.keys, name).tolist() for name in ("item", "location", "platform")}
    contents = {
        "weights.safetensors": save_tensors({k: v.cpu().contiguous() for k, v in bundle.weights.items()}),
        "coupling.safetensors": save_arrays({RANKS: np.ascontiguousarray(bundle.ranks_SHK)}),
        "series.json": json.dumps(keys).encode(),
    }
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "config": asdict(bundle.config),
        "schema": bundle.schema.to_dict(),
        "facts": dict(bundle.facts),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
    }
    return json.dumps(manifest, indent=2, sort_keys=True).encode(), contents


def _identifier(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()[:16]


def _verify(path: Path, expected: str) -> None:
    """Read a file once, a little at a time. Raises IntegrityError where it is not what was written."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise IntegrityError(str(path), expected="a file of the bundle", found="no such file") from None
    if found != expected:
        raise IntegrityError(str(path), expected=f"SHA-256 {expected}", found=found)


def _map_ranks(path: Path) -> NDArray[np.uint8]:
    """The ranks in a file that was verified, mapped: a safetensors file is the length of its header (8 bytes,
    little-endian), the header in JSON, and the tensors' bytes."""
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(n_header))[RANKS]
    offset = 8 + n_header + entry["data_offsets"][0]
    if 0 in entry["shape"]:  # nothing can be mapped
        return np.zeros(entry["shape"], np.uint8)
    return np.memmap(path, np.uint8, "r", offset=offset, shape=tuple(entry["shape"]))
