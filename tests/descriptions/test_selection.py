"""The pool of descriptions that a selection is made from."""

from evenly.descriptions.selection import description_pool


def test_the_pool_holds_each_phrase_once_and_none_that_names_a_class():
    phrases = {"cat": ["has fur", "has a tail", "has fur"], "dog": ["has a tail", "looks like cats", "barks"]}
    pool = description_pool(phrases, ["dog", "cat", "fire truck"])
    assert pool.texts == ("has a tail", "barks", "has fur")
    assert pool.text_indices == ((0, 1), (2, 0), ())
    assert pool.own_texts() == [(0, "has a tail"), (0, "barks"), (1, "has fur"), (1, "has a tail")]
