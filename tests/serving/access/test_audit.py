"""The audit log keeps whole records, or says that it cannot."""

import json
import threading

import pytest

from forecast.errors import BusyError
from serving.access.audit import Audit


def records(home):
    return [json.loads(line) for line in home.audit_file.read_text().splitlines()]


def test_many_writers_leave_whole_lines(own_home):
    def write(who):
        audit = Audit(own_home)
        for n in range(20):
            audit.append({"who": who, "n": n, "what": "上海" * 200})

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = records(own_home)
    assert len(found) == 80
    assert [r["n"] for r in found if r["who"] == "t2"] == list(range(20))
    assert own_home.audit_file.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_an_error_that_says_so(own_home):
    own_home.audit_file.symlink_to("/dev/full")
    with pytest.raises(
        BusyError, match=r"audit log: expected to append to audit\.jsonl, found No space left"
    ):
        Audit(own_home).append({"who": "a"})


def test_what_a_crash_cut_off_spoils_no_later_record(own_home):
    own_home.audit_file.write_text('{"who": "a"}\n{"who": "b", "wh')
    Audit(own_home).append({"who": "c"})
    lines = own_home.audit_file.read_text().splitlines()
    assert len(lines) == 3
    assert json.loads(lines[2])["who"] == "c"
