"""The config: what it may say, what every mistake is told as, and where it is looked for."""

import contextlib
from pathlib import Path

import pytest

from inboxd.daemon.config import Config, ConfigError, load, parse
from inboxd.jobs.api import Policy
from inboxd.jobs.units import Rate

SHOP = '[api.shop]\nbase_url = "https://shop.example"\n'


def mistakes(text: str) -> list[str]:
    """Read a config that is wrong and give its mistakes, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "inboxd.toml")
    told = str(caught.value).split("\n")
    assert all(line.startswith("inboxd.toml:") for line in told)
    return [line.removeprefix("inboxd.toml:") for line in told]


def write(folder: Path, text: str, name: str = "inboxd.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_an_empty_file_gives_the_defaults() -> None:
    assert parse("", "inboxd.toml") == Config()


def test_amounts_are_read_as_people_write_them() -> None:
    config = parse('max_job = "2 MiB"\ninline = 1000\ndrain = "1m"\nquiet = "500ms"\nrescan = 3', "inboxd.toml")
    assert (config.max_job, config.inline) == (2 * 2**20, 1000)
    assert (config.drain, config.quiet, config.rescan) == (60.0, 0.5, 3.0)


def test_an_api_takes_from_the_defaults_what_it_leaves_out() -> None:
    text = '[defaults]\nattempts = 7\ntimeout = "9s"\nrate = "5/s"\n' + SHOP + 'attempts = 2\nrate = "50/s"\n'
    (shop,) = parse(text, "inboxd.toml").apis
    assert (shop.name, shop.attempts, shop.timeout, shop.rate) == ("shop", 2, 9.0, Rate(50.0, 1.0))


def test_an_api_may_say_one_key_of_an_inner_table() -> None:
    text = f'[defaults.backoff]\nfirst = "5s"\nfactor = 3\n{SHOP}backoff = {{ first = "1s" }}'
    (shop,) = parse(text, "inboxd.toml").apis
    assert (shop.backoff.first, shop.backoff.factor) == (1.0, 3.0)


def test_without_defaults_an_api_has_the_policy_of_the_library() -> None:
    (shop,) = parse(SHOP, "inboxd.toml").apis
    assert shop.model_dump(include=set(Policy.model_fields)) == Policy().model_dump()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("threads = 0", "1: threads: found 0; expected greater than or equal to 1"),
        ("\nthreads = 1025", "2: threads: found 1025; expected less than or equal to 1024"),
        ("processes = 0", "1: processes: found 0; expected greater than or equal to 1 or 'auto'"),
        ('threads = "16"', "1: threads: found a string; expected an integer"),
        ("threads = true", "1: threads: found a boolean; expected an integer"),
        ("window = 9", "1: window: found 9; expected greater than or equal to 10"),
        ('fsync = "each"', "1: fsync: found 'each'; expected 'group' or 'off'"),
        ('spool = ""', "1: spool: found a string; expected a string that must have at least 1 character"),
        ("spool = 2026-01-01", "1: spool: found a date; expected a string"),
        ('allow = "*"', "1: allow: found a string; expected an array"),
        ("allow = [\n'a',\n3]", "1: allow.1: found 3; expected a string"),
        (
            'drain = "20 parsecs"',
            '1: drain: "20 parsecs" is not a duration; write "30s", "5m", "2h", "7d", or a number of seconds',
        ),
        ("rescan = 0", "1: rescan: found 0.0; expected greater than 0"),
        (
            'max_job = "big"',
            '1: max_job: expected a size such as "64 KiB", "256 MiB", "1 GB", or a number of bytes',
        ),
        ("log = 3", "1: log: found 3; expected a table"),
        ('[log]\nlevel = "loud"', "2: log.level: found 'loud'; expected 'debug', 'info', 'warning' or 'error'"),
        ("[defaults]\nverify = 3", "2: defaults.verify: found 3; expected a boolean or a string"),
        (
            "[defaults]\nbackoff = { factor = 0 }",
            "2: defaults.backoff.factor: found 0; expected greater than or equal to 1",
        ),
        ("[api]\nshop = 3", "2: api.shop: found 3; expected a table"),
        ("api = 3", "1: api: found 3; expected a table"),
        ("handlers = []", "1: handlers: found an array; expected a table"),
        ('[handlers]\nthumb = "shop"', '2: handlers.thumb: expected the path of a function, as "package.module:name"'),
        ("[handlers]\nthumb = 5", "2: handlers.thumb: found 5; expected a table"),
        (
            '[handlers.thumb]\nmemory = "1 MB"',
            "2: handlers.thumb.memory: found 1000000; expected greater than or equal to 134217728",
        ),
        (
            '[store.a]\nurl = "ftp://a"',
            "2: store.a.url: expected a place such as s3://bucket/prefix, gs://…, az://… or file:///folder",
        ),
        ("[api.shop]", "1: api.shop.base_url: this key is missing"),
        (SHOP + 'auth = "basic"', "3: api.shop.auth: found a string; expected a table"),
        (
            SHOP + 'auth = { bearer = "x", basic = { user = "a", password = "b" } }',
            (
                "3: api.shop.auth: expected one of basic, bearer, header, query, oauth2, webhook, use; "
                "found basic and bearer"
            ),
        ),
        (
            SHOP + 'headers.X-Key = "${secret:a b}"',
            "3: api.shop.headers: X-Key: ${secret:…}: expected a name of letters, digits, dots, _ and -",
        ),
        (
            SHOP + "[api.shop.calls.close]\npath = 'orders'",
            '4: api.shop.calls.close.path: expected a path that begins with "/", such as "/orders/{id}"',
        ),
        (
            SHOP + "[api.shop.calls.close]\njson = { a = '${id' }",
            "3: api.shop.calls.close: json.a: a ${ is never closed; write $${ where you mean the characters themselves",
        ),
        (SHOP + "headers = { Host = 3 }", "3: api.shop.headers: Host: expected one line of Latin-1 text"),
    ],
)
def test_a_wrong_value_is_told_with_line_key_and_what_was_expected(text: str, told: str) -> None:
    assert mistakes(text) == [told]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("treads = 5", '1: treads: unknown key; did you mean "threads"?'),
        ("[defaults]\ntimout = 5", '2: defaults.timout: unknown key; did you mean "timeout"?'),
        (SHOP + "bace_url = 5", '3: api.shop.bace_url: unknown key; did you mean "base_url"?'),
        ("[defaults]\nbackoff.factr = 5", '2: defaults.backoff.factr: unknown key; did you mean "factor"?'),
        ("zebra = 5", "1: zebra: unknown key"),
        ('"ze\\nbra" = 5', "1: ze bra: unknown key"),
        (SHOP + 'name = "x"', "3: api.shop.name: an API's name is that of its table; leave this key out"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_known_one(text: str, told: str) -> None:
    assert mistakes(text) == [told]


def test_every_mistake_is_told_in_the_order_of_the_file() -> None:
    text = 'threads = 0\n[keeps]\n[log]\nlevel = "loud"\n[api.a]\nrate = 0\n[api.b]\nbase_url = "ftp://b"\n'
    assert [told.partition(": ")[0] for told in mistakes(text)] == ["1", "2", "4", "5", "6", "8"]


@pytest.mark.parametrize(
    "other",
    ["https://shop.example", "https://SHOP.example:443/", "https://shop.example/a/..", "https://user@shop.example"],
)
def test_two_apis_with_one_base_url_are_told(other: str) -> None:
    told = mistakes(f'{SHOP}[api.two]\nbase_url = "{other}"')
    assert told == ["4: api.two.base_url: [api.shop] has the same; expected one of its own"]


def test_a_secret_in_a_wrong_value_is_not_repeated() -> None:
    told = mistakes(f'{SHOP}headers = ["s3cret"]\nproxy = ["s3cret"]\nrate = "s3cret"')
    assert len(told) == 3
    assert "s3cret" not in "".join(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = 1\nb = \n", "2:5: not TOML: "),
        ("a = 1\na = 2\n", "2:6: not TOML: "),
        ('spool = "x', "1:11: not TOML: "),
        ("a = " + "[" * 5000, " cannot be read: "),
        ("a = " + "1" * 5000, " cannot be read: "),
    ],
)
def test_what_is_not_toml_is_told_with_line_and_column(text: str, told: str) -> None:
    (line,) = mistakes(text)
    assert line.startswith(told)


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "inboxd.toml"
    path.write_bytes(b'threads = 3\nspool = "\xe4"\n')
    with pytest.raises(ConfigError, match=r"inboxd\.toml:2: not UTF-8"):
        load(str(path), {})


def test_a_byte_order_mark_is_forgiven(tmp_path: Path) -> None:
    path = tmp_path / "inboxd.toml"
    path.write_bytes(b"\xef\xbb\xbfthreads = 3\r\n")
    assert load(str(path), {}).threads == 3


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(str(tmp_path / "none.toml"), {})


def test_the_argument_goes_before_the_environment(tmp_path: Path) -> None:
    one, two = write(tmp_path, "threads = 1", "1.toml"), write(tmp_path, "threads = 2", "2.toml")
    assert load(one, {"INBOXD_CONFIG": two}).threads == 1
    assert load(None, {"INBOXD_CONFIG": two}).threads == 2


def test_the_file_in_the_working_folder_is_read_when_nothing_is_named(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        assert load(None, {}) == Config()
        write(tmp_path, "threads = 3")
        assert load(None, {"INBOXD_CONFIG": ""}).threads == 3


def test_the_spool_is_the_options_then_the_environments_then_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, 'spool = "/c"')
    assert load(path, {"INBOXD_SPOOL": "b"}, "a").spool == "a"
    assert load(path, {"INBOXD_SPOOL": "b"}).spool == "b"
    assert load(path, {}).spool == "/c"


def test_relative_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    text = f'spool = "s"\n[log]\nfile = "l"\n[defaults]\nverify = "ca"\n{SHOP}cert = "c"\nkey = "/k"\n'
    config = load(write(tmp_path, text), {})
    (shop,) = config.apis
    found = [config.spool, config.log.file, shop.verify, shop.cert, shop.key]
    assert found == [f"{tmp_path}/s", f"{tmp_path}/l", f"{tmp_path}/ca", f"{tmp_path}/c", "/k"]


def test_verify_may_still_be_a_boolean() -> None:
    (shop,) = parse(SHOP + "verify = false", "x/inboxd.toml").apis
    assert shop.verify is False
