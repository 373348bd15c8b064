"""A retraining job killed with SIGKILL at random moments, then run once more: the same end as undisturbed?

    python tests/bench/kills.py --kills 20 [--in-a-row 1] [--seed 0] [--json]

Moments are spread evenly at random over the time that an undisturbed job takes, from its first instant on.
With `--in-a-row N` the job is killed N times before it may end. Prints what differed; exit status 1 where
something did.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "support")]

from retraining import CUTOFFS, Backup, finish, kill_when, ledgers_of, line, make_home, state  # noqa: E402

from forecast.home import Home  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--in-a-row", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    generator = random.Random(wanted.seed)
    with tempfile.TemporaryDirectory(prefix="surgecast-kills-") as folder:
        home, said = make_home(Path(folder)), Path(folder) / "said.txt"
        assert finish(line(home, CUTOFFS[0]), said) == 0, said.read_text()
        backup = Backup(home)
        job = line(home, CUTOFFS[1])
        began = time.monotonic()
        assert finish(job, said) == 0, said.read_text()
        seconds = time.monotonic() - began
        undisturbed = state(home)
        killed: Counter[str] = Counter()
        wrong = []
        for number in range(wanted.kills):
            backup.restore()
            moments = [generator.uniform(0, seconds) for _ in range(wanted.in_a_row)]
            for moment in moments:
                end = time.monotonic() + moment
                if kill_when(job, said, lambda end=end: time.monotonic() >= end):  # type: ignore[misc]
                    killed[_step(home)] += 1
                else:
                    killed["too late"] += 1
            status = finish(job, said)
            found = state(home)
            differs = [name for name in undisturbed if found[name] != undisturbed[name]]
            if status or differs:
                wrong.append({"kill": number, "moments": moments, "status": status, "differs": differs})
                print(wrong[-1], said.read_text(), file=sys.stderr)
    result = {"seconds": round(seconds, 2), "killed during": dict(killed), "wrong": wrong}
    print(json.dumps(result, indent=2) if wanted.json else result)
    return 1 if wrong else 0


def _step(home: Home) -> str:
    """What the last job was doing."""
    last = ledgers_of(home)[-1]
    if not last["cutoff"].startswith(CUTOFFS[1]):
        return "before its first step"
    under_way = [name for name, entry in last["steps"].items() if entry["state"] == "started"]
    return under_way[-1] if under_way else "between steps"


if __name__ == "__main__":
    sys.exit(main())
