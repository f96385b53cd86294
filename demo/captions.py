"""Captions as the web has them: good ones, short ones, keyword lists, typing errors, boilerplate, other languages."""

import re
from collections.abc import Callable

from evenly.demo.draws import pick
from evenly.demo.names import Name
from evenly.demo.nouns import head_noun

# Ordinary English, at least three words whatever the name: what a pair with an injected fault carries, so that the
# checks of the text let it pass to the step that must find the fault.
GOOD = (
    "a drawing of {a}",
    "an illustration which shows {a}",
    "a small picture of {a}",
    "a colourful drawing of {a}",
    "a cartoon drawing of {a}",
    "a simple sketch of {a} in colour",
    "{a} drawn in flat colours",
    "{a} on a plain background",
    "this picture shows {a}",
)
_FOREIGN = {
    "de": ("eine Zeichnung: {x} auf einem hellen Hintergrund", "das Bild zeigt: {x}, gezeichnet in bunten Farben"),
    "es": ("un dibujo de {x} sobre un fondo blanco", "la imagen muestra {x} en colores vivos"),
    "fr": ("un dessin de {x} sur un fond blanc", "cette image montre {x} en couleurs vives"),
    "it": ("un disegno di {x} su uno sfondo bianco", "questa immagine mostra {x} a colori vivaci"),
    "pt": ("um desenho de {x} sobre um fundo branco", "esta imagem mostra {x} em cores vivas"),
    "ru": ("рисунок на белом фоне: {x}", "на этой картинке изображено: {x}"),
    "tr": ("beyaz arka plan üzerinde {x} çizimi", "bu resimde renkli olarak {x} görülüyor"),
}
BOILERPLATE = (
    "image", "photo", "untitled", "click to enlarge", "Click here to view larger image", "image not available",
    "placeholder image", "thumbnail", "IMG_{n}.PNG", "DSC0{n}.jpg", "screenshot_{n}.png", "no description available",
    "advertisement", "logo", "share on social media",
)  # fmt: skip
EMPTY = ("", " ", "  ")
_BARE = re.compile(r"o'clock|-thirty|^[A-Z][a-z]+\.? [A-Z]|skin tone$")
_PLURAL = re.compile(r"[^s']s$|^(wo)?men$|^people$|^children$")


def good_caption(name: Name, seed: int, *key: str, avoid: str = "") -> str:
    """An ordinary English caption of at least three words; another than `avoid`."""
    phrase = caption_phrase(name.text)
    choices = [caption for template in GOOD if (caption := template.format(a=phrase)) != avoid]
    return pick(choices, seed, "good", *key)


def web_caption(name: Name, seed: int, *key: str, avoid: str = "") -> str:
    """An English caption as found beside a picture on the web, half of them good ones; another than `avoid`."""
    write = pick(_STYLES, seed, "style", *key)
    caption = write(name, seed, *key)
    return caption if caption != avoid else good_caption(name, seed, *key, avoid=avoid)


def foreign_caption(name: Name, seed: int, *key: str) -> str:
    """A caption in one of the languages in which the picture has a name; the picture must have one."""
    language = pick(sorted(name.foreign), seed, "language", *key)
    return pick(_FOREIGN[language], seed, "template", *key).format(x=name.foreign[language])


def boilerplate_caption(seed: int, *key: str) -> str:
    """Words that say nothing about the picture."""
    return pick(BOILERPLATE, seed, "boilerplate", *key).format(n=pick(range(100, 999), seed, "number", *key))


def caption_phrase(phrase: str) -> str:
    """`phrase` with "a", "an" or "the" where it takes one: not for plurals, proper names and times of day."""
    noun = head_noun(phrase)
    if phrase.startswith("flag of "):
        return f"the {phrase}"
    if _PLURAL.search(noun) or _BARE.search(phrase.split(",", maxsplit=1)[0]):
        return phrase
    return f"an {phrase}" if phrase[0].lower() in "aeio" else f"a {phrase}"


def misspelt(caption: str, seed: int, *key: str) -> str:
    """`caption` with two neighbouring letters of its longest word exchanged."""
    word = max(re.findall(r"[A-Za-z]+", caption), key=len)
    if len(word) < 4:
        return caption
    place = pick(range(1, len(word) - 2), seed, "place", *key)
    wrong = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return caption.replace(word, wrong, 1)


def _keywords(name: Name, _seed: int, *_key: str) -> str:
    return ", ".join([name.text.replace(",", ""), *name.synonyms[:3], "emoji", "drawing"])


def _misspelt_good(name: Name, seed: int, *key: str) -> str:
    return misspelt(good_caption(name, seed, *key), seed, *key)


def _filled(template: str) -> Callable[..., str]:
    def write(name: Name, _seed: int, *_key: str) -> str:
        return template.format(name=name.text, Name=name.text[0].upper() + name.text[1:], NAME=name.text.upper())

    return write


_STYLES: tuple[Callable[..., str], ...] = (
    *[good_caption] * 10,
    _filled("{name}"),
    _filled("{Name} emoji"),
    _filled("{Name} emoji drawing"),
    _filled("{NAME} EMOJI DRAWING"),
    _filled("{name} sticker"),
    _filled("cute {name} picture"),
    *[_keywords] * 2,
    *[_misspelt_good] * 2,
)
