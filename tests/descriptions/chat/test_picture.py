"""Pictures beside messages: named in records and addresses, made into bytes when they are sent."""

import asyncio
import base64

import pytest

from evenly.descriptions.batch.files import input_line
from evenly.descriptions.chat.budget import most_prompt_tokens
from evenly.descriptions.chat.client import ChatClient
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.picture import ChatPicture, UnreadablePictureError
from evenly.descriptions.chat.request import ChatRequest, Message, content_address
from evenly.storage.chat.requests import Requests
from tests.chat_server import tiny_server

PICTURE = ChatPicture(image_id="ab" * 32, max_side=512, load=lambda: b"bytes")


def about(picture, text="What is it?"):
    return ChatRequest(messages=(Message(role="user", content=text, pictures=(picture,)),))


def address(request):
    return content_address(request.content(identity="i", model="m"))


def test_the_address_is_of_what_the_picture_is_made_of_and_not_of_how_it_is_read():
    same = ChatPicture(image_id="ab" * 32, max_side=512)
    assert address(about(PICTURE)) == address(about(same))
    others = (
        ChatPicture(image_id="cd" * 32, max_side=512),
        ChatPicture(image_id="ab" * 32, max_side=256),
        ChatPicture(image_id="ab" * 32, max_side=512, media_type="image/png"),
    )
    assert len({address(about(one)) for one in (PICTURE, *others)}) == 4
    bare = ChatRequest(messages=(Message(role="user", content="What is it?"),))
    assert "pictures" not in bare.content(identity="i", model="m")["messages"][0]


def test_a_request_comes_back_out_of_its_record_without_the_bytes():
    content = about(PICTURE).content(identity="i", model="m")
    again = ChatRequest.of_content(content)
    assert again == about(PICTURE)
    with pytest.raises(UnreadablePictureError, match="not at hand"):
        again.pictures[0].data_url()


def test_its_data_goes_out_and_stays_out_of_the_record(workspace):
    async def ask(server):
        async with ChatClient(server.endpoint, store=Requests(workspace)) as client:
            return await client.ask(about(PICTURE))

    with tiny_server() as server:
        reply = asyncio.run(ask(server))
        (sent,) = server.requests
    url = sent["messages"][0]["content"][0]["image_url"]["url"]
    assert url == "data:image/jpeg;base64," + base64.b64encode(b"bytes").decode()
    record = Requests(workspace).get(reply.request_id)
    assert record["request"]["messages"][0]["pictures"] == [PICTURE.content()]
    assert "base64" not in str(record)


def test_a_picture_that_cannot_be_read_sends_nothing_and_costs_nothing(workspace):
    def unreadable():
        raise UnreadablePictureError("unreadable_picture", "broken")

    picture = ChatPicture(image_id="ef" * 32, max_side=512, load=unreadable)

    async def ask(server):
        async with ChatClient(server.endpoint, store=Requests(workspace)) as client:
            with pytest.raises(UnreadablePictureError, match="broken"):
                await client.ask(about(picture))
            return client.counts

    with tiny_server() as server:
        counts = asyncio.run(ask(server))
        assert not server.requests
    assert counts.lost_attempts == 0


def test_what_it_may_cost_at_most_grows_with_its_size_and_is_more_than_any_host_bills():
    bare = most_prompt_tokens(ChatRequest(messages=(Message(role="user", content="What is it?"),)))
    costs = [most_prompt_tokens(about(ChatPicture(image_id="", max_side=side))) - bare for side in (512, 1024, 2048)]
    assert costs == [8_500, 25_501, 93_505]


def test_a_line_of_a_batch_holds_its_data():
    request = about(PICTURE)
    content = request.content(identity="i", model="m")
    line = input_line("1", content, Dialect(), {PICTURE.name: PICTURE})
    assert base64.b64encode(b"bytes") in line
