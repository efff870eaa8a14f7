"""Records as the journal takes them."""

import os
import socket
from pathlib import Path

from inboxd.daemon.journal import Journal, datagram, is_standard_error, spool_field

RECORD = (1.0, "warning", "attempt", {"id": "x-1", "name": "a job", "api": "shop", "fault": "timeout", "ms": 3.5})


def test_a_record_carries_what_can_be_asked_for() -> None:
    assert datagram(RECORD).splitlines() == [
        'MESSAGE=attempt id=x-1 name="a job" api=shop fault=timeout ms=3.5',
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=inboxd",
        "INBOXD_EVENT=attempt",
        "INBOXD_ID=x-1",
        "INBOXD_JOB=a job",
        "INBOXD_API=shop",
        "INBOXD_FAULT=timeout",
    ]


def test_no_value_can_forge_a_field() -> None:
    lines = datagram((1.0, "info", "claimed", {"name": "a\nPRIORITY=0\u2028X=1"})).splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        "MESSAGE",
        "PRIORITY",
        "SYSLOG_IDENTIFIER",
        "INBOXD_EVENT",
        "INBOXD_JOB",
    ]


def test_secrets_are_hidden_in_fields_too() -> None:
    assert "hunter2" not in datagram((1.0, "info", "claimed", {"api": "https://me:hunter2@shop.example"}))


def test_standard_error_is_the_journal_only_if_systemd_says_so_of_this_very_stream(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())
        ours = f"{found.st_dev}:{found.st_ino}"
        assert is_standard_error({"JOURNAL_STREAM": ours}, stream.fileno())
        assert not is_standard_error({"JOURNAL_STREAM": f"{found.st_dev}:1"}, stream.fileno())
        assert not is_standard_error({}, stream.fileno())


def test_a_journal_that_is_not_there_costs_the_records_and_no_more(tmp_path: Path) -> None:
    journal = Journal("spool", str(tmp_path / "socket"))
    assert not journal.write([datagram(RECORD)])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "socket"))
        assert journal.write([datagram(RECORD)])
        assert ear.recv(10_000).startswith(b"MESSAGE=attempt")
        assert not journal.write(["MESSAGE=" + "x" * 10_000_000])
    journal.close()


def test_each_record_says_whose_spool_it_is_about_however_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "socket"))
        journal = Journal(str(tmp_path / "link"), str(tmp_path / "socket"))
        assert journal.write([datagram(RECORD)])
        assert ear.recv(10_000).splitlines()[-1].decode() == spool_field(f"{tmp_path}/real/")
        journal.close()
    assert spool_field("/a\nPRIORITY=0") == "INBOXD_SPOOL=/a PRIORITY=0"
