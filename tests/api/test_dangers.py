"""Each class of hole that tools of this kind have had, tried on this one. The names of the tests are the list."""

from __future__ import annotations

import io
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_clients import HERE, PASSWORD, As
from fastapi import FastAPI
from fastapi.testclient import TestClient
from record import ADA, BO, CY
from sqlalchemy import event, select

from tutelage.api import app as app_module
from tutelage.api import uploads
from tutelage.api.app import create_app
from tutelage.api.guards import MAX_BODY_BYTES
from tutelage.errors import ConfigError
from tutelage.store import invitations, passwords, schema, sessions
from tutelage.store.database import Store
from tutelage.store.founding import found
from tutelage.store.people import Person
from tutelage.store.secret import secret
from tutelage.workspace.server import _hosts, is_local

SCRIPT = "<script>alert(1)</script>"
PAIR = [{"role": "user", "content": "What is a leap year?"}, {"role": "assistant", "content": "One of 366 days."}]
Browser = Callable[[Person], TestClient]


def upload(client: TestClient, name: str, body: bytes, **query: str | bool) -> tuple[int, dict[str, object]]:
    answer = client.post("/api/imports", params={"filename": name, **query}, content=body)
    return answer.status_code, answer.json()


# --- stored XSS -------------------------------------------------------------------------------------------------------


def test_stored_text_is_only_ever_json_that_nobody_may_guess_a_type_for(acting: As) -> None:
    client = acting(CY)
    made = client.post("/api/pairs", json={"messages": [{"role": "user", "content": SCRIPT}], "tags": [SCRIPT]})
    for answer in (made, client.get("/api/pairs"), client.get(f"/api/pairs/{made.json()['id']}")):
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert SCRIPT in answer.text


def test_no_answer_lets_a_script_from_elsewhere_or_an_inline_one_run(acting: As) -> None:
    for path in ("/api/health", "/api/nothing", "/docs", "/api/openapi.json"):
        headers = acting(None).get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_page_of_addresses_has_no_script_and_nothing_from_elsewhere(acting: As) -> None:
    page = acting(None).get("/docs").text
    assert "<script" not in page
    assert "//" not in page
    assert "/api/projects/{project}/next" in page


def test_an_error_that_repeats_what_was_sent_is_json_too(acting: As) -> None:
    answer = acting(CY).get("/api/pairs", params={"author": SCRIPT})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_address_that_is_not_there_says_where_they_are(acting: As) -> None:
    gone, wrong = acting(CY).get("/api/nothing"), acting(CY).put("/api/pairs")
    assert gone.status_code == 404
    assert gone.json()["error"] == "there is nothing at /api/nothing; /docs lists the addresses"
    assert wrong.status_code == 405
    assert wrong.json()["error"] == "/api/pairs takes no PUT; /docs lists what each address takes"


def test_data_is_kept_by_no_cache(acting: As) -> None:
    assert acting(CY).get("/api/pairs").headers["cache-control"] == "no-store"
    assert acting(None).get("/api/pairs").headers["cache-control"] == "no-store"


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../../escaped.jsonl", "/etc/cron.d/x.jsonl", "..\\..\\x.jsonl", "a/../../x.jsonl", ".jsonl", "..", "x" * 200],
)
def test_an_upload_is_written_nowhere_but_in_its_own_folder(
    acting: As, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    opened: list[Path] = []
    real = uploads.tempfile.TemporaryDirectory

    def note(*given: str, **more: str) -> object:
        made = real(*given, dir=tmp_path, **more)
        opened.append(Path(made.name))
        return made

    monkeypatch.setattr(uploads.tempfile, "TemporaryDirectory", note)
    before = {path for path in tmp_path.rglob("*") if "workspace" not in path.parts}
    status, told = upload(acting(BO), name, json.dumps({"messages": PAIR}).encode())
    assert status in (201, 422), told
    assert "/" not in str(told.get("file", ""))
    assert "\\" not in str(told.get("file", ""))
    assert len(opened) == 1
    assert not opened[0].exists()
    assert {path for path in tmp_path.rglob("*") if "workspace" not in path.parts} == before


@pytest.mark.parametrize("what", ["../../etc/passwd", "/etc/passwd", "labels:../x", "pairs/../../x", "..%2f..%2fx"])
def test_an_export_names_no_file_of_the_server(acting: As, what: str) -> None:
    answer = acting(BO).get("/api/exports", params={"what": what})
    assert answer.status_code in (400, 404, 422)
    assert "root:" not in answer.text


def test_a_download_is_named_without_folders_or_quotes(acting: As) -> None:
    acting(CY).post("/api/pairs", json={"messages": PAIR, "submit": True})
    answer = acting(BO).get("/api/exports", params={"what": "pairs"})
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="pairs.jsonl"'
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("name", ["../secrets", "..", "a/b", "%2e%2e"])
def test_a_model_is_named_not_found_by_a_path(acting: As, name: str) -> None:
    assert acting(BO).get(f"/api/models/{name}/lineage").status_code in (404, 422)


# --- addresses, secrets, sign-up --------------------------------------------------------------------------------------


def test_nothing_is_imported_from_an_address(app: FastAPI, acting: As) -> None:
    parameters = [
        each["name"].lower()
        for methods in app.openapi()["paths"].values()
        for operation in methods.values()
        for each in operation.get("parameters", [])
    ]
    assert not [name for name in parameters if "url" in name or "uri" in name or "path" in name or "address" in name]
    status, told = upload(acting(BO), "http://127.0.0.1:1/x.jsonl", b"http://127.0.0.1:1/x")
    assert (status, told.get("num_added", 0)) in ((422, 0), (201, 0))


def test_each_workspace_draws_its_own_secret(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        founded = found(tmp_path / name, name="ada")
        with Store(tmp_path / name, founded.url) as made:
            keys += [create_app(made).state.key, create_app(made).state.key]
    assert [len(key) for key in keys] == [32] * 4
    assert keys[0] == keys[1]
    assert keys[2] == keys[3]
    assert keys[0] != keys[2]


@pytest.mark.parametrize("password", ["", "password", "admin", "tutelage", "changeme", "ada"])
def test_there_is_no_default_password(acting: As, password: str) -> None:
    for name in ("ada", "admin", "root", "owner"):
        assert acting(None).post("/api/session", json={"name": name, "password": password}).status_code in (401, 429)


def test_nobody_signs_up_without_an_invitation(acting: As, store: Store) -> None:
    for token in ("", "inv_", "inv_" + "a" * 43, "null"):
        answer = acting(None).post(
            "/api/invitations/accept", json={"token": token, "name": "eve", "password": PASSWORD}
        )
        assert answer.status_code in (404, 422)
    for path in ("/api/people", "/api/users", "/api/signup", "/api/register"):
        assert acting(None).post(path, json={"name": "eve", "password": PASSWORD}).status_code in (404, 405)
    with store.read() as connection:
        assert len(connection.execute(select(schema.people)).all()) == 4


def test_an_invitation_gives_its_own_role_and_no_other(acting: As) -> None:
    token = acting(ADA).post("/api/invitations", json={"role": "rater"}).json()["token"]
    asked = {"token": token, "name": "eve", "password": PASSWORD}
    assert acting(None).post("/api/invitations/accept", json={**asked, "role": "admin"}).status_code == 422
    told = acting(None).post("/api/invitations/accept", json=asked)
    assert told.json()["person"]["role"] == "rater"


# --- columns ----------------------------------------------------------------------------------------------------------


def test_no_answer_holds_a_hash_or_a_secret(acting: As, browser: Browser, app: FastAPI) -> None:
    browser(CY)
    acting(ADA).post("/api/invitations", json={})
    text = "".join(
        acting(ADA).get(path).text
        for path in ("/api/people", f"/api/people/{CY.id}", "/api/invitations", "/api/tokens", "/api/audit")
    )
    for word in ("argon2", "password_hash", "token_hash", "csrf_hash", app.state.key.hex()):
        assert word not in text


def test_a_field_that_is_not_offered_filters_nothing(acting: As) -> None:
    client = acting(CY)
    for query in ({"password_hash": "x"}, {"order_by": "password_hash"}, {"author.password_hash": "$argon2"}):
        assert client.get("/api/people", params=query).json()["records"] == client.get("/api/people").json()["records"]
    assert client.get("/api/pairs", params={"state": "x' OR 1=1 --"}).status_code == 422
    assert client.get("/api/pairs", params={"tag": "' OR 1=1 --"}).json()["records"] == []
    assert client.patch("/api/people/" + CY.id, json={"role": "admin"}).status_code == 403


def test_a_field_that_is_not_known_is_refused(acting: As) -> None:
    for body in ({"messages": PAIR, "author_id": ADA.id}, {"messages": PAIR, "state": "accepted"}):
        answer = acting(CY).post("/api/pairs", json=body)
        assert answer.status_code == 422
        assert answer.json()["field"] in ("author_id", "state")


# --- files that are code ----------------------------------------------------------------------------------------------


class Trap:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return exec, ("raise SystemExit('a pickle was loaded')",)


@pytest.mark.parametrize("name", ["x.jsonl", "x.pkl", "x.pt", "x.npy", "x.parquet", "x.json", "x"])
def test_a_pickle_is_refused_and_never_loaded(acting: As, name: str) -> None:
    status, told = upload(acting(BO), name, pickle.dumps(Trap()))
    assert status in (400, 422), told
    status, told = upload(acting(BO), name, b"cposix\nsystem\n(S'false'\ntR.")
    assert status in (400, 422) or told["num_added"] == 0, told


# --- forged requests, planted sessions --------------------------------------------------------------------------------


def test_a_cookie_alone_changes_nothing(browser: Browser) -> None:
    client = browser(CY)
    right = client.headers.pop("X-CSRF-Token")
    assert client.get("/api/pairs").status_code == 200
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": right[:-1]}, {"X-CSRF-Token": right + "0"}):
        assert client.post("/api/pairs", json={"messages": PAIR}, headers=headers).status_code == 403
        assert client.delete("/api/session", headers=headers).status_code == 403
    assert client.post("/api/pairs", json={"messages": PAIR}, headers={"X-CSRF-Token": right}).status_code == 201


def test_the_csrf_token_of_another_session_does_not_fit(browser: Browser) -> None:
    mine, theirs = browser(CY), browser(BO)
    mine.headers["X-CSRF-Token"] = theirs.headers["X-CSRF-Token"]
    assert mine.post("/api/pairs", json={"messages": PAIR}).status_code == 403


def test_a_page_of_another_site_cannot_send_anything(browser: Browser) -> None:
    client = browser(CY)
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/api/pairs", json={"messages": PAIR}, headers=headers).status_code == 403
    own = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/pairs", json={"messages": PAIR}, headers=own).status_code == 201


def test_nobody_is_signed_in_by_a_form_of_another_site(acting: As) -> None:
    body = json.dumps({"name": "cy", "password": PASSWORD})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = acting(None).post("/api/session", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422
    assert "access-control-allow-origin" not in acting(None).options("/api/session").headers


def test_a_planted_session_is_not_taken_up(app: FastAPI, browser: Browser) -> None:
    browser(CY)
    client = TestClient(app, base_url=HERE, cookies={"tutelage_session": "planted"})
    client.post("/api/session", json={"name": "cy", "password": PASSWORD})
    first = client.cookies.get("tutelage_session", domain="localhost.local")
    assert first not in (None, "planted")
    stranger = TestClient(app, base_url=HERE, cookies={"tutelage_session": "planted"})
    assert stranger.get("/api/pairs").status_code == 401


def test_signing_out_ends_the_session_on_the_server(app: FastAPI, browser: Browser) -> None:
    client = browser(CY)
    token = str(client.cookies.get("tutelage_session"))
    assert client.delete("/api/session").status_code == 200
    again = TestClient(app, base_url=HERE, cookies={"tutelage_session": token})
    assert again.get("/api/pairs").status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(app: FastAPI, browser: Browser) -> None:
    browser(CY)
    asked = {"name": "cy", "password": PASSWORD}
    plain = TestClient(app, base_url=HERE).post("/api/session", json=asked).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    safe = TestClient(app, base_url="https://localhost").post("/api/session", json=asked).headers["set-cookie"]
    assert "Secure" in safe


def test_a_revoked_token_and_a_closed_account_are_refused_at_once(acting: As, store: Store) -> None:
    client = acting(CY)
    token_id = client.get("/api/tokens").json()[0]["id"]
    assert client.delete(f"/api/tokens/{token_id}").status_code == 200
    assert client.get("/api/pairs").status_code == 401
    other = acting(BO)
    assert other.get("/api/pairs").status_code == 200
    assert acting(ADA).patch(f"/api/people/{BO.id}", json={"active": False}).status_code == 200
    assert other.get("/api/pairs").status_code == 401


# --- guessing ---------------------------------------------------------------------------------------------------------


def test_guessing_a_password_is_slowed(acting: As, browser: Browser) -> None:
    browser(CY)
    wrong = {"name": "cy", "password": "not the password"}
    told = [acting(None).post("/api/session", json=wrong).status_code for _ in range(6)]
    assert told == [401] * 5 + [429]
    right = acting(None).post("/api/session", json={"name": "cy", "password": PASSWORD})
    assert right.status_code == 429
    assert "the limit is 5" in right.json()["error"]


def test_tokens_are_looked_up_by_hash_and_never_compared(store: Store) -> None:
    with store.write() as connection:
        key = secret(connection)
        _, text = sessions.add_token(connection, CY, "x")
        wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
        statements: list[str] = []
        event.listen(connection, "before_cursor_execute", lambda *given: statements.append(given[2]))
        assert sessions.find_token(connection, key, text) is not None
        assert sessions.find_token(connection, key, wrong) is None
    assert len(statements) == 2
    assert statements[0] == statements[1]
    assert "token_hash = ?" in statements[0]
    assert "compare_digest" in sessions.csrf_fits.__code__.co_names


def test_a_wrong_name_and_a_wrong_password_are_told_alike(acting: As, browser: Browser) -> None:
    browser(CY)
    told = [
        acting(None).post("/api/session", json={"name": name, "password": "not the password"}) for name in ("cy", "zz")
    ]
    assert told[0].status_code == told[1].status_code == 401
    assert told[0].json() == told[1].json()


# --- time and memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["a" * 100_000 + "!", "-" * 100_000, " " * 100_000 + "x", "labels:" * 10_000, "é" * 100_000, "@1" * 50_000]
)
def test_no_pattern_takes_long_on_a_long_text(acting: As, text: str) -> None:
    client, started = acting(BO), time.monotonic()
    client.post("/api/projects", json={"name": text, "kind": "thumbs"})
    client.post("/api/snapshots", json={"name": text})
    client.post("/api/pairs", json={"messages": [{"role": "user", "content": text}], "tags": [text[:100]]})
    client.post("/api/pairs/near", json={"messages": [{"role": "user", "content": text}]})
    client.get("/api/pairs", params={"text": text[:200]})
    upload(client, text[:200], text.encode())
    assert time.monotonic() - started < 10


def test_a_body_that_says_it_is_too_large_is_refused_unread(app: FastAPI, acting: As) -> None:
    def endless() -> Iterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    headers = {"Content-Length": str(MAX_BODY_BYTES + 1), "Content-Type": "application/json"}
    assert acting(CY).post("/api/pairs", content=endless(), headers=headers).status_code == 413
    huge = {"Content-Length": "9" * 30, "Content-Type": "application/json"}
    assert acting(CY).post("/api/pairs", content=endless(), headers=huge).status_code == 413


def test_a_body_that_lies_about_its_length_is_stopped_on_the_way(acting: As) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 100_000
            yield b"[" * 100_000

    answer = acting(CY).post("/api/pairs", content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "limit of 4,194,304 bytes" in answer.json()["error"]


def test_an_upload_has_a_limit_too(store: Store, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "LARGER", {"/api/imports": 1000})
    client = TestClient(create_app(store), base_url=HERE, headers={"Authorization": f"Bearer {tokens['bo']}"})

    def parts() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    assert client.post("/api/imports", params={"filename": "x.jsonl"}, content=parts()).status_code == 413


def test_a_stranger_cannot_fill_the_disk(acting: As, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads.tempfile, "TemporaryDirectory", lambda **_: pytest.fail("a folder was made"))
    for person, status in ((None, 401), (CY, 403)):
        answer = acting(person).post("/api/imports", params={"filename": "x.jsonl"}, content=b"x" * 1_000_000)
        assert answer.status_code == status


def test_passwords_are_hashed_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    lock, real = threading.Lock(), passwords._hasher.hash

    def slow(password: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return real(password)

    monkeypatch.setattr(passwords, "_hasher", type("Slow", (), {"hash": staticmethod(slow)})())
    threads = [threading.Thread(target=passwords.hash_password, args=(PASSWORD,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == passwords.HASHES_AT_ONCE


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"messages": [], "meta": {"a": NaN}}',
        b'{"messages": [], "meta": {"a": 1e999}}', b'{"messages": [], "meta": {"a": ' + b"9" * 5000 + b"}}",
        b'{"messages": [], "meta": {"\\u0000": 1}}', b'{"messages": [], "meta": {"a": "\\ud800"}}',
        b'{"messages": [{"role": "user", "content": "\\u0000"}]}',
        b'{"messages": [{"role": "user", "content": "\\udfff"}]}',
        b'{"\\ud800": 1}', b"\xff\xfe", b"null", b'"text"', b"[]", b"",
        b'{"messages": [], "meta": ' + b'{"a":' * 20 + b"1" + b"}" * 20 + b"}",
    ],
)  # fmt: skip
def test_odd_json_is_the_senders_mistake(acting: As, body: bytes) -> None:
    answer = acting(CY).post("/api/pairs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]


# --- this machine only ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "169.254.1.1"]
)
def test_a_name_that_was_bound_to_this_machine_is_not_answered(acting: As, host: str) -> None:
    answer = acting(CY).get("/api/pairs", headers={"Host": host})
    assert answer.status_code == 400
    assert "is not called" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8300", "127.0.0.1:1", "[::1]:8300", "LOCALHOST"])
def test_this_machines_own_names_are_answered(acting: As, host: str) -> None:
    assert acting(CY).get("/api/pairs", headers={"Host": host}).status_code == 200


def test_other_machines_are_let_in_only_when_asked() -> None:
    assert [is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.1", "host.example")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="give --allow-remote"):
        _hosts("0.0.0.0", (), False)
    assert _hosts("0.0.0.0", (), True) == ()
    assert "labels.example.org" in _hosts("0.0.0.0", ("Labels.example.org",), True)


# --- the unforeseen ---------------------------------------------------------------------------------------------------


def test_an_error_nobody_foresaw_tells_nothing_of_the_inside(
    acting: As, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(invitations, "listing", broken)
    answer = acting(ADA).get("/api/invitations")
    assert answer.status_code == 500
    assert answer.json() == {"error": "something went wrong in the server; its log says what"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "the inside" in caplog.text


def test_a_database_that_is_away_is_told_without_its_address(acting: As, store: Store) -> None:
    client = acting(CY)
    Path(str(store.url.database)).rename(store.workspace / "elsewhere.db")
    answer = client.get("/api/pairs")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert str(store.workspace) not in answer.text


def test_the_log_of_acts_holds_what_matters(acting: As, browser: Browser) -> None:
    client = browser(CY)
    acting(None).post("/api/session", json={"name": "cy", "password": "not the password"})
    client.delete("/api/session")
    told = acting(ADA).get("/api/audit").json()["records"]
    assert [each["action"] for each in told[:4]] == [
        "session.ended",
        "session.refused",
        "session.opened",
        "password.set",
    ]
    assert PASSWORD not in json.dumps(told)


def test_an_upload_is_data_and_is_counted(acting: As) -> None:
    body = io.BytesIO()
    body.write(json.dumps({"messages": PAIR}).encode() + b"\n" + b"{broken\n")
    status, told = upload(acting(BO), "two.jsonl", body.getvalue())
    assert status == 201
    assert (told["num_read"], told["num_added"], told["num_left_out"]) == (2, 1, 1)
    assert told["left_out"][0]["line"] == 2  # type: ignore[index]
    assert upload(acting(BO), "two.jsonl", body.getvalue())[1]["num_already"] == 1
