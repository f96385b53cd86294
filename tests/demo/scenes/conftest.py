"""Scenes drawn once for all tests of them."""

import pytest

from evenly.demo.draws import DEMO_SEED
from evenly.demo.scenes.drawing import Scene, draw_scene
from evenly.demo.scenes.plans import plan_scene


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    """The first 160 scenes: of every part, layout, relation and defect."""
    return [draw_scene(plan_scene(number, DEMO_SEED)) for number in range(160)]
