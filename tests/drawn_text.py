"""Pictures with text, in the font that comes with Pillow."""

import io

from PIL import Image, ImageDraw, ImageFont


def drawn_text(text: str, *, size=(320, 240), font_px=24, colour=(240, 220, 200)) -> bytes:
    """A plain picture with the text in it, as a PNG."""
    picture = Image.new("RGB", size, colour)
    ImageDraw.Draw(picture).text((12, 40), text, fill=(20, 20, 60), font=ImageFont.load_default(font_px))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
