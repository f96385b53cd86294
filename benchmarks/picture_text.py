"""How often a caption that says what is written in a picture is found, and how often one that does not is suspected.

Words are drawn by hash and written over scenes (evenly.demo.scenes) in the font that comes with Pillow, in several
sizes, dark or white. Of each such picture the words themselves are a caption that must be found, and the scene's true
caption is one that must not; so is that of the scene without words. Needs the extra `ocr`.

Run: python -m benchmarks.picture_text [--count N]
"""

import argparse
import io
from collections.abc import Sequence
from time import perf_counter

from PIL import Image, ImageDraw, ImageFont

from evenly.curation.captions.quality import echoes_text
from evenly.curation.draws import wilson_interval
from evenly.demo.draws import DEMO_SEED, demo_draw, pick
from evenly.demo.scenes.captions import short_caption
from evenly.demo.scenes.catalogue import read_things
from evenly.demo.scenes.drawing import draw_scene
from evenly.demo.scenes.plans import plan_scene
from evenly.features.pictures.text_reader import TextReader

SIZES_PX = (10, 14, 20, 32)
FURTHER = ("sale", "open", "daily", "fresh", "free", "welcome", "closed", "new", "best", "50%", "2026", "entry")
INKS = ("black", "white", "navy")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20, help="scenes for each size of text, and without text")
    count = parser.parse_args().count
    reader, began = TextReader(), perf_counter()
    heads = ("text", "pictures", "said text found", "true caption suspected", "read letter by letter")
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for place, size in enumerate((None, *SIZES_PX)):
        numbers = range(place * count, (place + 1) * count)
        said = [words_of(number) if size else "" for number in numbers]
        pictures = [scene_with(number, text, size) for number, text in zip(numbers, said, strict=True)]
        read = reader.read(pictures)
        true = [short_caption(plan_scene(number, DEMO_SEED)) for number in numbers]
        suspected = [echoes_text(caption, text) for caption, text in zip(true, read, strict=True)]
        found = [echoes_text(caption, text) for caption, text in zip(said, read, strict=True)]
        exact = [text.split() == caption.split() for caption, text in zip(said, read, strict=True)]
        cells = [share(found) if size else "", share(suspected), share(exact)]
        print(f"| {f'{size} px' if size else 'none'} | {count} | {' | '.join(cells)} |", flush=True)
    seconds = (perf_counter() - began) / count / (1 + len(SIZES_PX))
    print(f"\n{seconds:.2f} s a picture, drawing included, on one thread")


def words_of(number: int) -> str:
    """Two to five words, some of them names of things."""
    words = (*FURTHER, *read_things())
    length = 2 + int(4 * demo_draw(DEMO_SEED, "picture text", str(number), "length"))
    return " ".join(pick(words, DEMO_SEED, "picture text", str(number), str(place)) for place in range(length))


def scene_with(number: int, text: str, size: int | None) -> bytes:
    """A scene with the text at a place that is drawn: in one line, or a word a line where that is too wide."""
    with Image.open(io.BytesIO(draw_scene(plan_scene(number, DEMO_SEED)).png)) as opened:
        picture = opened.convert("RGB")
    if size is not None:
        font, draw = ImageFont.load_default(size), ImageDraw.Draw(picture)
        if font.getlength(text) > picture.width:
            text = text.replace(" ", "\n")
        right, bottom = (
            max(0, side - part) for side, part in zip(picture.size, draw.textbbox((0, 0), text, font)[2:], strict=True)
        )
        x, y = (demo_draw(DEMO_SEED, "picture text", str(number), axis) for axis in "xy")
        ink = pick(INKS, DEMO_SEED, "picture text", str(number), "ink")
        draw.text((x * right, y * bottom), text, fill=ink, font=font)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def share(values: Sequence[bool]) -> str:
    """A share with Wilson's 95 % interval."""
    estimate = sum(values) / len(values)
    low, high = wilson_interval(estimate, len(values))
    return f"{estimate:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
