"""The YAML file of a judge: what it may say, where a judge may be asked, and where the key stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.errors import ConfigError
from tutelage.rewards.judge_file import read_judge

WHOLE = """\
base_url: http://localhost:8000/v1/
model: some-judge
rubric: |
  Is the answer right?
scale_min: 1
scale_max: 5.5
timeout_seconds: 10
max_tries: 2
wait_seconds: 0
concurrency: 8
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "judge.yaml"
    path.write_text(WHOLE, encoding="utf-8")
    return path


def refused(file: Path, text: str) -> str:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_judge(file)
    start = f"--reward judge: {file}: "
    assert str(error.value).startswith(start)
    return str(error.value).removeprefix(start)


def test_a_whole_file(file):
    found = read_judge(file)
    assert found.url == "http://localhost:8000/v1/chat/completions"
    assert (found.rubric, found.scale_min, found.scale_max) == ("Is the answer right?\n", 1, 5.5)
    assert (found.timeout_seconds, found.max_tries, found.wait_seconds, found.concurrency) == (10, 2, 0, 8)
    assert found.key == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("modell: m", "unknown key 'modell'; did you mean 'model'? There are: base_url, model, rubric, scale_min, "),
        ("api_key: sk-secret", "unknown key 'api_key'; did you mean 'api_key_env'?"),
        ("max_tries: 2.5", "'max_tries' is 2.5; it must be of type int"),
        ("max_tries: true", "'max_tries' is True; it must be of type int"),
        ("scale_max: ten", "'scale_max' is 'ten'; it must be of type float"),
        ("allow_http: 1", "'allow_http' is 1; it must be of type bool"),
        ("model: ' '", "'model' is missing"),
        ("rubric: ''", "'rubric' is missing"),
        ("scale_max: 1", "scale_min is 1 and scale_max 1; the second must be larger"),
        ("scale_max: .inf", "scale_min is 1 and scale_max inf; the second must be larger"),
        ("max_tries: 0", "max_tries is 0; it must be above 0 and at most 10000"),
        ("timeout_seconds: .nan", "timeout_seconds is nan; it must be above 0 and at most 10000"),
        ("concurrency: -1", "concurrency is -1; it must be above 0 and at most 10000"),
        ("wait_seconds: -1", "wait_seconds is -1; it must be from 0 to 10000"),
    ],
)
def test_a_key_that_cannot_be_used(file, line, message):
    key = line.partition(":")[0]
    kept = [other for other in WHOLE.splitlines() if not other.startswith(f"{key}:")]
    if key == "rubric":
        kept.remove("  Is the answer right?")
    found = refused(file, "\n".join([*kept, line]))
    assert found.startswith(message)
    assert "secret" not in found


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://localhost", "https://", "https://h/v1?x=1", "https://h/v1#x", "https://h /v1"],
)
def test_an_address_that_is_none(file, url):
    message = refused(file, WHOLE.replace("http://localhost:8000/v1/", f"'{url}'"))
    assert message.startswith(
        f"base_url is '{url}'; it must be like https://host/v1" if url else "'base_url' is missing"
    )


@pytest.mark.parametrize("url", ["https://h:port/v1", "https://[::1/v1"])
def test_an_address_that_cannot_be_read(file, url):
    assert refused(file, WHOLE.replace("http://localhost:8000/v1/", url)).startswith(f"base_url is '{url}': ")


def test_plain_http_is_for_this_machine(file):
    elsewhere = WHOLE.replace("localhost", "judge.example")
    assert refused(file, elsewhere) == (
        "base_url is http://judge.example:8000/v1/, without encryption; use https://, or say allow_http: true"
    )
    for text in (
        elsewhere + "allow_http: true",
        elsewhere.replace("http:", "https:"),
        WHOLE.replace("localhost", "[::1]"),
    ):
        file.write_text(text, encoding="utf-8")
        assert read_judge(file).url.endswith(":8000/v1/chat/completions")


def test_a_password_in_the_address_is_refused_and_not_shown(file):
    message = refused(file, WHOLE.replace("localhost", "me:secret@localhost"))
    assert message.startswith("base_url holds a name or password; put the key into the variable")
    assert "secret" not in message


def test_the_key_stands_in_the_environment(file, monkeypatch):
    with_key = WHOLE + "api_key_env: JUDGE_KEY\n"
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    assert refused(file, with_key) == "the environment variable JUDGE_KEY of the judge is not set; export it"
    monkeypatch.setenv("JUDGE_KEY", " secret-1\n")
    assert read_judge(file).key == "secret-1"
    monkeypatch.setenv("JUDGE_KEY", "secret\r\nHost: elsewhere")
    assert refused(file, with_key) == "the environment variable JUDGE_KEY of the judge holds no key; export it anew"
    message = refused(file, WHOLE + "api_key_env: sk-secret\n")  # somebody put the key itself there
    assert message == "api_key_env must be the name of an environment variable, such as JUDGE_KEY"


def test_a_file_that_is_no_mapping(file):
    for text, message in (
        ("- a", "must be a mapping with base_url"),
        ("a: [", "is no readable YAML"),
        ("", "must be a "),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            read_judge(file)
    with pytest.raises(ConfigError, match=r"no\.yaml cannot be read: No such file or directory"):
        read_judge(file.with_name("no.yaml"))
