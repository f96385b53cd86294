import pytest

from evenly.descriptions.chat.endpoint import Endpoint, Prices
from evenly.descriptions.errors import EndpointError


@pytest.mark.parametrize("base_url", ["", "localhost:8000", "ftp://host/v1", "https://", "http://[::1/v1"])
def test_a_base_url_that_is_none_is_refused(base_url):
    with pytest.raises(EndpointError, match="must be an http or https URL"):
        Endpoint(base_url=base_url, model="m")


def test_a_base_url_with_credentials_is_refused_and_not_repeated():
    with pytest.raises(EndpointError, match="no user name, password") as caught:
        Endpoint(base_url="https://me:secret@host/v1", model="m")
    assert "secret" not in str(caught.value)


def test_the_identity_of_a_hosted_model_is_its_base_url():
    assert Endpoint(base_url="https://host/v1/", model="m").identity == "https://host/v1"


def test_the_key_comes_from_the_environment_and_is_not_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    endpoint = Endpoint(base_url="https://host/v1", model="m")
    assert endpoint.api_key == "sk-secret"
    assert "sk-secret" not in repr(endpoint)


def test_the_embedded_model_is_not_given_the_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert Endpoint(base_url="http://127.0.0.1:1/v1", model="m", identity="embedded:0").api_key == "none"


def test_prices_are_for_a_million_tokens():
    assert Prices(prompt_usd=2.0, completion_usd=8.0).cost(prompt_tokens=1000, completion_tokens=500) == 0.006
    assert Prices().cost(prompt_tokens=1000, completion_tokens=500) == 0
