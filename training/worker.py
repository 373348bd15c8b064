"""One process of a fit on several devices: `python -m training.worker FOLDER RANK SIZE`, started by
`training.distributed`."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from forecast.errors import SurgecastError
from forecast.model.forecaster import choose_device
from training.fit import train_together
from training.handover import read_job, write_digest, write_error, write_record
from training.memory import named_where_full
from training.team import Team

TIMEOUT = timedelta(minutes=5)
"""How long a process waits for another at most."""


def main(folder: Path, rank: int, size: int) -> int:
    """Do this process's part of the job; 0 when it is done, 1 with the error in the folder."""
    job = read_job(folder)
    try:
        with _joined(folder, rank, size, choose_device(job.training.device)) as device:
            team = Team(rank, size)
            with named_where_full(device, team):
                report = (lambda record: write_record(folder, record)) if rank == 0 else None
                fitted = train_together(job, report, team, device)
        write_digest(folder, rank, fitted.network.state_dict())
        if rank == 0:  # the others have left, and wait for nothing
            fitted.bundle().save(folder / "bundle")
    except SurgecastError as error:
        write_error(folder, rank, error)
        return 1
    return 0


@contextlib.contextmanager
def _joined(folder: Path, rank: int, size: int, device: torch.device) -> Iterator[torch.device]:
    """In touch with the others, through NCCL between GPUs and gloo between processors of this machine; the
    device of this process."""
    if device.type == "cuda":
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    names = {name for _, name in socket.if_nameindex()}
    for loopback in names & {"lo", "lo0"}:
        os.environ["GLOO_SOCKET_IFNAME"] = loopback  # nobody outside this machine is listened to
    dist.init_process_group(
        backend(device),
        init_method=f"file://{folder}/meeting-point",
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
    )
    yield device
    dist.destroy_process_group()


def backend(device: torch.device) -> str:
    """What gradients go through."""
    return "nccl" if device.type == "cuda" else "gloo"


def end_with_parent(folder: Path) -> None:
    """End this process, and remove what it was fed from, when the process that started it is gone."""

    def watch() -> None:
        while os.read(0, 1):  # nothing is ever written; empty when the other end is closed
            pass
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    end_with_parent(Path(sys.argv[1]))
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
