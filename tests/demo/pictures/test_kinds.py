from collections import Counter

from evenly.demo.pictures.kinds import KINDS, kinds_of_codes


def test_ten_folders_of_plural_names_have_seventy_to_a_hundred_pictures_each():
    kinds = kinds_of_codes()
    counts = Counter(kind for kind, _ in kinds.values())
    assert list(KINDS) == [*dict.fromkeys(kind for kind, _ in kinds.values())]
    assert all(70 <= count <= 100 for count in counts.values())
    assert len({(kind, group) for kind, group in kinds.values()}) == len({group for _, group in kinds.values()})
