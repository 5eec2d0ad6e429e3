import base64
import io
import json
import logging
import pickle
import stat
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from research_to_prod.promotion.keys import (
    KeyFileError,
    KeyRole,
    Keys,
    PublicKey,
    open_keys,
    pre_authentication_encoding,
    read_keys,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CANARY = bytes(range(32))


def pem(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def plant(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "log.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_first_use_makes_a_private_key_only_the_owner_can_read(tmp_path):
    keys = open_keys(tmp_path / "a" / "keys", NOW)
    assert stat.S_IMODE((tmp_path / "a" / "keys" / "log.key").stat().st_mode) == 0o600
    assert keys.can_sign
    (entry,) = json.loads((tmp_path / "a" / "keys" / "keys.json").read_text())["keys"].values()
    assert entry["role"] == "log"
    assert entry["valid_from"] == "2026-01-01T00:00:00.000Z"
    assert sorted(path.name for path in (tmp_path / "a" / "keys").iterdir()) == ["keys.json", "log.key"]


def test_later_uses_find_the_same_key_and_leave_its_validity_alone(tmp_path):
    first = open_keys(tmp_path, NOW)
    again = open_keys(tmp_path, datetime(2027, 1, 1, tzinfo=UTC))
    assert again.public == first.public
    assert again.sign("t", b"x") == first.sign("t", b"x")


def test_readers_verify_and_cannot_sign(tmp_path):
    signature = open_keys(tmp_path, NOW).sign("record", b"payload")
    readers = read_keys(tmp_path / "keys.json")
    assert readers.problems([signature], "record", b"payload", NOW) == []
    with pytest.raises(KeyFileError, match="only public keys"):
        readers.sign("record", b"payload")


def test_signing_follows_the_dsse_encoding():
    # The example of DSSE's protocol page.
    assert (
        pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_every_way_in_which_a_signature_is_not_good_is_named(tmp_path):
    keys = open_keys(tmp_path / "ours", NOW)
    good = keys.sign("record", b"payload")
    other = open_keys(tmp_path / "theirs", NOW).sign("record", b"payload")
    early = datetime(2025, 12, 31, tzinfo=UTC)

    def problems(*signatures, kind="record", payload=b"payload", at=NOW):
        return "; ".join(keys.problems(signatures, kind, payload, at))

    assert problems(good) == ""
    assert "not signed" in problems()
    assert "not of these bytes" in problems(good, payload=b"payloae")
    assert "not of these bytes" in problems(good, kind="manifest")
    assert "not of these bytes" in problems(good.model_copy(update={"signature": "not base64!"}))
    assert "not of these bytes" in problems(good.model_copy(update={"signature": "AAAA"}))
    assert "not among the trusted keys" in problems(other)
    assert "not among the trusted keys" in problems(good, other)
    assert "more than once" in problems(good, good)
    assert "valid from" in problems(good, at=early)


def test_a_key_signs_for_its_role_and_within_its_validity_only(tmp_path):
    keys = open_keys(tmp_path, NOW)
    signature = keys.sign("record", b"payload")
    (entry,) = keys.public.values()
    ends = NOW + timedelta(days=30)

    def problems(at: datetime, **changes: object) -> list[str]:
        changed = entry.model_copy(update=changes)
        return Keys({signature.key_id: changed}).problems([signature], "record", b"payload", at)

    assert problems(NOW, valid_to=ends) == []
    assert "valid until" in problems(ends, valid_to=ends)[0]
    assert "not of the log" in problems(NOW, role=KeyRole.APPROVER, person="ada")[0]


def test_an_approvers_key_names_its_person_and_a_validity_has_a_length():
    raw = base64.b64encode(CANARY).decode()
    with pytest.raises(ValueError, match="without a person"):
        PublicKey(public_key=raw, role=KeyRole.APPROVER, valid_from=NOW)
    with pytest.raises(ValueError, match="not after"):
        PublicKey(public_key=raw, role=KeyRole.LOG, valid_from=NOW, valid_to=NOW)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o601])
def test_a_private_key_that_others_may_use_is_refused_with_the_remedy(tmp_path, mode):
    open_keys(tmp_path, NOW)
    (tmp_path / "log.key").chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        open_keys(tmp_path, NOW)


def test_a_link_in_place_of_the_private_key_is_refused(tmp_path):
    target = plant(tmp_path / "elsewhere", pem(Ed25519PrivateKey.generate()))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "log.key").symlink_to(target)
    with pytest.raises(KeyFileError, match="cannot read the private key"):
        open_keys(tmp_path / "keys", NOW)


def test_a_lost_private_key_is_not_replaced_silently(tmp_path):
    open_keys(tmp_path, NOW)
    (tmp_path / "log.key").unlink()
    with pytest.raises(KeyFileError, match="restore the private key"):
        open_keys(tmp_path, NOW)
    assert not (tmp_path / "log.key").exists()


def test_a_swapped_private_key_is_refused(tmp_path):
    open_keys(tmp_path, NOW)
    plant(tmp_path, pem(Ed25519PrivateKey.generate()))
    with pytest.raises(KeyFileError, match="does not name key"):
        open_keys(tmp_path, NOW)


def test_a_crash_between_the_two_files_is_mended_by_the_next_start(tmp_path):
    open_keys(tmp_path, NOW)
    (tmp_path / "keys.json").unlink()
    assert open_keys(tmp_path, NOW).can_sign


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (lambda text: text[:-1], "not a file of public keys"),
        (lambda text: text.replace('"role":"log"', '"role":"king"'), "role"),
        (lambda text: text.replace('"role":"log"', '"role":"log","note":"x"'), "note"),
        (lambda text: text.replace('"public_key":"', '"public_key":"AAAA'), "not a file of public keys"),
        (lambda text: " " + text, "canonical"),
    ],
)
def test_a_malformed_file_of_public_keys_is_refused(tmp_path, tamper, says):
    open_keys(tmp_path, NOW)
    path = tmp_path / "keys.json"
    path.write_text(tamper(path.read_text()))
    with pytest.raises(KeyFileError, match=says):
        read_keys(path)


def test_a_public_key_under_the_id_of_another_is_refused(tmp_path):
    open_keys(tmp_path, NOW)
    path = tmp_path / "keys.json"
    content = json.loads(path.read_text())
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    next(iter(content["keys"].values()))["public_key"] = base64.b64encode(stranger).decode()
    path.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")))
    with pytest.raises(KeyFileError, match="tampered"):
        read_keys(path)


def test_missing_public_keys_are_a_clear_error(tmp_path):
    with pytest.raises(KeyFileError, match="No such file"):
        read_keys(tmp_path / "keys.json")


def test_the_private_key_never_shows(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    planted = pem(Ed25519PrivateKey.from_private_bytes(CANARY))
    forms = {CANARY.hex(), base64.b64encode(CANARY).decode(), planted.decode().splitlines()[1], repr(CANARY)[2:-1]}
    shown = io.StringIO()

    def show_failure(action) -> None:
        with pytest.raises((KeyFileError, TypeError, AttributeError)) as caught:
            action()
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        # Only our own frames: this test's locals do hold the canary.
        shown.writelines(str(frame.locals) for frame in frames.stack if "/tests/" not in frame.filename)
        shown.writelines(frames.format_exception_only())

    plant(tmp_path, planted)
    keys = open_keys(tmp_path, NOW)
    keys.sign("record", b"payload")
    shown.write(f"{keys!r} {keys} {vars(keys)} {(tmp_path / 'keys.json').read_text()}")
    show_failure(lambda: pickle.dumps(keys))
    (tmp_path / "log.key").chmod(0o644)
    show_failure(lambda: open_keys(tmp_path, NOW))
    plant(tmp_path, planted[:-12])
    show_failure(lambda: open_keys(tmp_path, NOW))
    plant(tmp_path, planted + planted[:60].replace(b"PRIVATE", b"BROKEN"))
    (tmp_path / "keys.json").write_text("{}")
    show_failure(lambda: open_keys(tmp_path, NOW))
    shown.write(caplog.text)
    assert "log.key" in shown.getvalue()
    for form in forms:
        assert form not in shown.getvalue()


def test_another_kind_of_key_is_refused(tmp_path):
    plant(tmp_path, pem(X25519PrivateKey.generate()))
    with pytest.raises(KeyFileError, match="no Ed25519 private key"):
        open_keys(tmp_path, NOW)


RACER = """
import sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from research_to_prod.promotion.keys import open_keys
root = Path(sys.argv[1])
(root / f"ready-{sys.argv[2]}").touch()
while not (root / "go").exists():
    time.sleep(0.001)
for attempt in range(10):
    keys = open_keys(root / f"keys-{attempt}", datetime(2026, 1, 1, int(sys.argv[2]), tzinfo=UTC))
    print(keys.sign("t", b"x").canonical_bytes().decode(), keys.public)
"""


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(tmp_path), str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    while len(list(tmp_path.glob("ready-*"))) < len(racers):
        assert all(racer.poll() is None for racer in racers)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    answers = {racer.communicate(timeout=30)[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert len(answers) == 1
    assert answers.pop().count("PublicKey") == 10
    assert sorted(path.name for path in tmp_path.glob("keys-*/*")) == 10 * ["keys.json"] + 10 * ["log.key"]
