import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evenly.features.dense.rows import unit_length
from evenly.features.dense.towers import dense_encoder, size_of
from evenly.features.encoder import OpenClipEncoder
from evenly.features.errors import UnknownModelError, UnreadableImageError
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.refining.heads import Heads
from evenly.features.second_backbone import load_second


def file_of(size: tuple[int, int], left: str = "red", right: str = "blue") -> bytes:
    picture = Image.new("RGB", size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def test_the_mean_of_the_cells_of_a_pooled_tower_is_the_row_of_the_picture_to_the_bits_that_it_has(
    embedded: OpenClipEncoder, drawings: list[bytes]
) -> None:
    tower = dense_encoder(embedded, "embedded")
    rows, cells = tower.raw(drawings[:5])  # type: ignore[attr-defined]
    assert cells.shape == (5, 7, 7, 1280)
    assert np.array_equal(rows, embedded.encode_images(drawings[:5]))
    assert np.allclose(cells.mean(axis=(1, 2)), rows, atol=1e-5)


def test_unusual_pictures_have_cells_that_lie_where_the_encoder_looks(embedded: OpenClipEncoder) -> None:
    dense = dense_encoder(embedded, "embedded").encode_dense(
        [file_of((1, 2000)), file_of((2000, 1)), file_of((16, 16))]
    )
    assert dense.sizes.tolist() == [[1, 2000], [2000, 1], [16, 16]]
    assert np.isfinite(dense.cells).all()
    assert dense.frames[2].tolist() == [0, 0, 16, 16]
    x0, y0, x1, y1 = dense.frames[0]
    assert (x0 + x1, y0 + y1) == (1, 2000)
    assert x1 - x0 == y1 - y0 > 300


def value_path(encoder: OpenClipEncoder, image: bytes) -> np.ndarray:
    """The equations of MaskCLIP, on what open_clip itself gives before the last block."""
    visual = encoder.opened.model.visual
    pixels = encoder.images.pixels.normalised(encoder.images.prepare([image]))
    with torch.inference_mode():
        before = visual.forward_intermediates(pixels, indices=[len(visual.transformer.resblocks) - 2], output_fmt="NLC")
        x = before["image_intermediates"][0][0]
        block = visual.transformer.resblocks[-1]
        width = x.shape[1]
        attended = block.ln_1(x) @ block.attn.in_proj_weight[2 * width :].T + block.attn.in_proj_bias[2 * width :]
        x = x + attended @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
        x = x + block.mlp(block.ln_2(x))
        return (visual.ln_post(x) @ visual.proj).numpy()


def test_the_cells_of_a_vision_transformer_are_the_value_path_of_its_last_block(
    tiny: OpenClipEncoder, drawings: list[bytes]
) -> None:
    rows, cells = dense_encoder(tiny, "tiny").raw(drawings[:3])  # type: ignore[attr-defined]
    assert cells.shape == (3, 2, 2, 16)
    assert np.array_equal(rows, tiny.encode_images(drawings[:3]))
    for cell, image in zip(cells, drawings, strict=False):
        assert np.allclose(cell.reshape(4, 16), value_path(tiny, image), atol=1e-5)


def test_a_cell_sees_its_own_place(embedded: OpenClipEncoder) -> None:
    cells = (
        dense_encoder(embedded, "embedded")
        .encode_dense([file_of((224, 224)), file_of((224, 224), "blue", "red")])
        .cells
    )
    mirrored = np.einsum("hwd,hwd->hw", cells[0], cells[1][:, ::-1])
    same = np.einsum("hwd,hwd->hw", cells[0], cells[1])
    assert mirrored[:, [0, -1]].mean() > same[:, [0, -1]].mean() + 0.1


def test_heads_of_a_refined_encoder_take_cells_as_they_take_rows(tiny: OpenClipEncoder, drawings: list[bytes]) -> None:
    heads = Heads.start(16, 4, seed=0)
    drawn = np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32)
    refined = RefinedEncoder(tiny, replace(heads, image_up=drawn))
    dense = dense_encoder(refined, "tiny").encode_dense(drawings[:2])
    _, cells = dense_encoder(tiny, "tiny").raw(drawings[:2])  # type: ignore[attr-defined]
    wanted = unit_length(cells + cells @ heads.image_down @ drawn)
    assert np.allclose(dense.cells, wanted, atol=1e-5)
    assert not np.allclose(dense.cells, unit_length(cells), atol=1e-2)


def test_a_second_backbone_has_cells_as_well(embedded_cache: Path) -> None:
    backbone = load_second("embedded", cache=embedded_cache)
    assert dense_encoder(backbone, "embedded").encode_dense([file_of((64, 64))]).cells.shape[:3] == (1, 9, 9)


def test_an_encoder_without_cells_is_refused_by_name() -> None:
    with pytest.raises(UnknownModelError, match=r"rows of cells.*`a model of mine`"):
        dense_encoder(object(), "a model of mine")


def test_bytes_that_do_not_decode_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="do not"):
        size_of(b"no picture")
