"""Known secrets are taken out of texts in every form that an echo gives them, and ordinary text stays as it is."""

import base64
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.redaction import (
    errors_without_secrets,
    keep_secrets_out_of_logs,
    know_variables,
    without_secrets,
    without_secrets_in,
)
from tests.echoes import KEY, forms, leaks


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize("form", sorted({*forms()} - {"basic"}))
def test_every_form_of_a_secret_is_replaced_by_its_name(form):
    assert without_secrets(f"it is {forms()[form]}!").startswith("it is <OPENAI_API_KEY>")


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("AWS_SESSION_TOKEN", "session/0123", "session/0123"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "account==0123", "account==0123"),
        ("PREFECT_API_KEY", "pnu_01234567", "pnu_01234567"),
        ("PREFECT_API_AUTH_STRING", "admin:correct-horse", "correct-horse"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"X-Access": "cf-access-0123"}', "cf-access-0123"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", '{"private_key": "-----BEGIN", "type": "service"}', "-----BEGIN"),
        ("HF_TOKEN", "hf_0123456789", "hf_0123456789"),
        ("https_proxy", "http://me:p%40ssword@proxy:3128", "p@ssword"),
        ("HTTPS_PROXY", "http://me:p%40ssword@proxy:3128", "me:p%40ssword"),
        ("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://u:data-base-0@h/p", "data-base-0"),
        ("PREFECT_API_URL", "http://token-0123@server/api", "token-0123"),
    ],
)
@pytest.mark.parametrize("is_told", [False, True])
def test_what_the_code_reads_as_a_secret_is_known(monkeypatch, name, value, secret, is_told):
    monkeypatch.setattr("evenly.redaction._told", {})
    if is_told:
        know_variables({name: value})
    else:
        monkeypatch.setenv(name, value)
    assert without_secrets(f"got {secret}.") == f"got <{name}>."
    user = base64.b64encode(f"someone:{secret}".encode()).decode()
    assert user[12:-3] not in without_secrets(f"Basic {user}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/token"),
        ("OPENAI_BASE_URL", "https://api.openai.com/v1"),
        ("TOKENIZERS_PARALLELISM", "false-false"),
        ("SSH_AUTH_SOCK", "/run/user/ssh-agent"),
    ],
)
def test_a_place_is_no_secret(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert without_secrets(f"it is {value}") == f"it is {value}"


def test_a_short_secret_is_taken_out_where_a_credential_stands_and_no_word_is_cut(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    text = "a test of the latest testing, a key to test"
    assert without_secrets(text) == text
    for shown in ("Bearer test", "api_key=test", '"authorization": "test"', "password: test"):
        assert "test" not in without_secrets(f"got {shown}.")


def test_a_json_value_is_cleaned_in_texts_and_keys_and_keeps_its_shape():
    value = {"a": [1, None, 2.5, True, f"x {KEY}"], KEY: {"b": "c"}}
    clean = without_secrets_in(value)
    assert clean == {"a": [1, None, 2.5, True, "x <OPENAI_API_KEY>"], "<OPENAI_API_KEY>": {"b": "c"}}
    assert leaks(json.dumps(clean)) == []


def test_without_secrets_nothing_changes(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert without_secrets(KEY) == KEY


@given(st.text(), st.text(min_size=8, max_size=40), st.text())
def test_a_secret_of_any_characters_is_gone_and_what_stands_around_it_stays(before, secret, after):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenly.redaction._told", {})
        know_variables({"OPENAI_API_KEY": secret})
        if len(secret.strip()) >= 8 and "://" not in secret and not secret.lstrip().startswith("{"):
            assert "<OPENAI_API_KEY>" in without_secrets(f"{before}{secret}{after}")


def test_a_log_line_and_its_traceback_hold_no_secret(caplog):
    keep_secrets_out_of_logs()
    try:
        {}[KEY]
    except KeyError:
        logging.getLogger("some").exception("got %s and %d", KEY, 3)
    assert leaks(caplog.text) == []
    assert "got <OPENAI_API_KEY> and 3" in caplog.text
    assert "KeyError" in caplog.text


def test_an_error_and_what_led_to_it_hold_no_secret():
    @errors_without_secrets()
    def fail() -> None:
        raise RuntimeError(f"outer {KEY}", 3) from ValueError(f"inner {KEY}")

    with pytest.raises(RuntimeError) as raised:
        fail()
    assert raised.value.args == ("outer <OPENAI_API_KEY>", 3)
    assert str(raised.value.__cause__) == "inner <OPENAI_API_KEY>"
