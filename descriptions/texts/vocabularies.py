"""Words that say how something looks, and words of attributes by type, to find them in texts and tell types apart.

A descriptor without a visual word says something else. "Shape", "color", "texture", "pattern" and "material" are not
among them: alone they say nothing.
"""

import re
from collections.abc import Iterator, Sequence

from evenly.descriptions.texts.words import SMALL_WORDS, words_of

# Nouns for parts are the long tail: the words here are those of everyday objects, animals, plants, food, clothes,
# buildings, vehicles, tools and instruments. Each stands for its plural, and its form in -ed or -y, too.
_VISUAL_WORDS = {
    "colour": """
        black white red green blue yellow orange brown pink purple violet grey gray gold golden silver beige tan cream
        crimson scarlet turquoise teal navy maroon ivory bronze copper amber rainbow colored colorful coloured
        colourful multicolored bright dark pale light vivid reddish greenish bluish yellowish brownish whitish
        blackish transparent translucent clear monochrome tabby rust
    """,
    "shape": """
        round rounded circular circle oval square rectangle rectangular triangle triangular sphere
        spherical ball cylinder cylindrical cone conical cube cubic flat curved curve curvy straight bent crescent
        pointed pointy sharp blunt angular arched arch hollow hexagonal star elongated oblong spiral coiled twisted
        forked branched slender slim thin thick wide narrow broad long short tall large big small tiny huge giant
        little high low deep shallow heavy bulky stout compact tapered tapering symmetrical edge edged corner rim
        border outline silhouette ring tube loop dome tip end top bottom side front back upper lower streamlined
        upright horizontal vertical
    """,
    "surface": """
        smooth rough shiny glossy matte soft hard fluffy furry fuzzy hairy woolly silky velvety spiky spiny thorny
        bumpy wrinkled scaly slimy polished metallic glittering sparkling reflective textured grainy ridged
        ribbed cracked worn dusty wet dry striped stripe spotted spot dotted dot patterned checked checkered
        plaid plain speckled mottled marbled patch patchy painted glazed crisp waxy leathery feathered bristly pebbled
        peeled ripe rusty
    """,
    "material": """
        wood wooden metal metallic steel iron brass aluminum tin glass plastic rubber leather fabric cloth cotton wool
        woolen silk canvas denim felt nylon paper cardboard stone brick concrete marble clay ceramic porcelain wax bone
        straw wicker bamboo rope string stringed wire foam chrome crystal pearl velvet lace mesh
    """,
    "body": """
        head face eye ear nose snout muzzle beak bill mouth lip tooth teeth fang tusk tongue whisker mane horn antler
        hair fur coat skin scale feather wing tail fin gill flipper claw paw hoof hooves foot feet leg arm hand finger
        toe neck throat chest breast belly body shell plumage fleece crest comb trunk hump limb shoulder back cheek
        chin forehead eyebrow beard legged tailed winged footed eyed necked antenna antennae
    """,
    "plant": """
        leaf leaves stem stalk petal flower blossom bud branch twig bark root trunk seed core pit peel rind flesh pulp
        crown canopy needle thorn vine bunch fruit cap gill frond foliage woody leafy
    """,
    "part": """
        wheel tire handle knob button lever blade spike point frame seat leg back backrest armrest cushion strap buckle
        lace sole heel toe collar sleeve cuff pocket zipper hood brim visor lid cover base stand foot pole post pillar
        column beam panel board shelf drawer door window roof wall floor chimney stair step gate fence tower cockpit
        engine propeller hull deck mast sail rudder ladder hose siren light lamp bulb headlight bumper windshield
        mirror hood grille fender cabin cab bed trailer track pedal chain spoke handlebar saddle fork basket spout rim
        dial face hand numeral digit number letter label logo screen display keyboard key keypad lens cord cable plug
        string neck fret fretboard soundhole bridge peg bow pipe valve bell reed drum skin pages page spine binding
        cover hinge lock hole slot notch teeth groove bolt screw nail nut hook ring pin clip spring rod shaft tip net
        ribs rib canopy shade fold pleat hem fringe tassel ribbon bow knot seam stitch emblem symbol sign cross stripe
        crust filling topping layer slice crumb icing frosting sprinkle foam bubble flame smoke ray beam cloud
        container box bottle jar cup bowl
    """,
}
PART_WORDS = frozenset(word for kind in ("body", "plant", "part") for word in _VISUAL_WORDS[kind].split())
VISUAL_WORDS = frozenset(word for words in _VISUAL_WORDS.values() for word in words.split())
_LETTERS = re.compile(r"[a-z]+")
_ENDINGS = ("s", "es", "ed", "d", "y")


def has_visual_word(text: str) -> bool:
    """Whether one of the text's words is a visual word, or one with a usual ending."""
    return any(_is_visual(word) for word in _LETTERS.findall(text.casefold()))


def mostly_visual(text: str, facts: str) -> bool:
    """Whether half or more of a text's words, small words aside, are visual words or stand in `facts`."""
    fact_words = set(words_of(facts))
    words = [word for word in _LETTERS.findall(text.casefold()) if word not in SMALL_WORDS]
    return 2 * sum(_is_visual(word) or not fact_words.isdisjoint(words_of(word)) for word in words) >= len(words)


def _is_visual(word: str) -> bool:
    if word in VISUAL_WORDS:
        return True
    stems = (word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending))
    return any(len(stem) > 2 and stem in VISUAL_WORDS for stem in stems)


_WORDS = {
    "color": """
        black white gray grey red orange yellow green blue purple violet pink brown beige tan golden silver cream
        turquoise maroon crimson scarlet reddish yellowish greenish bluish brownish whitish blackish colorful colourful
        transparent multicolored
    """,
    "shape": """
        round oval square rectangular triangular spherical cylindrical conical flat curved straight pointed angular
        arched hollow ring-shaped star-shaped heart-shaped long short slender thin thick wide broad narrow tall
    """,
    "material": """
        wooden wood metal steel iron brass bronze glass plastic rubber leather fabric cloth cotton silk wool woolen
        paper cardboard stone brick concrete ceramic clay marble bone bamboo straw
    """,
    "size": "tiny small medium-sized large huge big giant",
    "texture": """
        smooth rough shiny glossy matte soft hard fluffy furry hairy feathered scaly spiky bumpy wrinkled slimy
        leafy woody juicy crisp polished leathery silky spiny prickly
    """,
    "pattern": "plain striped stripes spotted spots dotted checkered plaid speckled mottled floral marbled geometric",
}
ATTRIBUTE_WORDS = {kind: tuple(words.split()) for kind, words in _WORDS.items()}
FREE = frozenset({"part"})
"""Types whose values are any words."""
_TYPE_OF = {words_of(word): kind for kind, words in ATTRIBUTE_WORDS.items() for word in words}
_SPELLING = {words_of(word): word for words in ATTRIBUTE_WORDS.values() for word in words}
_MARKS = frozenset({"stripe", "stripes", "spot", "spots", "dot", "dots"})
_CLAUSE = re.compile(r"[;,:()]")
_HAVING = re.compile(r"\b(?:with|having|has|have)\b")
_OF_OTHERS = re.compile(r"\b(?:that|which|who|whose|where|used|for|in|on|from|of (?:a|an|the|any|various))\b.*")
_DENIED = re.compile(r"\b(?:no|not|without|lacking|never|un\w+|other than)\b.*")
_BETWEEN = re.compile(rf"\b(?:\w+ed as .*|{'|'.join(sorted(SMALL_WORDS))})\b")
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_OF_A_PART = re.compile(r"\b[a-z]+-(?!(?:sized|shaped|colou?red)\b)[a-z]+ed\b")
_MOST_BEFORE = 2
_UNCOUNTED = frozenset(
    {
        *("hair", "fur", "skin", "flesh", "bark", "foliage", "plumage", "fleece", "fabric", "leather", "wood", "foam"),
        *("teeth", "feet", "pulp", "lace", "string", "rope", "icing", "frosting", "antennae"),
    }
)


def types_of(value: str) -> frozenset[str]:
    """The types whose words occur in a value."""
    return frozenset(kind for kind, _ in _typed(value))


def attributes_in(text: str) -> tuple[tuple[str, str], ...]:
    """(type, value) of each attribute that a definition names, in order, each once.

    After "with", "has" or "having" stand parts and marks ("black stripes", "two wheels"), each taken with up to two
    words before it. Words of the other types are looked for before that, and before the first "that", "which" or "of
    the", which begins to speak of something else. What follows a denial in its clause does not count.
    """
    attributes: list[tuple[str, str]] = []
    for clause in _CLAUSE.split(text):
        head, *having = _HAVING.split(_DENIED.sub("", clause), maxsplit=1)
        attributes += _typed(_OF_A_PART.sub("", _OF_OTHERS.sub("", head)))
        attributes += [pair for run in _BETWEEN.split(" ".join(having)) for pair in _part_in(_WORD.findall(run))]
    return tuple(dict.fromkeys(attributes))


def adds_attribute(text: str, facts: str) -> bool:
    """Whether a text names a color, shape, material, size, texture or pattern that `facts` do not."""
    fact_words = set(words_of(facts))
    return any(not set(words_of(word)) <= fact_words for _, word in _typed(text))


def goes_after(value: str, kind: str) -> bool:
    """Whether a value stands after the name ("a cat with black stripes") and not before it ("a black cat")."""
    words = value.split()
    return kind in FREE or (kind == "pattern" and bool(words) and words[-1] in _MARKS)


def article(phrase: str) -> str:
    """The word "an" before a vowel, else "a"."""
    return "an" if phrase[:1].casefold() in set("aeiou") else "a"


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an", as it is where it is plural, uncounted or has an article."""
    words = phrase.casefold().split()
    if not words or words[0] in {"a", "an", "the"} or words[-1] in _UNCOUNTED or re.search(r"[^s]s$", words[-1]):
        return phrase
    return f"{article(phrase)} {phrase}"


def _part_in(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The last part or mark of a run of words, with the words before it."""
    for place in range(len(words) - 1, -1, -1):
        kind = "pattern" if words[place] in _MARKS else "part" if _is_part(words[place]) else None
        if kind is not None:
            yield kind, " ".join(words[max(0, place - _MOST_BEFORE) : place + 1])
            return


def _typed(text: str) -> Iterator[tuple[str, str]]:
    words = words_of(text)
    for start in range(len(words)):
        for stop in (start + 1, start + 2):
            if (kind := _TYPE_OF.get(words[start:stop])) is not None and stop <= len(words):
                yield kind, _SPELLING[words[start:stop]]


def _is_part(word: str) -> bool:
    return (word in PART_WORDS or word.removesuffix("s") in PART_WORDS) and words_of(word) not in _TYPE_OF
