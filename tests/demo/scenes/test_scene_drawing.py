import io
from collections import Counter

import numpy as np
from PIL import Image

from evenly.demo.scenes import drawing
from evenly.demo.scenes.colours import OPAQUE, colour_of
from evenly.demo.scenes.defects import DEFECTS
from evenly.demo.scenes.drawing import draw_scene
from evenly.demo.scenes.layout import CANVAS, HEIGHT_PX, WIDTH_PX, box_of, relations_between


def pixels(content):
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


def test_boxes_are_tight_around_the_masks_and_lie_in_the_picture(scenes):
    for scene in scenes:
        mask = pixels(scene.mask)
        assert pixels(scene.png).shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert mask.shape == (HEIGHT_PX, WIDTH_PX)
        assert set(np.unique(mask)) == set(range(len(scene.objects) + 1))
        for place, item in enumerate(scene.objects, 1):
            assert box_of(mask == place) == item.box
            assert CANVAS.holds(item.box)
            assert (mask == place).sum() == item.pixels


def test_masks_are_the_opaque_pixels_of_the_drawings(scenes):
    """Against the alpha of the sprites, painted one by one."""
    for scene in scenes[:24]:
        if scene.defect is None:
            owners = np.zeros((HEIGHT_PX, WIDTH_PX), bool)
            for one in drawing._placed(scene.plan, drawing.SCENES):
                solid = np.asarray(one.sprite)[..., 3] >= OPAQUE
                owners[one.y : one.y + solid.shape[0], one.x : one.x + solid.shape[1]] |= solid
            assert np.array_equal(pixels(scene.mask) > 0, owners)


def test_outside_the_masks_is_the_background_alone(scenes):
    """But for the soft edge of outlines, of a pixel or two, and what resampling leaves faintly beyond."""
    for scene in scenes[:40]:
        backdrop = np.asarray(drawing.background(scene.plan.background))[..., :3]
        changed = (np.abs(pixels(scene.png).astype(int) - backdrop) > 24).any(axis=2)
        near = np.zeros_like(changed)
        for row, column in np.ndindex(5, 5):
            near |= np.roll(pixels(scene.mask) > 0, (row - 2, column - 2), axis=(0, 1))
        assert not (changed & ~near).any()


def test_there_are_as_many_objects_as_the_counts_say(scenes):
    for scene in scenes:
        counts = Counter(item.group for item in scene.objects)
        assert [counts[place] for place in range(len(counts))] == [group.count for group in scene.plan.groups]
        assert [item.code for item in scene.objects] == [code for group in scene.plan.groups for code in group.codes]


def test_recoloured_pixels_are_of_the_colour(scenes):
    coloured = 0
    for scene in scenes:
        mask, picture = pixels(scene.mask), pixels(scene.png)
        for place, item in enumerate(scene.objects, 1):
            assert item.colour == colour_of(picture[mask == place])
            given = scene.plan.groups[item.group].colour
            assert given in {None, item.colour}
            coloured += given is not None
    assert coloured > 100


def test_relations_are_those_of_the_boxes_and_the_planned_ones_are_among_them(scenes):
    planned = Counter()
    for scene in scenes:
        boxes = [[item.box for item in scene.objects if item.group == place] for place in range(len(scene.plan.groups))]
        assert list(scene.relations) == relations_between(boxes)
        assert set(scene.plan.relations) <= set(scene.relations)
        planned.update(relation for _, relation, _ in scene.plan.relations)
    assert set(planned) >= {"left_of", "right_of", "above", "below", "on"}


def test_what_stands_on_something_is_in_front_of_it(scenes):
    seated = 0
    for scene in scenes:
        if scene.defect is None and scene.plan.relations and scene.plan.relations[0][1] == "on":
            for item, one in zip(scene.objects, drawing._placed(scene.plan, drawing.SCENES), strict=True):
                if item.group == 0:
                    assert item.pixels == (np.asarray(one.sprite)[..., 3] >= OPAQUE).sum()
                    seated += 1
    assert seated > 10


def test_a_defect_changes_pixels_inside_its_box_alone_and_the_box_is_tight(scenes, monkeypatch):
    kinds = set()
    for scene in scenes:
        if scene.plan.defect is None:
            assert scene.defect is None
            continue
        kinds.add(scene.plan.defect.kind)
        with monkeypatch.context() as patch:
            patch.setattr(drawing, "damaged", lambda sprite, *_: sprite.copy())
            patch.setattr(drawing, "box_of", lambda mask: box_of(mask) if mask.any() else None)
            whole = draw_scene(scene.plan)
        assert box_of((pixels(scene.png) != pixels(whole.png)).any(axis=2)) == scene.defect
        damaged = whole.objects[scene.plan.defect.place].box
        assert scene.defect.x0 >= damaged.x0 - 2
        assert scene.defect.x1 <= damaged.x1 + 2
    assert kinds == set(DEFECTS)


def test_a_scene_is_the_same_bytes_each_time(scenes):
    again = [draw_scene(scene.plan) for scene in reversed(scenes[:12])]
    assert again[::-1] == scenes[:12]
