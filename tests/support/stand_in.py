"""A stand-in for `surgecast` as the schedule's child: a real process that does what a file in the home says.

`python stand_in.py ACTION --home HOME --json`; HOME/stand-in.json: {ACTION: {"exit", "print", "say", "clock",
"wait"}}. It moves the clock on, says and prints, waits until it is told to end, and ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main() -> int:
    action, home = sys.argv[1], Path(sys.argv[3])
    with (home / "called").open("a") as file:
        file.write(action + "\n")
    wanted = json.loads((home / "stand-in.json").read_text()).get(action, {})
    if "clock" in wanted:
        (home / "clock").write_text(wanted["clock"])
    for line in wanted.get("say", []):
        print(line, file=sys.stderr, flush=True)
    if wanted.get("wait"):
        numbers = (signal.SIGINT, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        print("waiting", os.getpid(), file=sys.stderr, flush=True)
        print("told to end by", signal.Signals(signal.sigwait(numbers)).name, file=sys.stderr, flush=True)
        return 130
    if "print" in wanted:
        print(json.dumps(wanted["print"]))
    return int(wanted.get("exit", 0))


if __name__ == "__main__":
    sys.exit(main())
