"""What a recipe must say so that features are there, in words."""

from evenly.adapters import ADAPTERS, adapter_class
from evenly.adapters.evaluation.tables import recipe_remedy

OF_EVERY_BUILD = {"prototypes", "norms", "captions", "unlabelled", "tower"}
BESIDE_TEXTS = {"class_text_labels", "descriptor_text_labels", "pair_text_classes"}


def test_a_field_of_features_has_the_line_of_the_recipe_that_brings_it():
    missing = "class_texts`, `class_text_labels"
    assert recipe_remedy(missing) == "write `methods: [description]` with the class list in the recipe, and rebuild"
    assert recipe_remedy("unlabelled_second, second") == "write `features: {second: {}}` in the recipe, and rebuild"
    assert recipe_remedy("norms") == ""


def test_each_adapter_that_a_build_may_lack_features_for_has_a_line():
    fields = {field for name in ADAPTERS for field in (*adapter_class(name).needs, *adapter_class(name).row_needs)}
    assert {field for field in fields if not recipe_remedy(field)} <= OF_EVERY_BUILD | BESIDE_TEXTS
