"""Messages through real notification blocks of a real server, to a webhook on loopback."""

import time
from collections.abc import Callable

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret

from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.tasks.server import notices
from evenly.tasks.server.notices import MOST_CHARACTERS, Notice, block_problems, plain_text, send_notice
from tests.tasks.server.conftest import save_webhook, webhook
from tests.tasks.server.test_logs import logged

ALL = ["published", "held", "failed"]


@pytest.mark.usefixtures("prefect_server", "watched")
def test_blocks_are_told_what_a_run_came_to(recipe: Callable[..., str], tmp_path):
    root = str(tmp_path / "w")
    with webhook() as (url, posted):
        notify = {"blocks": [save_webhook("team", url)], "events": ALL}
        first = rebuild_dataset(recipe=recipe(1, notify=notify), root=root, quiet=True)
        rebuild_dataset(recipe=recipe(1, notify=notify), root=root, quiet=True)  # nothing new: no message
        held = rebuild_dataset(recipe=recipe(4, notify=notify), root=root, quiet=True)
        rebuild_dataset(recipe=recipe(50, notify=notify), root=root, quiet=True, return_state=True)
        rebuild_dataset(recipe=recipe(0, notify=notify), root=root, quiet=True, return_state=True)  # no valid recipe
    titles = [message["title"] for message in posted]
    assert titles == [f"evenly: tiny_words {event}" for event in ("published", "held", "failed", "failed")]
    texts = [message["text"].splitlines() for message in posted]
    assert texts[0][0] == f"published: {first}, 40 of 40 pairs kept"
    assert texts[1][0].startswith(f"held: {held}, 20 of 40 pairs kept, not promoted")
    assert "must keep at least one pair; it kept none of 40" in texts[2][0]
    assert "min_words" in texts[3][0]
    assert all("/runs/flow-run/" in lines[-1] for lines in texts)
    assert texts[1][1].startswith(f"Report: run `evenly report {held} --root {root}` on ")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "watched")
def test_by_default_blocks_are_told_what_needs_a_person(recipe: Callable[..., str], tmp_path):
    with webhook() as (url, posted):
        notify = {"blocks": [save_webhook("team", url)]}
        rebuild_dataset(recipe=recipe(1, notify=notify), root=str(tmp_path / "w"), quiet=True)
        assert not posted
        rebuild_dataset(recipe=recipe(4, notify=notify), root=str(tmp_path / "w"), quiet=True)
    assert len(posted) == 1


@pytest.mark.usefixtures("prefect_server", "watched")
def test_a_block_that_is_missing_or_does_not_answer_is_a_warning_that_shows_nothing_of_it(recipe, tmp_path):
    with webhook(404) as (refuses, _):
        away = save_webhook("away", "http://127.0.0.1:9/token-of-the-team")
        blocks = [save_webhook("refuses", refuses), away, "custom-webhook/none"]
        notify = {"blocks": blocks, "events": ALL}
        root = str(tmp_path / "w")
        ended = rebuild_dataset(recipe=recipe(1, notify=notify), root=root, quiet=True, return_state=True)
        failed = rebuild_dataset(recipe=recipe(50, notify=notify), root=root, quiet=True, return_state=True)
    assert ended.is_completed()
    for each in (ended, failed):
        lines = logged(str(each.state_details.flow_run_id))
        said = "notify: block `custom-webhook/{}` did not take the message: {}"
        assert said.format("refuses", "it was answered with status 404") in lines
        assert said.format("away", "ConnectError") in lines
        assert said.format("none", "the server has no such block") in lines
        assert not [line for line in lines if "token-of-the-team" in line]


@pytest.mark.usefixtures("prefect_server", "watched")
def test_nobody_waits_long_for_a_block(monkeypatch):
    class Slow(CustomWebhookNotificationBlock):
        _block_type_name = "Slow"
        _block_type_slug = "slow"

        def notify(self, *_: str) -> None:
            time.sleep(30)

    Slow(name="team", url="http://127.0.0.1:9").save("team", overwrite=True)
    monkeypatch.setattr(notices, "_PATIENCE_S", 0.2)
    said: list[str] = []
    started = time.monotonic()
    send_notice(Notice(event="failed", recipe="a", text="b", run="c"), ["slow/team"], said.append)
    assert time.monotonic() - started < 10
    assert said == ["notify: block `slow/team` did not take the message: no answer within 0.2 s"]


@pytest.mark.usefixtures("prefect_server")
def test_a_temporary_server_sends_nothing():
    with webhook() as (url, posted):
        send_notice(Notice(event="failed", recipe="a", text="b", run="c"), [save_webhook("team", url)], pytest.fail)
    assert not posted


@pytest.mark.usefixtures("prefect_server")
def test_blocks_that_are_not_there_or_do_not_notify_are_named():
    Secret(value="hidden").save("word", overwrite=True)
    there = save_webhook("team", "http://127.0.0.1:9")
    missing, silent = block_problems([there, "slack-webhook/none", "secret/word"])
    assert "it has no `slack-webhook/none`" in missing
    assert "`secret/word` does not" in silent


def test_text_of_the_web_mentions_nobody_and_links_nowhere():
    said = plain_text("got `<!channel> @everyone [a](http://evil.test)\x1b[31m` & more\nlines")
    assert not set("<>@&[]`*|\n\x1b") & set(said)
    assert "://" not in said
    assert "evil.test" in said
    assert len(plain_text("a" * 9999)) == MOST_CHARACTERS
