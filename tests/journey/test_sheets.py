"""CSV files in the folder of a call, in a real daemon: each row a call, the failed rows ready to be dropped again."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import Daemon, inboxd, wait_until
from tests.faultserver import FaultServer, Seen, Wire

pytestmark = pytest.mark.journey

CALL = "shop.close_order"
CONFIG = """
processes = 2
quiet = 0.1
rescan = 0.1
[api.shop]
base_url = "{url}"
attempts = 8
trip = 100
backoff = {{ first = "50ms", factor = 1.2 }}
[api.shop.calls.close_order]
method = "PATCH"
path = "/orders/{{id}}"
json = {{ status = "${{status}}", note = "${{note}}" }}
defaults = {{ status = "Closed", note = "" }}
"""


class Shop(FaultServer):
    """A shop that answers 503 to one call in twenty, and 404 to each order that it has lost."""

    def __init__(self, lost: set[int]) -> None:
        super().__init__(behaviours={"orders": self._order})
        self.lost = lost
        self.closed: Counter[int] = Counter()
        self.bodies: dict[int, Any] = {}
        self._chance = random.Random(5)

    def _order(self, wire: Wire, seen: Seen) -> None:
        number = int(seen.path.rpartition("/")[2])
        status = 503 if self._chance.random() < 0.05 else 404 if number in self.lost else 200
        if status == 200:
            self.closed[number] += 1
            self.bodies[number] = json.loads(seen.body)
        wire.answer(status=status)


def drop_sheet(daemon: Daemon, name: str, data: bytes, call: str = CALL) -> None:
    folder = daemon.spool / "inbox" / call
    folder.mkdir(exist_ok=True)
    (folder / f".{name}.tmp").write_bytes(data)
    (folder / f".{name}.tmp").rename(folder / f"{name}.csv")


def failed_sheet(daemon: Daemon, name: str, call: str = CALL) -> Path:
    return daemon.spool / "failed" / call / f"{name}.csv"


def test_a_thousand_orders_in_a_sheet_and_in_lines_all_get_done_once_the_shop_is_mended(tmp_path: Path) -> None:
    lost = set(range(100, 2100, 100))
    with Shop(set(lost)) as shop, Daemon(tmp_path, CONFIG.format(url=shop.url(""))) as daemon:
        rows = "".join(f"{number};Über {number}\r\n" for number in range(1, 1001))
        drop_sheet(daemon, "orders", f"\ufeffid;note\r\n{rows}".encode())
        daemon.drop("more", *({"call": CALL, "with": {"id": number}} for number in range(1001, 2001)))
        answers = [*daemon.batch("orders", timeout=90), *daemon.batch("more", timeout=90)]
        assert Counter(answer["status"] for answer in answers) == {"done": 1980, "failed": 20}
        assert set(shop.closed) == set(range(1, 2001)) - lost
        assert shop.bodies[7] == {"status": "Closed", "note": "Über 7"}
        # The row as the spreadsheet counts it: the header is the first.
        assert [answer["line"] for answer in answers[:1000]] == list(range(2, 1002))
        left = "".join(f"{number};Über {number}\r\n" for number in range(100, 1001, 100))
        assert failed_sheet(daemon, "orders").read_bytes().decode() == f"\ufeffid;note\r\n{left}"

        shop.lost.clear()
        failed_sheet(daemon, "orders").rename(daemon.spool / "inbox" / CALL / "orders.csv")
        assert inboxd("retry", "more", cwd=tmp_path).returncode == 0
        again = [*daemon.batch("orders~r2"), *daemon.batch("more~r2")]
        assert Counter(answer["status"] for answer in again) == {"done": 20}
        assert set(shop.closed) == set(range(1, 2001))
        assert daemon.files("active") == set()
        assert daemon.files(f"failed/{CALL}") == set()


def test_wrong_sheets_and_rows_are_told_and_come_back(tmp_path: Path) -> None:
    with Shop(set()) as shop, Daemon(tmp_path, CONFIG.format(url=shop.url(""))) as daemon:
        drop_sheet(daemon, "typo", b"id,nota\n1,a\n")
        drop_sheet(daemon, "lost", b"id\n1\n", call="shop.close_ordr")
        drop_sheet(daemon, "rows", b"id,note\n1,a\n2\n3,c\n")
        told = {name: daemon.answer(name) for name in ("typo", "lost")}
        assert [answer["status"] for answer in told.values()] == ["rejected", "rejected"]
        assert told["typo"]["error"]["message"].endswith('has no argument "nota"; did you mean "note"?')
        assert told["lost"]["error"]["message"].endswith('no call "close_ordr"; did you mean "close_order"?')
        assert failed_sheet(daemon, "lost", "shop.close_ordr").read_bytes() == b"id\n1\n"
        answers = daemon.batch("rows")
        assert [(answer["line"], answer["status"]) for answer in answers] == [(2, "done"), (3, "rejected"), (4, "done")]
        assert answers[1]["error"]["message"] == "row 3: it has 1 cells, and the header names 2 columns"
        assert failed_sheet(daemon, "rows").read_bytes() == b"id,note\n2\n"
        failed_sheet(daemon, "rows").write_bytes(b"id,note\n2,b\n")
        done = inboxd("retry", f"{CALL}/rows", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{CALL}/rows.csv\n", "")
        assert [answer["status"] for answer in daemon.batch("rows~r2")] == ["done"]


def test_a_sheet_goes_on_where_it_was_when_the_daemon_is_killed(tmp_path: Path) -> None:
    config = CONFIG.replace("trip", 'rate = "100/s"\ntrip')
    with Shop({5}) as shop, Daemon(tmp_path, config.format(url=shop.url(""))) as daemon:
        drop_sheet(daemon, "orders", b"id\n" + b"".join(b"%d\n" % number for number in range(1, 121)))
        for count in (30, 80):
            wait_until(lambda count=count: len(shop.closed) >= count, "some calls")
            daemon.kill()
            daemon.start()
        answers = daemon.batch("orders", timeout=60)
        assert Counter(answer["status"] for answer in answers) == {"done": 119, "failed": 1}
        assert [answer["line"] for answer in answers] == list(range(2, 122))
        # What was answered and on the disk is not called again; some calls were under way at each death.
        assert sum(shop.closed.values()) < 119 + 2 * 60
        assert failed_sheet(daemon, "orders").read_bytes() == b"id\n5\n"
        assert daemon.stop() == 0
