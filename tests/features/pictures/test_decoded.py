import io

import numpy as np
import pytest
from PIL import Image

from evenly.features.pictures.decoded import decode_in_process, open_picture
from evenly.features.pictures.rgb import open_rgb


def drawn(kind: str, mode: str = "RGB") -> bytes:
    ramp = np.add.outer(np.arange(41) * 5, np.arange(50) * 3)
    picture = Image.fromarray(np.stack([ramp, ramp * 7, ramp * 11, ramp * 13], axis=2).astype(np.uint8))
    file = io.BytesIO()
    picture.convert(mode).save(file, kind)
    return file.getvalue()


FILES = {
    "jpeg": drawn("JPEG"),
    "four colours": drawn("JPEG", "CMYK"),
    "png": drawn("PNG"),
    "see-through": drawn("PNG", "RGBA"),
    "palette": drawn("PNG", "P"),
    "one bit": drawn("PNG", "1"),
    "webp": drawn("WEBP"),
}


@pytest.mark.parametrize("resize", ["pillow", "torch"])
@pytest.mark.parametrize("data", FILES.values(), ids=list(FILES))
def test_a_decoder_process_gives_the_pixels_that_pillow_has(data, resize):
    reply = decode_in_process(data, {"resize": resize})
    assert reply["error"] == ""
    expected = np.asarray(open_rgb(data))
    assert reply["shape"] == expected.shape
    assert bytes(reply["bytes"]) == expected.tobytes()
    np.testing.assert_array_equal(np.asarray(open_picture(data, resize)), expected)


@pytest.mark.parametrize("resize", ["pillow", "torch"])
@pytest.mark.parametrize("data", [b"", b"<html>", FILES["png"][:-40], FILES["jpeg"][:-200], FILES["jpeg"][:3]])
def test_what_does_not_decode_is_an_error_without_pixels(data, resize):
    reply = decode_in_process(data, {"resize": resize})
    assert reply["error"].startswith("undecodable (")
    assert set(reply) == {"error"}


def test_too_little_memory_is_for_the_budget_to_tell(monkeypatch):
    def out_of_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", out_of_memory)
    with pytest.raises(MemoryError):
        decode_in_process(FILES["png"], {"resize": "pillow"})
