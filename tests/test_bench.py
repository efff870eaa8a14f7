"""The bench: what it counts, what it writes, and that its sides do their work; no figure is judged here."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from bench import pages, sides
from bench.field import Field, Options
from bench.kit import Kit, Missing
from bench.measure import Figures, Sample, cpu, end, lifetimes, medians, percentile, tree
from bench.peers import HERE, PEERS, set_up
from bench.plots import Plot, figure, svg
from bench.report import Bar, Page, Table, load, page_text, save, table_text
from bench.rig import Late
from bench.servers import Nginx
from bench.side import Inboxd
from bench.work import Work
from tests.daemonkit import CountingServer

BURN = "sum(range(10_000_000))"


class OwnPython(Kit):
    """A kit that has nothing but the Python which runs the tests."""

    def python(self, *packages: str) -> str:
        return sys.executable

    def node(self, *packages: str) -> str:
        raise Missing("no node")


class Stub:
    """A server that says how often it was called, and a side that calls it; it fails from the round `fails` on."""

    says = keeps = ""
    pids: tuple[int, ...] = ()

    def __init__(self, name: str = "", fails: int = 99) -> None:
        self.name, self.called, self.runs, self._fails = name, 0, 0, fails

    def requests(self) -> int:
        self.called += 10
        return self.called

    def __call__(self, work: Work, folder: Path, server: list[int]) -> Sample:
        self.runs += 1
        if self.runs >= self._fails:
            raise Late("no disk")
        return Sample(work.size, self.runs, 0.5, 0.25)


def work(size: int, server: CountingServer | None = None) -> Work:
    return Work("GET", size, lambda n: {"method": "GET", "url": server.url(f"/ok/{n}") if server else ""})


def found(**rates: float) -> dict[str, Figures]:
    return {name: Figures(rate, 100 / rate, 0.0, [rate]) for name, rate in rates.items()}


# -- what it counts -------------------------------------------------------------------------------------------


def test_a_side_is_judged_by_its_medians() -> None:
    samples = [Sample(1000, 1.0, 3.0, 0.1), Sample(1000, 4.0, 2.0, 0.3), Sample(1000, 2.0, 9.0, 0.2)]
    assert medians(samples) == Figures(500.0, 3.0, 0.2, [1000.0, 250.0, 500.0])


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 5), (0.9, 9), (0.99, 10), (1.0, 10)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert percentile(range(10, 0, -1), share) == value


def test_the_cpu_of_children_counts_while_they_live_and_when_they_are_gone() -> None:
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{BURN}']); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert cpu([process.pid]) > 0.05
        assert tree([process.pid]) == {process.pid}
        process.communicate(b"\n")


def test_only_the_process_that_was_meant_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        end({process.pid: "1"})
        assert process.poll() is None
        end(lifetimes([process.pid]))
        assert process.wait() < 0


@pytest.mark.parametrize(("value", "most", "met"), [(2.0, False, True), (1.9, False, False), (2.1, True, False)])
def test_a_bar_is_met_from_its_bound_on(value: float, *, most: bool, met: bool) -> None:
    assert Bar("", value, 2.0, most).met is met


def test_bars_are_ratios_of_medians_and_a_missing_peer_has_none() -> None:
    figures = found(inboxd=900.0, script=300.0)
    assert sides.faster(figures, "inboxd", "script", 4, "GET")[0].value == 3
    assert sides.cheaper(figures, "inboxd", "script", "GET")[0].value == pytest.approx(1 / 3)
    assert not sides.faster(figures, "inboxd", "Celery", 4, "GET")


def test_a_bar_is_not_met_when_inboxd_itself_failed() -> None:
    figures = found(script=300.0)
    bars = sides.faster(figures, "inboxd", "script", 4, "GET") + sides.cheaper(figures, "inboxd", "script", "GET")
    assert [bar.met for bar in bars] == [False, False]


def test_sides_run_in_turn_and_one_that_fails_is_named_and_left_out(tmp_path: Path) -> None:
    server, good, bad = Stub(), Stub("good"), Stub("bad", fails=2)
    field = Field(tmp_path, Kit(tmp_path), Options(rounds=3), cast("Nginx", server), ExitStack())
    figures = field.in_turn([good, bad], work(10))
    assert set(figures) == {"good"}
    assert figures["good"].rates == [10.0, 5.0, 10 / 3]
    assert field.missing == {"bad": "GET: no disk"}
    assert bad.runs == 2


def test_a_side_that_did_not_call_the_server_is_not_believed(tmp_path: Path) -> None:
    field = Field(tmp_path, Kit(tmp_path), Options(rounds=1), cast("Nginx", Stub()), ExitStack())
    assert not field.in_turn([Stub("liar")], work(11))
    assert "saw 10 calls, not 11" in field.missing["liar"]


# -- what it writes -------------------------------------------------------------------------------------------


def test_tables_are_aligned() -> None:
    assert table_text(Table(["side", "jobs/s"], [["script", "1"]])).splitlines() == [
        "| side   | jobs/s |",
        "|--------|--------|",
        "| script | 1      |",
    ]


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (3, "3"), (4.25, "4.25"), (0.0312, "0.0312")])
def test_figures_are_short(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    "plot",
    [
        Plot("bars", "a < b & c", "jobs/s", rows=[("inboxd", [3.0, 1.0, 2.0]), ("<peer>", [0.0])]),
        Plot(
            "lines", "a < b & c", "jobs/s", lines=[("<files>", [(1000, 5.0), (1_000_000, 6.0)]), ("one", [(1000, 1.0)])]
        ),
    ],
    ids=lambda plot: str(plot.name),
)
def test_plots_are_svg_that_a_browser_reads(plot: Plot) -> None:
    root = ET.fromstring(svg(plot))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a < b & c" in texts
    assert {"<peer>", "2"} <= set(texts) if plot.rows else "<files>" in texts


def test_a_page_measured_again_leaves_the_others_and_removes_its_old_plots(tmp_path: Path) -> None:
    def page(name: str, plot: str, **more: Any) -> Page:
        return Page(name, name.title(), "Text.", plots=[Plot(plot, plot, "", rows=[("a", [1.0])])], **more)

    save(tmp_path, [page("files", "f"), page("batch", "old", bars=[Bar("fast", 1, 2)])], ["batch", "files"])
    save(tmp_path, [page("batch", "new", bars=[Bar("fast", 2, 2)])], ["batch", "files"])
    text = (tmp_path / "benchmarks.md").read_text()
    assert text.index("## Batch") < text.index("## Files")
    assert "Of 1 bars 1 are met" in text
    assert {path.name for path in tmp_path.glob("*.svg")} == {"benchmarks-new.svg", "benchmarks-f.svg"}
    assert load(tmp_path)["batch"].bars == [Bar("fast", 2, 2)]


def test_a_page_names_what_is_missing_and_its_machine() -> None:
    measured = {
        "date": "2026-11-22",
        "inboxd": "1",
        "rounds": 3,
        "scale": 0.5,
        "machine": "2 cores",
        "versions": {"node": "20"},
    }
    text = page_text(Page("p", "P", "", missing={"Celery": "no RabbitMQ"}, measured=measured))
    assert "* Celery: no RabbitMQ" in text
    assert "medians of 3 rounds, at 0.5 of the full size; 2 cores. Versions: node 20." in text


# -- the sides ------------------------------------------------------------------------------------------------


def test_all_pages_and_peers_are_there() -> None:
    assert next(iter(pages.find())) == "batch"
    assert all((HERE / peer.program).exists() for peer in PEERS.values())


def test_a_peer_that_cannot_be_set_up_is_named_with_the_reason(tmp_path: Path) -> None:
    found, missing = set_up(["fastq + axios", "script"], OwnPython(tmp_path), lambda _kind: pytest.fail("no broker"))
    assert [side.name for side in found] == ["script"]
    assert missing == {"fastq + axios": "no node"}


@pytest.mark.journey
def test_the_script_makes_all_calls(tmp_path: Path) -> None:
    (script,), _ = set_up(["script"], OwnPython(tmp_path), lambda _kind: pytest.fail("no broker"))
    with CountingServer() as server:
        sample = script(work(50, server), tmp_path, [])
        assert len(server.counts) == server.counts.total() == 50
    assert sample.calls == len((tmp_path / "answers.jsonl").read_text().splitlines()) == 50
    assert sample.cpu > 0


@pytest.mark.journey
@pytest.mark.parametrize("way", ["batch", "files"])
def test_inboxd_makes_all_calls(way: str, tmp_path: Path) -> None:
    with CountingServer() as server:
        sample = Inboxd(way, {"threads": 4})(work(50, server), tmp_path, [])
        assert len(server.counts) == server.counts.total() == 50
    assert sample.calls == 50
    assert sample.cpu > 0
    assert not (tmp_path / "inboxd").exists()


@pytest.mark.journey
def test_a_peer_that_breaks_says_why(tmp_path: Path) -> None:
    (script,), _ = set_up(["script"], OwnPython(tmp_path), lambda _kind: pytest.fail("no broker"))
    broken = Work("GET", 1, lambda _n: {"url": ""})
    with pytest.raises(Late, match="KeyError: 'method'"):
        script(broken, tmp_path, [])
