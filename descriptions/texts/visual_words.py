"""Words that say how something looks; a descriptor without one of them says something else.

"Shape", "color", "texture", "pattern" and "material" are not among them: alone they say nothing.
"""

import re

from evenly.descriptions.texts.words import SMALL_WORDS, words_of

# Nouns for parts are the long tail: the words here are those of everyday objects, animals, plants, food, clothes,
# buildings, vehicles, tools and instruments. Each stands for its plural, and its form in -ed or -y, too.
_WORDS = {
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
PART_WORDS = frozenset(word for kind in ("body", "plant", "part") for word in _WORDS[kind].split())
VISUAL_WORDS = frozenset(word for words in _WORDS.values() for word in words.split())
_WORD = re.compile(r"[a-z]+")
_ENDINGS = ("s", "es", "ed", "d", "y")


def has_visual_word(text: str) -> bool:
    """Whether one of the text's words is a visual word, or one with a usual ending."""
    return any(_is_visual(word) for word in _WORD.findall(text.casefold()))


def mostly_visual(text: str, facts: str) -> bool:
    """Whether half or more of a text's words, small words aside, are visual words or stand in `facts`."""
    known = set(words_of(facts))
    words = [word for word in _WORD.findall(text.casefold()) if word not in SMALL_WORDS]
    return 2 * sum(_is_visual(word) or not known.isdisjoint(words_of(word)) for word in words) >= len(words)


def _is_visual(word: str) -> bool:
    if word in VISUAL_WORDS:
        return True
    stems = (word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending))
    return any(len(stem) > 2 and stem in VISUAL_WORDS for stem in stems)
