"""What is exported, that it is true, and that dashboard and alert rules ask for nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inboxd.daemon.config import Config
from inboxd.daemon.house import House
from inboxd.daemon.metrics import Metrics
from tests.daemonkit import ROOT, drop_whole
from tests.faultserver import FaultServer
from tests.jobskit import eventually

# Written as [api.shop] says it, less than the defaults allow.
NAME = re.compile(r"\b((?:inboxd|process)_[a-z_]+)\b")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, server: FaultServer) -> Iterator[House]:
    shop = {"name": "shop", "base_url": server.url("/shop"), "rate": "500/s"}
    house = House(
        Config.model_validate(
            {
                "spool": str(tmp_path / "spool"),
                "fsync": "off",
                "min_free": 0,
                "threads": 2,
                "api": {"shop": shop},
                "defaults": {"attempts": 2, "backoff": {"first": 0.01, "max": 0.01}},
                "metrics": {"textfile": str(tmp_path / "inboxd.prom")},
            }
        )
    )
    house.start()
    yield house
    house.close()


def work(house: House, **jobs: dict[str, object]) -> None:
    before = house.parts.outbox.committed
    for name, job in jobs.items():
        drop_whole(Path(house.spool.inbox, f"{name}.json"), json.dumps(job))
    assert eventually(lambda: house.parts.outbox.committed == before + len(jobs))


def samples(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Give all samples by name, and then by the values of their labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_answers_and_attempts_are_counted_by_what_became_of_them(house: House, server: FaultServer) -> None:
    api = server.url("").rstrip("/")
    work(
        house,
        good={"url": server.url("/ok")},
        missing={"url": server.url("/status/404")},
        flaky={"url": server.url("/flaky/a?times=1&status=503")},
        wrong={"ulr": "x"},
        named={"url": server.url("/shop")},
    )
    found = samples(house.parts.rounds.metrics)
    assert found["inboxd_answers_total"] == {
        ("", "rejected"): 1,
        (api, "done"): 2,
        (api, "failed"): 1,
        ("shop", "failed"): 1,
    }
    assert found["inboxd_attempts_total"] == {
        (api, "ok"): 2,
        (api, "server"): 1,
        (api, "client"): 1,
        ("shop", "client"): 1,
    }
    assert found["inboxd_lane_wait_seconds_count"][(api,)] == 3
    assert found["inboxd_lane_rate_limit"] == {("shop",): 500.0}
    assert found["inboxd_commit_seconds_count"][()] >= 1
    assert found["inboxd_commit_seconds_bucket"][("+Inf",)] == found["inboxd_commit_seconds_count"][()]


def test_the_lines_of_a_batch_count_as_well(house: House, server: FaultServer) -> None:
    lines = [{"url": server.url("/ok")}] * 3
    drop_whole(Path(house.spool.inbox, "many.jsonl"), "".join(json.dumps(line) + "\n" for line in lines))
    assert eventually(lambda: Path(house.spool.outbox, "many.jsonl").exists())
    assert samples(house.parts.rounds.metrics)["inboxd_answers_total"][(server.url("").rstrip("/"), "done")] == 3


def test_what_the_cache_did_is_counted(house: House, server: FaultServer) -> None:
    for name in ("first", "second", "third"):
        work(house, **{name: {"url": server.url("/ok"), "cache": "5m"}})
    api = server.url("").rstrip("/")
    found = samples(house.parts.rounds.metrics)["inboxd_cache_answers_total"]
    assert found == {(api, "miss"): 1, (api, "hit"): 2}


def test_the_folders_are_told_as_the_janitor_found_them(house: House) -> None:
    Path(house.spool.folder("hold"), "x.json").write_text("123")
    house.parts.rounds.turn(house.clock.wall())
    for _ in range(20):
        house.parts.rounds.turn(house.clock.wall())
    found = samples(house.parts.rounds.metrics)
    assert found["inboxd_folder_files"][("hold",)] == 1
    assert found["inboxd_folder_bytes"][("hold",)] == 3
    assert found["inboxd_disk_free_bytes"][()] > 0


def test_the_file_for_node_exporter_is_written_whole(house: House, tmp_path: Path) -> None:
    house.parts.rounds.turn(house.clock.wall())
    text = (tmp_path / "inboxd.prom").read_text()
    assert text == house.parts.rounds.metrics.render().decode() or "inboxd_info" in text
    assert text.endswith("\n")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("inboxd.prom")] == ["inboxd.prom"]


def test_a_place_that_cannot_be_written_disturbs_nobody(house: House, tmp_path: Path, server: FaultServer) -> None:
    (tmp_path / "inboxd.prom").mkdir()
    house.parts.rounds.turn(house.clock.wall())
    work(house, good={"url": server.url("/ok")})
    assert house.parts.outbox.committed == 1


@pytest.mark.parametrize("name", ["grafana.json", "alerts.yml"])
def test_dashboard_and_alerts_ask_only_for_what_is_exported(house: House, server: FaultServer, name: str) -> None:
    work(house, cached={"url": server.url("/ok"), "cache": "5m"}, named={"url": server.url("/shop")})
    # While a job is under way its lane has something to tell.
    drop_whole(Path(house.spool.inbox, "slow.json"), json.dumps({"url": server.url("/slow/a?ms=60000")}))
    server.wait_for(3)
    for _ in range(20):
        house.parts.rounds.turn(house.clock.wall())
    exported = {
        name
        for family in text_string_to_metric_families(house.parts.rounds.metrics.render().decode())
        for name in (family.name, *(sample.name for sample in family.samples))
    }
    asked = set(NAME.findall((ROOT / "docs" / name).read_text()))
    assert len(asked) >= 5
    assert asked <= exported
    house.stop()
    house.stop()


def test_the_dashboard_asks_for_most_of_what_there_is(house: House) -> None:
    families = {family.name for family in text_string_to_metric_families(house.parts.rounds.metrics.render().decode())}
    asked = (ROOT / "docs/grafana.json").read_text()
    unseen = {name for name in families if name.startswith("inboxd_") and name not in asked}
    assert unseen <= {"inboxd_info", "inboxd_trouble", "inboxd_lane_faults"}
