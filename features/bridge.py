"""The algebra of the embedded model: an image tower and a text tower become one zero-shot model without a picture.

The image tower was trained to name 1000 classes. The row of its classifier for a class points to where pictures of
that class lie, and the text tower says where the class's name lies: ridge regression from the one to the other gives
the text projection. Names of other things land between those of the classes they resemble.
"""

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    import torch

RIDGE = 4.0  # times the mean squared length of the text embeddings
DRAWINGS = 256
_SEED = "evenly: drawings of nothing"


def class_wordings() -> list[list[str]]:
    """Four wordings of each of the 1000 ImageNet classes: sentence, plain, all WordNet lemmas, lemmas with gloss."""
    import open_clip
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    synsets = info.label_names()
    names = list(open_clip.IMAGENET_CLASSNAMES)
    return [
        [f"a photo of a {name}" for name in names],
        names,
        [info.label_name_to_description(synset) for synset in synsets],
        [info.label_name_to_description(synset, detailed=True) for synset in synsets],
    ]


def text_projection(embeddings: "torch.Tensor", classifier: "torch.Tensor") -> "torch.Tensor":
    """The matrix (d, k) that takes text embeddings to picture features, by ridge regression in double precision.

    `embeddings` (w, c, k) are w wordings of c classes, not normalised and not centred; `classifier` (c, d) holds the
    rows of the image tower's last layer. Targets are the rows less their mean, at length 1.
    """
    import torch

    wordings, _, k = embeddings.shape
    inputs = embeddings.double().reshape(-1, k)
    targets = torch.nn.functional.normalize(classifier.double() - classifier.double().mean(dim=0), dim=1)
    strength = RIDGE * inputs.square().sum(dim=1).mean()
    gram = inputs.T @ inputs + strength * torch.eye(k, dtype=torch.float64)
    projection: torch.Tensor = torch.linalg.solve(gram, inputs.T @ targets.repeat(wordings, 1))
    return projection.T.contiguous()


def picture_projection(photograph: "torch.Tensor", drawing: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
    """Weight (d, d) and bias (d,) that centre picture features, whether of photographs or of drawings.

    The mean photograph is subtracted and the direction from it to the mean drawing projected out, so both means go to
    zero and neither kind of picture scores high with every text. All else is left as it is.
    """
    import torch

    direction = torch.nn.functional.normalize(drawing.double() - photograph.double(), dim=0)
    weight = torch.eye(len(direction), dtype=torch.float64) - torch.outer(direction, direction)
    return weight, -(weight @ photograph.double())


def mean_photograph(mean: "torch.Tensor", deviation: "torch.Tensor") -> "torch.Tensor":
    """The mean pooled feature (d,) of the photographs the tower was trained on, from its last batch normalisation.

    That layer's output has mean `mean` and standard deviation |`deviation`| over the training set and is cut to 0..6
    before it is averaged over the picture; taken as normal, its mean has a closed form.
    """
    import torch

    centre, spread = mean.double(), deviation.double().abs()

    def above_zero(centre: "torch.Tensor") -> "torch.Tensor":
        z = centre / spread
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
        mean: torch.Tensor = centre * torch.special.ndtr(z) + spread * density
        return mean

    return above_zero(centre) - above_zero(centre - 6)


def drawings_of_nothing(n: int = DRAWINGS) -> list[Image.Image]:
    """`n` pictures of 224 pixels: one to six outlined, evenly coloured shapes on white, always the same ones.

    They stand for what drawings have in common (flat colour, black outline, white ground) and show no object.
    """
    # Python promises that the numbers of random() are the same in all its versions.
    chance = random.Random(_SEED)  # noqa: S311 - not a secret
    return [_drawing(chance) for _ in range(n)]


def _drawing(chance: random.Random) -> Image.Image:
    picture = Image.new("RGB", (448, 448), "white")
    pen = ImageDraw.Draw(picture)
    for _ in range(1 + int(6 * chance.random())):
        colour = tuple(int(256 * chance.random()) for _ in range(3))
        points = _outline(chance)
        pen.polygon(points, fill=colour)
        pen.line([*points, points[0], points[1]], fill="black", width=3 + int(9 * chance.random()), joint="curve")
    return picture.resize((224, 224), Image.Resampling.BICUBIC)


def _outline(chance: random.Random) -> Sequence[tuple[float, float]]:
    """An ellipse, a rectangle or a polygon of three to seven corners."""
    x, y = (130 + 188 * chance.random() for _ in range(2))
    wide, high = (20 + 130 * chance.random() for _ in range(2))
    kind = int(3 * chance.random())
    if kind == 0:
        angles = [2 * math.pi * step / 60 for step in range(60)]
    elif kind == 1:
        return [(x - wide, y - high), (x + wide, y - high), (x + wide, y + high), (x - wide, y + high)]
    else:
        angles = sorted(2 * math.pi * chance.random() for _ in range(3 + int(5 * chance.random())))
        high = wide
    return [(x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles]
