import io

import numpy as np
import pytest
import torch
from PIL import Image

from evenly.features.batched_rows import ImageTower, batched_rows, default_batch_size
from evenly.features.errors import UnreadableImageError
from evenly.features.torch_session import major_minor


def picture(shade):
    stream = io.BytesIO()
    Image.new("RGB", (2, 2), (shade, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def tower(seen, device="cpu"):
    def run(pixels):
        seen.append(tuple(pixels.shape))
        return pixels.flatten(1)[:, :5]

    def preprocess(image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()

    return ImageTower(
        run=run, preprocess=preprocess, dimension=5, batch_size=4, threads=2, device=device, dtype=torch.float32,
        layout=torch.contiguous_format,
    )  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])  # the second as any device beside the processor
@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_every_batch_has_one_shape_and_rows_stand_in_the_order_of_the_input(n, device):
    seen = []
    rows = tower(seen, device).rows([picture(10 * number) for number in range(n)])
    assert rows.dtype == np.float32
    assert rows.shape == (n, 5)
    assert rows[:, 0].tolist() == [10 * number for number in range(n)]
    assert set(seen) <= {(4, 3, 2, 2)}
    assert len(seen) == -(-n // 4)


def test_a_convolutional_tower_has_small_batches_on_a_processor():
    patches, layers = torch.nn.Conv2d(3, 4, 16), torch.nn.Linear(4, 4)
    transformer = torch.nn.Sequential(patches, layers)
    convolutional = torch.nn.Sequential(patches, torch.nn.Conv2d(4, 4, 3), layers)
    devices = ("cpu", "cpu:0", "cuda", "mps")
    assert [default_batch_size(convolutional, device) for device in devices] == [16, 16, 32, 32]
    assert {default_batch_size(transformer, device) for device in devices} == {32}


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_broken_picture_is_named_by_its_position(device):
    with pytest.raises(UnreadableImageError, match=r"Position in `images`: 5\."):
        tower([], device).rows([*map(picture, range(5)), b"<html>"])


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_pictures_are_taken_as_they_are_needed_and_pixels_count_as_their_file(device):
    given, computed = [], []

    def pictures():
        for number in range(40):
            given.append(number)
            yield picture(number) if number % 2 else np.full((2, 2, 3), [number, 0, 0], np.uint8)

    rows = tower(computed, device).rows(pictures(), lambda _count: computed.append(len(given)))
    assert rows[:, 0].tolist() == [*range(40)]
    assert min(count for count in computed if isinstance(count, int)) < 40


def test_rows_go_to_their_positions_whatever_the_order_of_the_batches():
    batches = [
        (np.array([3, 1]), torch.tensor([[3.0], [1.0], [9.0]])),
        (np.array([0, 2]), torch.tensor([[0.0], [2.0]])),
    ]
    done = []
    rows = batched_rows(
        batches, lambda batch: batch[1].to(torch.bfloat16), dimension=1, threads=2, progress=done.append
    )
    assert rows.ravel().tolist() == [0, 1, 2, 3]
    assert rows.dtype == np.float32
    assert done == [2, 2]


@pytest.mark.parametrize(("version", "short"), [("2.13.0+cpu", "2.13"), ("3.3", "3.3"), ("1", "1")])
def test_versions_are_cut_to_two_numbers(version, short):
    assert major_minor(version) == short
