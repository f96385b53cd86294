"""The reply of a chat endpoint of benchmarks, which answers every request alike: bytes of HTTP."""

import json


def instant_reply(content: object, *, prompt_tokens: int, completion_tokens: int) -> bytes:
    """Head and body of a completion whose text is `content` as JSON."""
    completion = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "made-up",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": json.dumps(content)},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }
    body = json.dumps(completion).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
