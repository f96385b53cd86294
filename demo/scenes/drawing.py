"""Scenes as pictures, with what is true of their pixels: boxes, masks, colours, defects, relations."""

import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from evenly.demo.draws import demo_draw
from evenly.demo.pictures.openmoji import draw_picture
from evenly.demo.scenes.backgrounds import background
from evenly.demo.scenes.colours import OPAQUE, colour_of, recoloured
from evenly.demo.scenes.defects import damaged
from evenly.demo.scenes.layout import CANVAS, Box, box_of, cells, relations_between, seat_y, slots
from evenly.demo.scenes.plans import ScenePlan, ThingGroup

DRAWN_PX = 256
"""The side of a picture before it is cut to the drawing and made smaller."""

_BEARER = 0.5  # of the cell's height that what bears others takes


@dataclass(frozen=True, kw_only=True)
class DrawnObject:
    """An object as it is seen: `box` and `pixels` are of its mask, `colour` is None where none prevails."""

    group: int
    code: str
    mirrored: bool
    box: Box
    pixels: int
    colour: str | None


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A drawn scene.

    png: the picture; mask: a PNG of its size, the value of a pixel is the place of the object there plus 1, or 0.
    relations: all that hold between groups; defect: the tightest box around the pixels that it changed.
    """

    plan: ScenePlan
    png: bytes
    mask: bytes
    objects: tuple[DrawnObject, ...]
    relations: tuple[tuple[int, str, int], ...]
    defect: Box | None
    width: int
    height: int

    def colour_of_group(self, place: int) -> str | None:
        """The colour that all objects of a group have; None where they differ or have none."""
        colours = {item.colour for item in self.objects if item.group == place}
        return colours.pop() if len(colours) == 1 else None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a plan is drawn: the background of a phrase and a code's RGBA drawing, neither to be painted on.

    canvas: where objects stand; sizes: the least and the most of the room that an object takes.
    """

    background: Callable[[str], Image.Image]
    drawing: Callable[[str], Image.Image]
    canvas: Box = CANVAS
    sizes: tuple[float, float] = (0.75, 1.0)


@dataclass(frozen=True)
class _Placed:
    """A drawing on the canvas, its upper left corner at (x, y)."""

    group: int
    member: int
    sprite: Image.Image
    x: int
    y: int


def draw_scene(plan: ScenePlan, stage: Stage | None = None) -> Scene:
    """Draw a scene, by OpenMoji unless there is another stage: the same bytes each time."""
    stage = stage or SCENES
    placed = _placed(plan, stage)
    picture, owners = _painted(stage.background(plan.background), placed)
    changed = None
    if plan.defect is not None:
        thing = placed[plan.defect.place]
        sprite = damaged(thing.sprite, plan.defect.kind, plan.seed, *plan.key, "defect")
        placed[plan.defect.place] = _Placed(thing.group, thing.member, sprite, thing.x, thing.y)
        clean, (picture, owners) = picture, _painted(stage.background(plan.background), placed)
        changed = box_of((clean != picture).any(axis=2))
    objects = tuple(_seen(plan, place, thing, picture, owners) for place, thing in enumerate(placed))
    boxes = [[item.box for item in objects if item.group == place] for place in range(len(plan.groups))]
    return Scene(
        plan=plan,
        png=_png(Image.fromarray(picture)),
        mask=_png(Image.fromarray(owners)),
        objects=objects,
        relations=tuple(relations_between(boxes)),
        defect=changed,
        width=picture.shape[1],
        height=picture.shape[0],
    )


def _seen(
    plan: ScenePlan,
    place: int,
    placed: _Placed,
    picture: npt.NDArray[np.uint8],
    owners: npt.NDArray[np.uint8],
) -> DrawnObject:
    mask = owners == place + 1
    group = plan.groups[placed.group]
    return DrawnObject(
        group=placed.group,
        code=group.codes[placed.member],
        mirrored=group.mirrored[placed.member],
        box=box_of(mask),
        pixels=int(mask.sum()),
        colour=colour_of(picture[mask]),
    )


def _painted(empty: Image.Image, placed: Sequence[_Placed]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The picture (height, width, 3), and per pixel the place of the topmost object that is opaque there, plus 1."""
    canvas = empty.copy()
    owners = np.zeros((canvas.height, canvas.width), np.uint8)
    lowest_first = sorted(range(len(placed)), key=lambda place: -(placed[place].y + placed[place].sprite.height))
    for place in lowest_first:  # so that what bears others is behind them
        thing = placed[place]
        canvas.alpha_composite(thing.sprite, (thing.x, thing.y))
        opaque = np.asarray(thing.sprite)[..., 3] >= OPAQUE
        owners[thing.y : thing.y + thing.sprite.height, thing.x : thing.x + thing.sprite.width][opaque] = place + 1
    return np.asarray(canvas)[..., :3], owners


def _placed(plan: ScenePlan, stage: Stage) -> list[_Placed]:
    """The objects where they stand, in the order of the groups."""
    areas = cells(plan.relations, stage.canvas)
    relation = plan.relations[0][1] if plan.relations else ""
    placed: dict[int, list[_Placed]] = {}
    if relation in {"on", "under"}:
        upper, lower = (0, 1) if relation == "on" else (1, 0)
        bearer = _bearer(plan, stage, lower, areas[lower])
        placed = {lower: [bearer], upper: _seated(plan, stage, upper, areas[upper], bearer)}
    for place, cell in enumerate(areas):
        if place not in placed:
            rooms = slots(cell, plan.groups[place].count)
            placed[place] = [_fitted(plan, stage, place, member, room) for member, room in enumerate(rooms)]
    return [thing for place in sorted(placed) for thing in placed[place]]


def _fitted(
    plan: ScenePlan, stage: Stage, place: int, member: int, room: Box, *, sizes: tuple[float, float] | None = None
) -> _Placed:
    """An object somewhere in a part of the canvas, as large as the hash says."""
    key = (*plan.key, "object", str(place), str(member))
    least, most = sizes or stage.sizes
    size = least + (most - least) * demo_draw(plan.seed, *key, "size")
    drawing = stage.drawing(plan.groups[place].codes[member])
    sprite = _sized(drawing, plan.groups[place], member, round(room.width * size), round(room.height * size))
    x = room.x0 + int((room.width - sprite.width + 1) * demo_draw(plan.seed, *key, "x"))
    y = room.y0 + int((room.height - sprite.height + 1) * demo_draw(plan.seed, *key, "y"))
    return _Placed(place, member, sprite, x, y)


def _bearer(plan: ScenePlan, stage: Stage, place: int, cell: Box) -> _Placed:
    """The ground that others stand on, at the bottom of the cell."""
    room = Box(cell.x0, cell.y1 - round(cell.height * _BEARER), cell.x1, cell.y1)
    bearer = _fitted(plan, stage, place, 0, room, sizes=(0.9, 1.0))
    return _Placed(place, 0, bearer.sprite, bearer.x, room.y1 - bearer.sprite.height)


def _seated(plan: ScenePlan, stage: Stage, place: int, cell: Box, bearer: _Placed) -> list[_Placed]:
    """Objects side by side on the bearer."""
    solid = _solid(bearer.sprite)
    group = plan.groups[place]
    wide = bearer.sprite.width // group.count
    high = bearer.y - cell.y0
    seated = []
    for member in range(group.count):
        left = bearer.x + member * wide
        sprite = _fitted(plan, stage, place, member, Box(left, cell.y0, left + wide - 2, cell.y0 + high)).sprite
        x = left + (wide - sprite.width) // 2
        y = seat_y(_solid(sprite), solid, x, (bearer.x, bearer.y))
        seated.append(_Placed(place, member, sprite, x, max(y, stage.canvas.y0)))
    return seated


def _solid(sprite: Image.Image) -> npt.NDArray[np.bool_]:
    return np.asarray(sprite)[..., 3] >= OPAQUE


def _sized(drawing: Image.Image, group: ThingGroup, member: int, width: int, height: int) -> Image.Image:
    """The drawing of an object, as large as fits."""
    if group.colour is not None:
        drawing = recoloured(drawing, group.colour)
    scale = min(width / drawing.width, height / drawing.height)
    size = (max(round(drawing.width * scale), 1), max(round(drawing.height * scale), 1))
    sprite = drawing.resize(size, Image.Resampling.LANCZOS)
    return ImageOps.mirror(sprite) if group.mirrored[member] else sprite


@functools.lru_cache(maxsize=512)
def _drawing(code: str) -> Image.Image:
    return cut_drawing(draw_picture(code, size_px=DRAWN_PX))


SCENES = Stage(background=background, drawing=_drawing)


def cut_drawing(png: bytes) -> Image.Image:
    """A picture cut to what is drawn, RGBA."""
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGBA")
    return picture.crop(box_of(_solid(picture)))


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
