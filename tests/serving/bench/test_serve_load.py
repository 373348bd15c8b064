"""The generator against a real gRPC server in this process, and its arithmetic against plain ones."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_status import rpc_status
from waiting import until

from forecast.errors import SurgecastError
from serving.bench.driver import GENERATE, Generator, generating
from serving.bench.h2load import framed, parse_report
from serving.bench.load import Job, read_requests, save_requests
from serving.bench.overload import recovered
from serving.bench.process import settle
from serving.bench.soak import Held, ends
from serving.bench.tally import BIN_S, OK, Reply, Tally, milliseconds, schedule
from serving.errors import REFUSED

METHOD = "/test.Service/Method"


@contextmanager
def answering(answer: Callable[[bytes, grpc.ServicerContext], bytes], threads: int = 8) -> Iterator[str]:
    """A server of one method; yields its address."""
    server = grpc.server(ThreadPoolExecutor(threads))
    handlers = {"Method": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with generating(0) as running:
        yield running


@pytest.fixture
def requests(tmp_path):
    path = tmp_path / "requests"
    save_requests(path, [b"a", b"bb", b""])
    return str(path)


def job(address: str, requests: str) -> Job:
    return Job(kind="grpc", address=address, path=METHOD, requests=requests, seconds=0.5)


def test_requests_come_back_from_their_file(requests, tmp_path):
    assert read_requests(tmp_path / "requests") == [b"a", b"bb", b""]


def test_a_closed_loop_keeps_so_many_calls_in_flight(generator, requests):
    lock, now, most = threading.Lock(), 0, 0

    def answer(request, _context):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)  # the service time
        with lock:
            now -= 1
        return request

    with answering(answer) as address:
        (found,) = generator.run(replace(job(address, requests), concurrency=3))
    assert most == 3
    assert found.codes == {OK: found.calls}
    assert 0 < found.good_per_s <= 3 / 0.01
    assert found.p50_ms >= 10
    assert sum(found.good_by_bin) == round(found.good_per_s * found.seconds)


def test_an_open_loop_counts_from_when_a_call_was_due(generator, requests):
    """A server that stands still for 0.3 s makes calls late that were due meanwhile: none may be left out."""
    calls, began = [], threading.Event()

    def answer(request, _context):
        first = not began.is_set()
        began.set()
        calls.append(request)
        if first:
            time.sleep(0.3)  # the fault
        return request

    with answering(answer, threads=1) as address:
        (found,) = generator.run(replace(job(address, requests), rate=200.0))
    assert found.calls == len(calls) == 100
    assert found.codes == {OK: 100}
    assert found.worst_ms >= 300
    assert found.p50_ms > 20  # over half of the calls were due while it stood still


def test_refusals_and_failures_are_told_apart(generator, requests):
    turn = iter(range(10_000))

    def answer(request, context):
        from google.protobuf import any_pb2
        from google.rpc import code_pb2, error_details_pb2, status_pb2

        kind = next(turn) % 4
        if kind == 1:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full, and no word when to come back")
        if kind == 2:
            packed = any_pb2.Any()
            packed.Pack(error_details_pb2.RetryInfo())
            status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="full", details=[packed])
            context.abort_with_status(rpc_status.to_status(status))
        if kind == 3:
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        return request

    with answering(answer, threads=1) as address:
        (found,) = generator.run(replace(job(address, requests), concurrency=1))
    counts = [found.codes[code] for code in (OK, REFUSED, "INTERNAL")]
    assert counts[1] == pytest.approx(2 * counts[2], abs=2)
    assert found.bare_refusals == pytest.approx(counts[2], abs=1)
    assert found.problem == "INTERNAL: broken"
    assert (found.good, found.failed) == (counts[0], counts[1] + counts[2])


def test_answers_that_were_never_learned_are_counted(generator, requests):
    odd = threading.Event()

    with answering(lambda request, _context: request + b"!" * odd.is_set()) as address:
        once = replace(job(address, requests), each=True)
        assert generator.run(replace(once, learn=True))[0].calls == 3
        assert generator.run(replace(once, check=True))[0].mixed == 0
        odd.set()
        assert generator.run(replace(once, check=True))[0].mixed == 3


def test_a_loop_of_unknown_length_is_stopped(generator, requests):
    with answering(lambda request, _context: request) as address:
        generator.begin(replace(job(address, requests), concurrency=2, seconds=600.0))
        began = time.monotonic()
        (found,) = generator.stop()
    assert found.seconds < 10
    assert time.monotonic() - began < 10


def test_recovery_is_watched_from_the_end_of_the_schedule(generator, requests):
    with answering(lambda request, _context: request) as address:
        flood = replace(job(address, requests), rate=50.0, after=2, after_s=0.5)
        first, after = generator.run(flood)
    assert first.calls == 25
    assert len(after.good_by_bin) == 2
    assert after.good > 0


def test_nobody_there_is_said(generator, requests):
    (found,) = generator.run(replace(job("127.0.0.1:1", requests), concurrency=1, seconds=0.05))
    assert found.good == 0
    assert found.problem.startswith("UNAVAILABLE: ")


def test_a_generator_that_breaks_is_not_waited_for(tmp_path):
    with generating(0) as running, pytest.raises(SurgecastError, match="generator: expected what became"):
        running.run(job("127.0.0.1:1", str(tmp_path / "missing")))


def test_the_generator_ends_with_its_input():
    done = subprocess.run(GENERATE, input="", capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_generator_that_is_interrupted_while_it_starts_says_nothing():
    with subprocess.Popen(GENERATE, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until(lambda: "numpy" in Path(f"/proc/{process.pid}/maps").read_text())  # in the middle of imports
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == (None, b"")


def test_a_process_is_waited_for_until_it_is_idle():
    code = "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass\ninput()"
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert settle(process.pid)
        assert time.monotonic() - began > 1
        process.communicate(b"\n", timeout=60)


def test_percentiles_are_numpys():
    random = np.random.default_rng(0)
    seconds = random.gamma(2.0, 0.01, 999).tolist()
    expected = 1e3 * np.percentile(seconds, [50, 99, 99.9])
    np.testing.assert_allclose(milliseconds(seconds, (50, 99, 99.9)), expected)
    assert np.isnan(milliseconds([], (50, 99))).all()


def test_an_outcome_counts_what_came_in_time():
    tally = Tally(REFUSED)
    for end in (10.1, 10.2, 10.6, 11.5):  # the last one after the stretch of a second
        tally.add(10.0, 10.01, end, Reply(OK, b"x", 1), None)
    tally.add(10.0, 10.0, 10.3, Reply(REFUSED, retry=True), None)
    found = tally.outcome(10.0, 1.0)
    assert (found.calls, found.good, found.failed, found.good_per_s) == (5, 4, 1, 3.0)
    assert found.good_by_bin == [2, 0, 1, 0]
    assert found.worst_ms == pytest.approx(1_500)
    assert (found.bytes, found.bare_refusals, found.problem) == (4, 0, "")
    json.dumps(found.__dict__)


def test_a_schedule_has_its_rate_and_comes_in_clumps():
    due = schedule(500.0, 4.0, seed=1)
    assert len(due) == 2_000
    assert (np.diff(due) >= 0).all()
    assert 0 <= due[0] < due[-1] < 4
    gaps = np.diff(due)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)  # as of independent callers
    np.testing.assert_array_equal(due, schedule(500.0, 4.0, seed=1))


def test_recovery_is_a_whole_second_of_full_speed():
    per_s = 100.0
    full, low = round(per_s * BIN_S), 5
    assert recovered([full] * 8, per_s) == 0.0
    assert recovered([low, low, *[full] * 4], per_s) == 2 * BIN_S
    assert np.isnan(recovered([low] * 8, per_s))


def test_growth_is_from_after_the_warm_up():
    held = [Held(10.0 * min(n, 10), n, 5, 7) for n in range(100)]
    first, last = ends(held)
    assert first.resident == last.resident == 100.0
    assert (first.private, last.private) == (14.5, 94.5)
    assert ends(held[-1:]) == (held[-1], held[-1])


def test_h2load_is_counted_by_its_data():
    report = (
        "finished in 153.15ms, 1305.95 req/s, 730.74KB/s\n"
        "requests: 200 total, 200 started, 200 done, 200 succeeded, 0 failed, 0 errored, 0 timeout\n"
        "status codes: 200 2xx, 0 3xx, 0 4xx, 0 5xx\n"
        "traffic: 111.91KB (114595) total, 107.86KB (110444) headers (space savings 20.31%), 0B (0) data\n"
    )
    assert parse_report(report) == (pytest.approx(0.15315), 0)  # 200 times HTTP 200, no answer at all
    assert parse_report(report.replace("153.15ms", "1.5s").replace("(0) data", "(1400) data")) == (1.5, 1400)
    with pytest.raises(SurgecastError, match="h2load: expected lines"):
        parse_report("could not connect")
    assert framed(b"abc") == b"\x00\x00\x00\x00\x03abc"
