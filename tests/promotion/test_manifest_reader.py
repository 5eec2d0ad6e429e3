"""The reader as an execution system has it: one copied file, without the package."""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from research_to_prod.promotion import manifest_reader
from research_to_prod.promotion.controls import Control
from research_to_prod.promotion.keys import new_approver, open_keys, public_entries, trust
from research_to_prod.promotion.manifest import MANIFEST_TYPE, production_manifest, write_manifest
from research_to_prod.values import canonical_json, digest

SOURCE = Path(manifest_reader.__file__)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
C1 = digest(1)
HERE = ("sandbox", "BTC/USDT")


@pytest.fixture
def reader(tmp_path):
    """The copied file, loaded from where an execution system put it."""
    copy = tmp_path / "execution" / "manifest_reader.py"
    copy.parent.mkdir()
    shutil.copy(SOURCE, copy)
    spec = importlib.util.spec_from_file_location("copied_manifest_reader", copy)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "production" / "manifest.json"


@pytest.fixture
def read(reader, path, tmp_path):
    def go(now=NOON, keys=tmp_path / "keys" / "keys.json"):
        return reader.read_manifest(path, keys, tmp_path / "execution" / "seen.json", now)

    return go


@pytest.fixture
def publish(ledger, keys, path):
    def go(as_of=NOON, controls=(), records=None, signer=keys):
        write_manifest(
            path, production_manifest(ledger.records() if records is None else records, as_of, controls), signer
        )
        return path.read_bytes()

    return go


def test_it_imports_the_standard_library_and_cryptography_only():
    names = set()
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "cryptography"}


DRIVER = """
import sys
from datetime import datetime
from pathlib import Path
folder, manifest, keys, now, version = sys.argv[1:]
sys.path.insert(0, folder)
import manifest_reader
try:
    read = manifest_reader.read_manifest(
        Path(manifest), Path(keys), Path(folder) / "seen.json", datetime.fromisoformat(now))
    print(read.permission(version, "sandbox", "BTC/USDT", datetime.fromisoformat(now)).name)
except manifest_reader.RefusedError as error:
    print("refused:", error)
files = {name: getattr(each, "__file__", None) or "" for name, each in sys.modules.items()}
foreign = {name.split(".")[0] for name, file in files.items() if "site-packages" in file and name[0] != "_"}
print(*foreign - {"cryptography", "cffi"})
"""


def test_a_copied_file_in_a_clean_interpreter_follows_a_good_manifest_and_refuses_a_bad_one(
    reader, ledger, draft, publish, path, tmp_path
):
    def outside(now=NOON):
        copied, keys = path.with_name("copy.json"), tmp_path / "keys" / "keys.json"
        shutil.copy(path, copied)
        arguments = [str(each) for each in (tmp_path / "execution", copied, keys, now.isoformat(), C1)]
        command = [sys.executable, "-I", "-c", DRIVER, *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
        said, foreign = answer.stdout.splitlines()
        assert foreign == ""
        return said

    ledger.append(draft(1))
    old = publish()
    assert outside() == "TRADE"
    assert "stale" in outside(NOON + timedelta(hours=26))
    path.write_bytes(old.replace(b'"250000"', b'"950000"'))
    assert "tampered" in outside()
    path.write_bytes(old)
    ledger.append(draft(2))
    publish(NOON + SECOND)
    assert outside(NOON + SECOND) == "TRADE"
    path.write_bytes(old)
    assert "rolled back" in outside(NOON + SECOND)


def test_the_example_in_the_docs_runs(reader, ledger, draft, publish, path, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "production_manifest.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path / "execution")
    monkeypatch.setitem(sys.modules, "manifest_reader", reader)
    ledger.append(draft(1, limits={"instruments": [{"venue": HERE[0], "symbol": HERE[1]}], "max_order_value": "100"}))
    publish(datetime.now(UTC))
    shutil.copy(path, "manifest.json")
    names: dict = {}
    exec(example, names)  # noqa: S102 - our own page
    assert names["allowed"](C1, *HERE, 100, 500) is reader.Permission.REDUCE, "refused: there are no keys"
    shutil.copy(tmp_path / "keys" / "keys.json", "keys.json")
    assert names["allowed"](C1, *HERE, 100, 500) is reader.Permission.TRADE
    assert names["allowed"](C1, *HERE, 101, 500) is reader.Permission.REDUCE
    assert names["allowed"](digest(2), *HERE, 1, 1) is reader.Permission.NOTHING


def test_it_says_who_may_do_what_and_within_which_limits(ledger, draft, publish, read, reader):
    ledger.append(draft(1))
    ledger.append(draft(2))
    ledger.append(draft(3))
    controls = [
        Control(scope="candidate", name=name, mode=mode, since=NOON, by="user:eve", reason="a drill")
        for name, mode in (("c2", "reduce_only"), ("c3", "halt"))
    ]
    publish(controls=controls)
    manifest = read()
    may = {n: manifest.permission(digest(n), *HERE, NOON).name for n in (1, 2, 3, 4)}
    assert may == {1: "TRADE", 2: "REDUCE", 3: "NOTHING", 4: "NOTHING"}
    assert manifest.permission(C1, "sandbox", "ETH/USDT", NOON) is reader.Permission.NOTHING
    assert manifest.permission(C1, "elsewhere", "BTC/USDT", NOON) is reader.Permission.NOTHING
    limits = manifest.limits(C1)
    assert (limits.capital, limits.currency, limits.max_order_value) == (Decimal(250000), "USDT", None)
    with pytest.raises(reader.RefusedError, match="may not trade"):
        manifest.limits(digest(2))


def test_on_a_venue_held_back_it_reduces_and_elsewhere_it_trades(ledger, draft, publish, read):
    markets = [{"venue": venue, "symbol": "BTC/USDT"} for venue in ("sandbox", "other")]
    ledger.append(draft(1, limits={"instruments": markets}))
    held = Control(scope="venue", name="other", mode="reduce_only", since=NOON, by="user:eve", reason="a drill")
    publish(controls=[held])
    manifest = read()
    assert manifest.permission(C1, "sandbox", "BTC/USDT", NOON).name == "TRADE"
    assert manifest.permission(C1, "other", "BTC/USDT", NOON).name == "REDUCE"


def test_a_manifest_ends_also_for_who_holds_it(ledger, draft, publish, read, reader):
    ledger.append(draft(1))
    publish()
    ends = NOON + timedelta(hours=26)
    manifest = read(ends - SECOND)
    with pytest.raises(reader.RefusedError, match="stale"):
        manifest.permission(C1, *HERE, ends)
    with pytest.raises(reader.RefusedError, match="stale"):
        read(ends)


def test_a_manifest_of_the_future_is_refused(ledger, draft, publish, read, reader):
    ledger.append(draft(1))
    publish()
    assert read(NOON - 60 * SECOND).ledger_size == 1
    with pytest.raises(reader.RefusedError, match="clock set back"):
        read(NOON - 61 * SECOND)


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (lambda data: data.replace(b'"stage":"paper"', b'"stage":"live"'), "tampered"),
        (lambda data: data.replace(b'"valid_until":"2026', b'"valid_until":"2027'), "tampered"),
        (lambda data: data[: data.index(b',"signatures"')] + b',"signatures":[]}\n', "not signed"),
        (lambda data: data[: data.index(b',"signatures"')] + b"}\n", "signed production manifest"),
        (lambda data: data.replace(b'{"manifest":{', b'{"manifest":{"entries":[],'), "canonical"),
        (lambda data: data.replace(b'"v":2', b'"v":3'), "version 2"),
        (lambda data: data + b" ", "canonical"),
        (lambda data: data[:200], "signed production manifest"),
        (lambda _: b"[]", "signed production manifest"),
        (lambda _: b"", "signed production manifest"),
        (lambda _: b"\xff", "signed production manifest"),
    ],
)
def test_a_tampered_or_unsigned_manifest_is_refused(ledger, draft, publish, read, reader, path, tamper, says):
    ledger.append(draft(1))
    data = publish()
    assert tamper(data) != data
    path.write_bytes(tamper(data))
    with pytest.raises(reader.RefusedError, match=says):
        read()


def test_only_a_key_of_the_log_that_was_valid_then_signs_a_manifest(
    ledger, keys, draft, publish, read, reader, path, tmp_path
):
    ledger.append(draft(1))
    publish()
    signed = json.loads(path.read_bytes())
    approver = new_approver(tmp_path / "bob.key", "user:bob", NOON)
    (tmp_path / "bob.json").write_bytes(public_entries(approver))
    trust(tmp_path / "keys" / "keys.json", tmp_path / "bob.json")
    for signer in (approver, open_keys(tmp_path / "stranger", NOON)):
        signature = signer.sign(MANIFEST_TYPE, canonical_json(signed["manifest"])).model_dump()
        path.write_bytes(canonical_json(signed | {"signatures": [signature]}))
        with pytest.raises(reader.RefusedError, match="no trusted key of the log"):
            read()
    publish()
    trusted = json.loads((tmp_path / "keys" / "keys.json").read_bytes())["keys"]
    (log,) = keys.public
    for changes, says in (
        ({"valid_to": "2026-01-01T12:00:00.000Z"}, "not valid at"),
        ({"valid_from": "2026-01-01T12:00:00.001Z"}, "not valid at"),
        ({"public_key": next(iter(approver.public.values())).public_key}, "keys are tampered with"),
    ):
        ours = tmp_path / "execution" / "ours.json"
        ours.write_text(json.dumps({"v": 1, "keys": trusted | {log: trusted[log] | changes}}))
        with pytest.raises(reader.RefusedError, match=says):
            read(keys=ours)


def test_a_signature_for_a_record_is_none_for_a_manifest(ledger, keys, draft, publish, read, reader, path):
    ledger.append(draft(1))
    signed = json.loads(publish())
    signed["signatures"] = [keys.sign("application/another", canonical_json(signed["manifest"])).model_dump()]
    path.write_bytes(canonical_json(signed))
    with pytest.raises(reader.RefusedError, match="tampered"):
        read()


def test_what_is_older_than_what_was_read_is_refused(ledger, draft, publish, read, reader, path):
    ledger.append(draft(1))
    first = publish()
    read()
    halt = Control(scope="all", mode="halt", since=NOON + SECOND, by="user:eve", reason="a drill")
    halted = publish(NOON + SECOND, [halt])
    read()
    path.write_bytes(first)
    with pytest.raises(reader.RefusedError, match="rolled back"):
        read()
    path.write_bytes(halted)
    assert read().permission(C1, *HERE, NOON) is reader.Permission.NOTHING


def test_a_ledger_cut_short_or_rewritten_or_another_is_refused(
    ledger, draft, publish, read, reader, path, tmp_path, keys
):
    for number in (1, 2):
        ledger.append(draft(number))
    publish()
    read()
    rewritten, other = (type(ledger)(tmp_path / name, keys) for name in ("rewritten", "other"))
    rewritten.append(draft(1))
    rewritten.append(draft(3))
    for number in (7, 8, 9):
        other.append(draft(number))
    for records in (ledger.records()[:1], rewritten.records(), other.records(), ()):
        path.unlink()
        publish(NOON + SECOND, records=records)
        with pytest.raises(reader.RefusedError, match="rolled back, or is of another ledger"):
            read()


def test_a_reader_that_cannot_remember_follows_nothing(ledger, draft, publish, read, reader, tmp_path):
    ledger.append(draft(1))
    publish()
    seen = tmp_path / "execution" / "seen.json"
    seen.write_text("{}")
    with pytest.raises(reader.RefusedError, match="cannot be read"):
        read()
    seen.unlink()
    assert read().ledger_size == 1
    with pytest.raises(reader.RefusedError, match="cannot remember"):
        reader.read_manifest(
            tmp_path / "production" / "manifest.json", tmp_path / "keys" / "keys.json", tmp_path / "no" / "seen", NOON
        )


def test_what_is_missing_is_named(ledger, draft, publish, read, reader, path, tmp_path):
    ledger.append(draft(1))
    publish()
    with pytest.raises(reader.RefusedError, match=r"nokeys\.json"):
        read(keys=tmp_path / "nokeys.json")
    path.unlink()
    with pytest.raises(reader.RefusedError, match=r"manifest\.json"):
        read()
