"""Measure the step recaption beside a bare loop that sends the same pictures: what storing, checks and rounds cost.

Both ask one server, a process of its own, that answers at once. Ours is the real step over a real pool: pictures read
out of their shards, decoded, scaled and sent; every reply stored durably, read, scored by a tiny open_clip model of
random weights (encoding is not what is measured) and chosen from. The bare loop decodes and scales the same files,
sends them with the same client library, as many at a time, and keeps nothing. Memory is the peak of our resident set;
the pool is written, downloaded and embedded by a process of its own, so that this peak is of the step alone, and the
tables that a run keeps for its next step (256 MB at most) are not kept. It grows with the pairs of one partition:
`--partitions` cuts the pool, whose parts are worked on one after the other.

Run: python -m benchmarks.caption_throughput [--pairs N] [--partitions N] [--bare N] [--concurrency N]
"""

import argparse
import asyncio
import base64
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openai import AsyncOpenAI
from PIL import Image

from benchmarks.instant_reply import instant_reply
from evenly.curation.reservations.rule import PoolDownload
from evenly.curation.step import NoRule
from evenly.descriptions.captions.questions import about_picture
from evenly.descriptions.chat.dialect import Dialect
from evenly.descriptions.chat.picture import ChatPicture, load_pictures
from evenly.descriptions.chat.request import Sampling
from evenly.features.pictures.rgb import scaled_jpeg
from evenly.storage.pools.source import PoolSource
from evenly.storage.tables.arrow_files import RecentTables
from evenly.storage.workspace import Workspace
from evenly.tasks.captions.recaption import RECAPTION
from evenly.tasks.engine import InProcess
from evenly.tasks.progress import Progress
from evenly.tasks.rebuild.collect import COLLECT, CollectRule
from evenly.tasks.rebuild.download import DOWNLOAD
from evenly.tasks.rebuild.features import EMBED_IMAGES
from evenly.tasks.run import EncoderChoice, Run
from evenly.tasks.stage import run_steps

AHEAD = ((COLLECT, CollectRule(limit=None)), (DOWNLOAD, PoolDownload()), (EMBED_IMAGES, NoRule()))
MAX_SIDE = 224


def write_pool(folder: Path, pairs: int) -> None:
    """Pictures of 256 pixels, each another, with a caption each."""
    folder.mkdir()
    lines = []
    chance = np.random.default_rng(1)
    for number in range(pairs):
        coarse = Image.fromarray(chance.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((256, 192), Image.Resampling.BICUBIC).save(folder / f"{number:07}.jpg", quality=85)
        lines.append(json.dumps({"file_name": f"{number:07}.jpg", "caption": f"caption number {number}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def write_encoder(folder: Path) -> Path:
    """The folder of an open_clip model with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    preprocessing = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder


def pool_run(root: Path, partitions: int) -> Run:
    """The run, when the steps ahead of recaption have recorded: found, where another process has run them."""
    run = Run(
        workspace=Workspace.at(root / "w"),
        seed=1,
        sources=(PoolSource(kind="folder", path=str(root / "pool"), name="pool"),),
        encoder=EncoderChoice(model=f"local-dir:{root / 'encoder'}"),
        progress=Progress(quiet=True),
        bits=partitions.bit_length() - 1,
        recent=RecentTables(max_bytes=0),
    )
    run_steps(run, AHEAD, InProcess(run=run))
    return run


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The step: seconds, captions offered, megabytes ahead of it and at most, and bytes of its tables for each pair."""

    seconds: float
    offered: int
    memory_ahead: float
    memory_most: float
    result_bytes: float


def ours(root: Path, url: str, *, concurrency: int, partitions: int) -> Measured:
    """What the step takes."""
    run = pool_run(root, partitions)
    captioner = {"name": "seen", "kind": "seen", "base_url": url, "model": "made-up", "max_side": MAX_SIDE}
    rule = RECAPTION.read({"captioners": [captioner | {"concurrency": concurrency}], "choose": {"by": "score"}})
    run_steps(run, AHEAD, InProcess(run=run))  # as the step's own run does first: the pool is listed again
    ahead = peak_memory()
    started = time.perf_counter()
    record = run_steps(run, (*AHEAD, (RECAPTION, rule)), InProcess(run=run))[-1]
    seconds, most = time.perf_counter() - started, peak_memory()
    tables = run.ledger.table(record, "candidates").nbytes + run.ledger.decisions(record).nbytes
    offered = record.notes["offered"]["seen"]
    return Measured(
        seconds=seconds, offered=offered, memory_ahead=ahead, memory_most=most, result_bytes=tables / offered
    )


def peak_memory() -> float:
    """The most that this process has held so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bare(root: Path, url: str, concurrency: int, requests: int) -> float:
    """Seconds to read, scale and send pictures, and to read the replies."""
    files = sorted((root / "pool").glob("*.jpg"))[:requests]

    async def loop() -> None:
        waiting: Iterator[Path] = iter(files)
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def work() -> None:
                for file in waiting:
                    picture = ChatPicture(
                        image_id=file.stem,
                        max_side=MAX_SIDE,
                        load=lambda file=file: scaled_jpeg(file.read_bytes(), max_side=MAX_SIDE),
                    )
                    arguments = Dialect().arguments(about_picture(picture, "short", Sampling()), model="made-up")
                    messages = arguments.pop("messages")
                    arguments["messages"] = await asyncio.to_thread(load_pictures, messages, {picture.name: picture})
                    reply = await client.chat.completions.create(**arguments)
                    json.loads(reply.choices[0].message.content)

            await asyncio.gather(*(work() for _ in range(concurrency)))

    started = time.perf_counter()
    asyncio.run(loop())
    return time.perf_counter() - started


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.caption_throughput", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - this file
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.kill()


async def serve() -> None:
    """Decode the first picture of a request, and answer with the same reply; print the port."""
    reply = instant_reply({"caption": "A thing on a plain ground."}, prompt_tokens=300, completion_tokens=12)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                (length,) = (int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
                request = json.loads(await reader.readexactly(length))
                url = request["messages"][-1]["content"][0]["image_url"]["url"]
                Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).verify()
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 24)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Print requests per second of both, their ratio, and our memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5_000)
    parser.add_argument("--partitions", type=int, default=1, help="a power of two")
    parser.add_argument("--bare", type=int, default=2_000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return
    if arguments.prepare:
        write_pool(arguments.prepare / "pool", arguments.pairs)
        write_encoder(arguments.prepare / "encoder")
        pool_run(arguments.prepare, arguments.partitions)
        return
    with tempfile.TemporaryDirectory(prefix="evenly-bench-") as folder, serving() as url:
        root = Path(folder)
        command = [
            sys.executable,
            "-m",
            "benchmarks.caption_throughput",
            "--prepare",
            folder,
            "--pairs",
            str(arguments.pairs),
            "--partitions",
            str(arguments.partitions),
        ]
        subprocess.run(command, check=True)  # noqa: S603 - this file
        before = arguments.bare / bare(root, url, arguments.concurrency, arguments.bare)
        step = ours(root, url, concurrency=arguments.concurrency, partitions=arguments.partitions)
        after = arguments.bare / bare(root, url, arguments.concurrency, arguments.bare)
    rate, other = step.offered / step.seconds, (before + after) / 2
    print(
        f"{step.offered:,} pairs, {arguments.partitions} partitions, {arguments.concurrency} at a time, "
        f"{os.cpu_count()} cores: the whole step {rate:.0f} captions/s in {step.seconds:.0f} s; a bare loop "
        f"{before:.0f} and {after:.0f} requests/s: {rate / other:.2f}; memory {step.memory_ahead:,.0f} MB ahead of the "
        f"step, {step.memory_most:,.0f} MB at most; its tables {step.result_bytes:,.0f} bytes a pair"
    )


if __name__ == "__main__":
    main()
