"""The head noun of a picture's name, and whether it names an object.

The rule: a noun names an object if WordNet files it under animal, artifact, food, natural object or plant in the sense
in which OpenMoji draws it. Persons, faces, parts of the body, signs, buttons, writing, plain shapes, weather, places
without a shape of their own and beings that do not exist are no objects. Applied once to the head nouns of all names
and written down, so that it neither depends on a word net's version nor guesses between senses ("face" the typeface).
"""

import re

_CUT = re.compile(
    r",|\s(?:with|of|in|on|behind|over|without|at|by|from|for|between|under|tilted|facing|holding|wearing)\s"
)
_PEOPLE = {"man", "woman", "person", "men", "women", "people"}
# Words in -ing that are things, so that what stands before them is no head noun.
_THINGS_IN_ING = {"building", "ring", "wing"}

_ANIMALS = """
ant badger bat bear beaver beetle bird bison blowfish boar buffalo bug butterfly camel cat chick chicken chipmunk
cockroach coral cow crab cricket crocodile deer dodo dog dolphin donkey dove duck eagle elephant ewe fish flamingo fly
fox frog giraffe goat goose gorilla hamster hedgehog hippopotamus honeybee horse jellyfish kangaroo koala leopard lion
lizard llama lobster mammoth monkey moose mosquito mouse octopus orangutan orca otter owl ox oyster panda parrot peacock
penguin pig poodle rabbit raccoon ram rat rhinoceros rooster sauropod scorpion seal shark shell shrimp skunk sloth snail
snake spider squid swan t-rex tiger turkey turtle whale wolf worm zebra
"""
_PLANTS = """
blossom bouquet cactus clover flower hibiscus hyacinth leaf lotus mushroom plant rose seedling shamrock sheaf sunflower
tree tulip
"""
_FOOD = """
apple avocado bacon bagel banana bar beans blueberries bread broccoli burrito butter cake candy carrot cherries chestnut
coconut cookie cracker cream croissant cucumber cupcake custard doughnut dumpling eggplant egg falafel flatbread
fondue fries fruit garlic grapes hamburger lemon lime lollipop mango melon olive onion pancakes peach peanuts pear
pepper pie pineapple pizza popcorn potato pretzel rice salad sandwich shortcake spaghetti strawberry sushi taco tamale
tangerine tea tomato vegetable waffle watermelon wedge
"""
_ARTIFACTS = """
abacus accordion airplane alembic ambulance amphora anchor antenna automobile axe backpack badge bag bags ball balloon
bandage banjo baseball basket basketball bathtub battery bed bell bicycle bikini boat bomb book books boomerang boot
bottle bowl box brick bridge briefcase briefs broom bucket building bulb bus cabinet camera candle cane canoe cap car
castle cart chain chains chair chest chopsticks church clamp clipboard clock clothes coat coffin coin compass
computer crayon crown crutch cup dagger die disc dish disk dolls door dress drum dvd elevator engine envelope
extinguisher factory feather ferry flag flags flashlight flute folder football fountain gear gift glass glasses
glove gloves goggles guitar hammer handbag harp hat headphone headstone helicopter helmet hook horn hospital hotel
house houses hut jar jeans joystick key keyboard kimono knife ladder lamp lantern laptop light lipstick
locomotive lorry loudspeaker luggage machine magnet mailbox maracas mask medal megaphone menorah microphone microscope
minibus mirror monorail mosque motorcycle mug mugs necktie needle nest net newspaper notebook package pager paintbrush
palette pan paperclip paperclips parachute pen pencil phone pick pin pistol plug plunger pole pot printer projector pump
purse pushpin radio razor receiver rickshaw ring robot rocket roll rosette ruler sailboat sandal sari satellite
saw saxophone scale scarf school scissors scooter screwdriver seat shield ship shirt shoe shoes shorts shovel shrine
skate skateboard skis sled slide soap socks softball speedboat spoon stadium statue stethoscope stopwatch store streamer
sunglasses swimsuit swords synagogue syringe t-shirt taxi teacup teapot telephone telescope television temple tent
thermometer toilet toolbox toothbrush tower tractor train tram trap tray trolleybus trombone trophy truck trumpet tube
umbrella uniform urn vehicle vest videocassette violin volleyball wand wastebasket watch web wheel wheelchair window
wrench yarn yo-yo
banknote beverage buoy calendar card drink globe jack-o-lantern kite meat pill receipt snowman ticket tickets trackball
"""
_NATURAL = "beach bone comet moon mountain rock stone volcano wood"

OBJECT_NOUNS = frozenset(f"{_ANIMALS} {_PLANTS} {_FOOD} {_ARTIFACTS} {_NATURAL}".split())
# Names whose head noun is in the list in another sense, or that are signs about the thing.
_OTHER_SENSES = re.compile(
    "check box|speech balloon|thought balloon|moon viewing|horse racing|wheel of dharma|left luggage|water closet"
)


def head_noun(name: str) -> str:
    """The lower-case head noun of an English noun phrase: its last word before a preposition, comma or participle.

    "glass of milk" -> "glass"; "flag of Peru" -> "flag"; "ice cream" -> "cream"; "woman mountain biking" -> "woman".
    """
    words = _CUT.split(name.lower(), maxsplit=1)[0].split()
    for place, word in enumerate(words):
        if place and word.endswith("ing") and word not in _THINGS_IN_ING:
            words = words[:1] if words[0] in _PEOPLE else words[:place]
            break
    return words[-1].strip("()!'\"#*") if words else ""


def names_object(name: str) -> bool:
    """Whether the head noun of `name` is an object by the rule at the top of this file."""
    return head_noun(name) in OBJECT_NOUNS and not _OTHER_SENSES.search(name.lower())
