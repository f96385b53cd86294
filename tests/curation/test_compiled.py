from evenly.curation.compiled import compiled


def test_a_loop_without_a_place_for_its_code_is_compiled_all_the_same():
    space: dict = {}
    exec("def twice(number):\n    return 2 * number\n", space)  # noqa: S102 - a function that no file holds
    assert compiled(space["twice"])(21) == 42
