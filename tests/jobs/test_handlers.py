"""Jobs that are Python functions, on threads and in processes: what they get, and what becomes of how they end."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inboxd import Answer, ApiClient
from inboxd.jobs.api import Policy
from inboxd.jobs.faults import Invalid
from inboxd.jobs.handlers import STRAYS, Handler, Handlers
from inboxd.jobs.task import Errand
from inboxd.jobs.vault import Vault
from tests import handlerkit
from tests.handlerkit import runs
from tests.jobskit import eventually

# Where a function runs must make no difference to its jobs.
BOTH = pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
BRIEF = {"attempts": 3, "backoff": {"first": 0.0}, "trip": 100}


@contextmanager
def client(*names: str, process: bool = False, **more: Any) -> Iterator[ApiClient]:
    """A client with some functions of the kit as handlers."""
    handlers = {name: Handler(use=f"tests.handlerkit:{name}", process=process) for name in names}
    with ApiClient(threads=4, handlers=handlers, **(BRIEF | more)) as one:
        yield one


def done(one: ApiClient, name: str, arguments: dict[str, Any] | None = None, **job: Any) -> Answer:
    return one.submit({"do": name, "with": arguments or {}} | job).result(60)


@BOTH
def test_what_a_function_returns_is_the_answer(process: bool) -> None:
    with client("double", process=process) as one:
        answer = done(one, "double", {"number": 21}, id="twice")
    assert answer.ok, answer.error
    assert (answer.id, answer.api, answer.request) == ("twice", "do:double", {"do": "double"})
    told = json.loads(answer.to_json())
    assert told["response"] == {"headers": {"Content-Type": "application/json"}, "json": 42}
    assert "status" not in told["attempts"][0]


@BOTH
def test_a_function_gets_the_attachment_as_an_open_file(process: bool, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x" * 1000)
    with client("size_of", process=process) as one:
        errand = Errand(open_file=lambda name: (tmp_path / name).open("rb"))
        job = {"do": "size_of", "with": {"unit": 10}, "file": "photo.png"}
        answer = one.submit(job, errand).result(60)
        missing = one.submit(job | {"file": "none.png"}, errand).result(60)
    assert answer.response is not None
    assert answer.response.json() == {"size": 100}
    assert missing.error is not None
    assert (missing.error.kind, missing.error.message) == ("invalid", "attachment: No such file or directory")


@BOTH
def test_a_function_that_asks_is_told_about_its_attempt(process: bool) -> None:
    with client("about", process=process) as one:
        answer = done(one, "about", id="job-1", timeout=9)
    assert answer.response is not None
    assert answer.response.json() == {"id": "job-1", "attempt": 1, "timeout": 9.0}


@BOTH
def test_one_that_asks_to_be_called_again_is(process: bool) -> None:
    with client("second_time", process=process) as one:
        answer = done(one, "second_time")
    assert answer.response is not None
    assert (answer.response.text, len(answer.attempts)) == ("done", 2)
    assert answer.attempts[0]["fault"] == "handler"


@BOTH
@pytest.mark.parametrize(
    ("name", "arguments", "shown"),
    [
        ("text", {}, {"text": "ä"}),
        ("nothing", {}, {"json": None}),
        ("many_bytes", {"count": 3}, {"file": "x.body", "bytes": 3}),
        ("many_bytes", {"count": 200_000}, {"file": "x.body", "bytes": 200_000}),
    ],
)
def test_results_become_bodies(
    process: bool, name: str, arguments: dict[str, Any], shown: dict[str, Any], tmp_path: Path
) -> None:
    with client(name, process=process, inline=100_000) as one:
        errand = Errand(spill=lambda: (tmp_path / "body").open("w+b"))
        answer = one.submit({"do": name, "with": arguments}, errand).result(60)
    assert answer.response is not None, answer.error
    aside = answer.response.side is not None or answer.response.binary
    told = json.loads(answer.to_json("x.body" if aside else None))["response"]
    assert {key: told[key] for key in shown} == shown
    if answer.response.side is not None:
        answer.response.side.close()
        assert (tmp_path / "body").stat().st_size == shown["bytes"]


@BOTH
@pytest.mark.parametrize(
    ("name", "arguments", "kind", "message", "attempts"),
    [
        ("raising", {"kind": "value"}, "handler", "ValueError: no such width (", 1),
        ("raising", {"kind": "exit"}, "handler", "SystemExit: 3 (", 1),
        ("raising", {"kind": "missing"}, "handler", "FileNotFoundError: [Errno 2] missing (", 1),
        ("raising", {"kind": "refused"}, "handler", "ConnectionRefusedError: [Errno 111] refused (", 3),
        ("not_json", {}, "handler", "the function returned a object that cannot be written down", 1),
        ("many_bytes", {"count": 2_000_000}, "too_large", "the result has 2000000 bytes", 1),
    ],
)
def test_what_goes_wrong_fails_the_job_and_says_why(
    process: bool, name: str, arguments: dict[str, Any], kind: str, message: str, attempts: int
) -> None:
    with client(name, process=process, max_body=1_000_000) as one:
        answer = done(one, name, arguments)
    assert answer.status == "failed"
    assert answer.error is not None
    assert (answer.error.kind, len(answer.attempts)) == (kind, attempts)
    assert answer.error.message.startswith(message)


def test_a_function_may_say_when_to_be_called_again() -> None:
    with client("raising", attempts=1) as one:
        answer = done(one, "raising", {"kind": "again"})
    assert answer.error is not None
    assert answer.error.message == "busy"


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ({"do": "duoble"}, 'do: there is no handler "duoble"; did you mean "double"?'),
        ({"do": "double", "with": {"nmber": 1}}, "an unexpected keyword argument 'nmber'; did you mean \"number\"?"),
        ({"do": "double", "file": "a.png"}, "an unexpected keyword argument 'file'"),
        ({"do": "size_of"}, "missing a required argument: 'file'"),
        (
            {"do": "size_of", "with": {"file": "/etc/passwd"}},
            "with.file: tests.handlerkit:size_of gets this from inboxd",
        ),
        ({"do": "about", "with": {"context": {}}}, "with.context: tests.handlerkit:about gets this from inboxd"),
    ],
)
def test_a_job_that_cannot_be_done_is_rejected(job: dict[str, Any], sentence: str) -> None:
    with client("double", "size_of", "about") as one:
        answer = one.submit(job).result(10)
    assert answer.status == "rejected"
    assert answer.error is not None
    assert sentence in answer.error.message


def test_a_function_itself_may_be_given() -> None:
    with ApiClient(threads=1, handlers={"double": handlerkit.double}) as one:
        answer = done(one, "double", {"number": 2})
    assert answer.response is not None
    assert answer.response.json() == 4


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (Handler(use="tests.nowhere:f"), "tests.nowhere:f cannot be loaded: ModuleNotFoundError"),
        (Handler(use="tests.handlerkit:nowhere"), "tests.handlerkit:nowhere cannot be loaded: AttributeError"),
        (Handler(use="tests.handlerkit:_NEVER"), "tests.handlerkit:_NEVER: cannot be called"),
        (Handler(process=True), 'handler "broken": use is missing, and no installed package has an entry point'),
    ],
)
def test_a_handler_that_is_none_is_told_at_the_start(handler: Handler, sentence: str) -> None:
    with pytest.raises(Invalid) as refusal:
        Handlers({"broken": handler}, {}, Policy(), Vault())
    assert refusal.value.message.startswith(sentence)


def test_a_handler_for_processes_that_cannot_be_loaded_fails_its_jobs() -> None:
    with ApiClient(threads=1, handlers={"broken": Handler(use="tests.nowhere:f", process=True)}) as one:
        answer = done(one, "broken")
    assert answer.error is not None
    assert answer.error.message.startswith("tests.nowhere:f cannot be loaded: ModuleNotFoundError")
    assert len(answer.attempts) == 1


def test_handlers_of_installed_packages_are_found_by_their_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[inboxd.handlers]\ntwice = tests.handlerkit:double\n")
    monkeypatch.syspath_prepend(tmp_path)
    with ApiClient(threads=1, handlers={"slow-twice": Handler(use="tests.handlerkit:double")}) as one:
        answer = done(one, "twice", {"number": 4})
    assert answer.response is not None
    assert answer.response.json() == 8


def test_a_thread_that_never_returns_is_answered_at_its_deadline_and_keeps_no_worker() -> None:
    with client("never", "double", attempts=1) as one:
        stuck = [one.submit({"do": "never", "timeout": 0.1}) for _ in range(STRAYS)]
        answers = [future.result(60) for future in stuck]
        refused = done(one, "never", timeout=0.1)
        well = done(one, "double")
    assert [answer.error and answer.error.kind for answer in answers] == ["timeout"] * STRAYS
    assert all(answer.error and answer.error.uncertain for answer in answers)
    assert refused.error is not None
    assert "have not come back yet" in refused.error.message
    assert well.ok


def test_a_thread_that_comes_back_late_makes_room_again(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with client("until_there", attempts=1) as one:
        for _ in range(STRAYS):
            one.submit({"do": "until_there", "with": {"path": str(gate)}, "timeout": 0.05})
        one.join()
        gate.touch()
        assert eventually(lambda: done(one, "until_there", {"path": str(gate)}).ok)


# -- processes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("segfault", "the process of the handler died of SIGSEGV"),
        ("leave", "the process of the handler ended with exit status 7"),
    ],
)
def test_a_crash_fails_its_own_job_alone(name: str, message: str) -> None:
    with client(name, "double", process=True) as one:
        beside = [one.submit({"do": "double", "with": {"number": n}}) for n in range(20)]
        crashed = done(one, name)
        beside += [one.submit({"do": "double", "with": {"number": n}}) for n in range(20)]
        assert all(future.result(60).ok for future in beside)
    assert crashed.error is not None
    assert (crashed.error.kind, crashed.error.message, crashed.error.uncertain) == ("crashed", message, True)
    assert len(crashed.attempts) == 1


def test_memory_without_end_ends_at_its_bound() -> None:
    handlers = {"eat": Handler(use="tests.handlerkit:eat", process=True, memory=256 * 2**20)}
    with ApiClient(threads=2, handlers=handlers) as one:
        answers = [future.result(60) for future in [one.submit({"do": "eat"}) for _ in range(2)]]
    for answer in answers:
        assert answer.error is not None
        assert answer.error.message.startswith("MemoryError") or answer.error.kind == "crashed"
        assert len(answer.attempts) == 1


def test_a_process_that_never_returns_is_killed_with_all_it_has_begun(tmp_path: Path) -> None:
    beside = tmp_path / "pid"
    with client("never", process=True, attempts=1) as one:
        # Its start, which may take long on a busy machine, shall not count.
        assert done(one, "never", {"really": False}).ok
        answer = done(one, "never", {"beside": str(beside)}, timeout=3)
    assert answer.error is not None
    assert (answer.error.kind, answer.error.message) == ("timeout", "not done within 3 s; its process was killed")
    assert eventually(lambda: not any(map(runs, beside.read_text().split())))


def test_processes_are_used_again_and_end_with_the_client() -> None:
    with client("pid", process=True) as one:
        first, second = done(one, "pid"), done(one, "pid")
    assert first.response is not None
    assert second.response is not None
    assert first.response.json() == second.response.json() != os.getpid()
    assert not runs(first.response.json())


def test_a_process_that_died_while_it_was_idle_harms_no_job() -> None:
    with client("pid", process=True) as one:
        answer = done(one, "pid")
        assert answer.response is not None
        os.kill(answer.response.json(), 9)
        assert done(one, "pid").ok


def test_jobs_of_a_handler_run_side_by_side_in_processes() -> None:
    handlers = {"compute": Handler(use="tests.handlerkit:compute", process=True, concurrency=2)}
    with ApiClient(threads=4, handlers=handlers) as one:
        futures = [one.submit({"do": "compute", "with": {"seconds": 0.5}}) for _ in range(4)]
        pids = {future.result(60).response.json() for future in futures}  # type: ignore[union-attr]  # they are done
    assert len(pids) == 2


def test_what_a_function_prints_does_not_get_among_our_words(capfd: pytest.CaptureFixture[str]) -> None:
    with client("noisy", process=True) as one:
        answer = done(one, "noisy")
    assert answer.response is not None
    assert answer.response.text == "quiet"
    assert capfd.readouterr() == ("", "said to standard output\n")


def test_a_stop_ends_what_does_not_return() -> None:
    one = ApiClient(threads=2, handlers={"never": Handler(use="tests.handlerkit:never", process=True)})
    future = one.submit({"do": "never"})
    assert eventually(lambda: one.queue.running == 1)
    assert one.close(drain=0.1) == 1
    assert future.exception() is not None
