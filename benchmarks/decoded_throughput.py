"""Measure the captioner `decoded` beside a bare loop of the same model: what reading, seeds and the store cost.

The model is a CoCa of open_clip with two layers in each tower and random weights: what it says is nothing, and each
token costs what it costs. Ours is the whole captioner over a real pool: pictures read out of their shards and checked,
decoded, captioned in batches of one shape, drawn by hash, and stored. The bare loop is given pictures that are decoded
and scaled already, in memory, and draws by torch's generator in batches of the same size, in as many threads, each with
a batch of its own; it keeps nothing. The two take turns. Ratios are those of their totals: of seconds by the clock, and
of seconds of processors, which say more where others use the machine.

Run: python -m benchmarks.decoded_throughput [--pictures N] [--rounds N] [--width N]
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open_clip
import pyarrow as pa
import torch
from safetensors.torch import save_file

from benchmarks.caption_throughput import write_pool
from evenly.curation.reservations.rule import PoolDownload
from evenly.features.open_clip_models import OpenedModel, open_model
from evenly.features.pictures.rgb import open_rgb
from evenly.features.torch_session import default_threads
from evenly.storage.pools.source import PoolSource
from evenly.storage.web.images import find_places, read_images
from evenly.storage.workspace import Workspace
from evenly.tasks.captions.captioner import Shown
from evenly.tasks.captions.decoded import DECODED, DecodedRule, open_caption_model
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.collect import COLLECT, CollectRule
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step

BATCH, TOKENS = 16, 12


def config(width: int) -> dict[str, object]:
    """A CoCa with two layers in each tower, of pictures of 112 pixels in 49 patches."""
    text = {"context_length": 32, "vocab_size": 49408, "width": width, "heads": width // 64, "layers": 2}
    pooling = {"attentional_pool": True, "attn_pooler_queries": 32, "attn_pooler_heads": width // 64}
    picture = {"image_size": 112, "layers": 2, "width": width, "head_width": 64, "patch_size": 16}
    return {
        "embed_dim": width,
        "vision_cfg": picture | pooling | {"output_tokens": True},
        "text_cfg": text | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": text | {"attn_pooler_heads": width // 64},
    }


def write_model(folder: Path, width: int) -> Path:
    """The folder of the model, for `local-dir:`."""
    folder.mkdir()
    torch.manual_seed(0)
    model = open_clip.coca_model.CoCa(**config(width))
    with torch.no_grad():  # open_clip leaves some as memory was
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape) * 0.05
            parameter.copy_(drawn if parameter.ndim > 1 else torch.full_like(drawn, float("weight" in name)))
    preprocessing = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    settings = {"model_cfg": config(width) | {"custom_text": True}, "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder


def pool_run(root: Path) -> tuple[Run, pa.Table]:
    """A run whose pictures are downloaded, and its pairs by picture."""
    source = PoolSource(kind="folder", path=str(root / "pool"), name="pool")
    run = Run(workspace=Workspace.at(root / "w"), seed=1, sources=(source,), progress=Progress(quiet=True))
    collected = run_step(run, COLLECT, (), CollectRule(limit=None))
    records = (collected, run_step(run, DOWNLOAD, (collected,), PoolDownload()))
    pairs = run.ledger.alive(records, ["image_id"]).select(["uid", "image_id"])
    return run, pairs.sort_by("image_id").combine_chunks()


def seconds_now() -> npt.NDArray[np.float64]:
    """Seconds by the clock, and of processors."""
    return np.array([time.perf_counter(), time.process_time()])


def ours(run: Run, pairs: pa.Table, rule: DecodedRule) -> npt.NDArray[np.float64]:
    """Seconds (2,) of the captioner, which has no captions stored."""
    for stored in run.workspace.features.glob("*/captions.lance"):
        shutil.rmtree(stored)
    started = seconds_now()
    places = find_places(run.workspace.downloads, pairs["image_id"].combine_chunks()).sort_by("image_id")
    made = DECODED.offer(run, rule, Shown(name="drawn", pairs=pairs, places=places, facts=None, workers=1))
    seconds = seconds_now() - started
    if made["caption"].null_count or made.num_rows != pairs.num_rows:
        raise SystemExit(f"each picture must have a caption; got {made.num_rows} of {pairs.num_rows}")
    return seconds


def bare(opened: OpenedModel, pixels: torch.Tensor, rule: DecodedRule) -> npt.NDArray[np.float64]:
    """Seconds (2,) of the loop."""
    start, end = (opened.tokenizer.encoder[f"<{name}_of_text>"] for name in ("start", "end"))

    def captions(batch: torch.Tensor) -> list[str]:
        with torch.inference_mode():
            latent, patches = opened.model._encode_image(batch)  # noqa: SLF001 - as its own generate does
            texts = torch.full((len(batch), 1), start, dtype=torch.long)
            for place in range(rule.max_tokens):
                output = opened.model(None, texts, image_latent=latent, image_embs=patches, output_labels=False)
                logits = output["logits"][:, -1] / rule.temperature
                logits[:, [start, opened.pad_id, *([end] if place < 3 else [])]] = -torch.inf
                chances, order = torch.softmax(logits, dim=-1).sort(dim=-1, descending=True)
                chances[chances.cumsum(dim=-1) - chances >= rule.top_p] = 0
                texts = torch.cat([texts, order.gather(1, torch.multinomial(chances, 1))], dim=1)
            return [opened.tokenizer.decode(row[1:]) for row in texts.tolist()]

    started = seconds_now()
    with ThreadPoolExecutor(default_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        drawn = [text for texts in pool.map(captions, pixels.split(rule.batch_size)) for text in texts]
    seconds = seconds_now() - started
    if len(drawn) != len(pixels):
        raise SystemExit(f"each picture must have a caption; got {len(drawn)} of {len(pixels)}")
    return seconds


def main() -> None:
    """Print pictures per second of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=256)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evenly-bench-") as folder:
        root = Path(folder)
        write_pool(root / "pool", arguments.pictures)
        model = f"local-dir:{write_model(root / 'model', arguments.width)}"
        rule = DecodedRule(model=model, max_tokens=TOKENS, batch_size=BATCH)
        run, pairs = pool_run(root)
        opened = open_model(model, None, precision="fp32", device="cpu")
        names = pairs["image_id"].to_pylist()
        pixels = torch.stack(
            [opened.preprocess(open_rgb(data)) for data in read_images(run.workspace.downloads, names)]
        )
        open_caption_model(rule)
        torch.set_num_threads(1)
        bare(opened, pixels[: 2 * BATCH], rule)
        ours(run, pairs.slice(0, 2 * BATCH), rule)
        totals = np.zeros((2, 2))
        for _ in range(arguments.rounds):
            both = np.array([ours(run, pairs, rule), bare(opened, pixels, rule)])
            print(f"  seconds, and of processors: ours {both[0].round(1)}, bare {both[1].round(1)}", flush=True)
            totals += both
    (our_rate, bare_rate), ratios = arguments.rounds * arguments.pictures / totals[:, 0], totals[1] / totals[0]
    print(
        f"{arguments.pictures:,} pictures, {arguments.rounds} rounds, CoCa of 2 layers in each tower and width "
        f"{arguments.width}, random weights, batches of {BATCH}, {TOKENS} tokens, {os.cpu_count()} cores: "
        f"the captioner {our_rate:.1f} pictures/s, a bare loop {bare_rate:.1f}: {ratios[0]:.2f} by the clock, "
        f"{ratios[1]:.2f} by seconds of processors"
    )


if __name__ == "__main__":
    main()
