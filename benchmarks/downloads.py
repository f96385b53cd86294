"""Measure downloads against img2dataset, as it is by default and with the bytes kept, and against a bare client.

All fetch the same drawn pictures from one server on this machine, with as many processes and threads. evenly's are
those of a rebuild: bytes kept, hashed and decoded, looked at by the perceptual hash, each observation recorded.
img2dataset by default makes squares of 256 pixels of them and encodes these anew; with the bytes kept it decodes
nothing. The bare client asks, hashes and writes a tar.

Run: python -m benchmarks.downloads [--pictures N] [--workers P] [--threads T]
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.process_cost import cost_of

HOST = "pictures.test"
DISTINCT = 200  # pictures are drawn once each and served under many names, with other bytes at the end
CONTESTANTS = ("evenly", "img2dataset", "img2dataset_bytes", "bare_client")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--run", choices=[*CONTESTANTS, "server"])
    parser.add_argument("--place", default="")
    parser.add_argument("--out", type=Path, default=Path())
    options = parser.parse_args()
    if options.run == "server":
        serve()
    elif options.run:
        globals()[f"fetch_by_{options.run}"](options)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    arguments = ["--pictures", str(options.pictures), "--workers", str(options.workers)]
    arguments += ["--threads", str(options.threads)]
    this = [sys.executable, "-m", "benchmarks.downloads"]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([*this, "--run", "server"], stdout=subprocess.PIPE, text=True)  # noqa: S603
        try:
            assert server.stdout is not None  # noqa: S101
            place = server.stdout.readline().strip()
            print(
                f"{options.pictures:,} pictures, {options.workers} processes of {options.threads} threads\n"
                f"{'':<18} {'pictures/s':>10} {'processor s':>12} {'peak MB':>8}   against evenly: rate, processor"
            )
            costs = {}
            for name in CONTESTANTS:
                out = Path(folder, name)
                costs[name] = cost = cost_of([*this, *arguments, "--run", name, "--place", place, "--out", str(out)])
                first = costs["evenly"]
                print(
                    f"{name:<18} {options.pictures / cost.wall_s:10.0f} {cost.processor_s:12.1f} "
                    f"{cost.peak_bytes / 2**20:8.0f}   {first.wall_s / cost.wall_s:.2f}, "
                    f"{cost.processor_s / first.processor_s:.2f}",
                    flush=True,
                )
        finally:
            server.kill()
            server.wait()


def names(options: argparse.Namespace, host: str) -> list[str]:
    return [f"http://{host}/{number}.jpg" for number in range(options.pictures)]


def fetch_by_evenly(options: argparse.Namespace) -> None:
    import pyarrow as pa

    from evenly.curation.reservations.rule import DownloadRule
    from evenly.storage.web.download import DownloadWorkers, download_pending, pending_urls
    from evenly.storage.web.shards import read_downloads
    from evenly.tasks.decoding import FINGERPRINT

    urls = pa.array(names(options, HOST))
    outcomes = download_pending(
        [pending_urls(urls, read_downloads(options.out, urls=urls))],
        DownloadRule(),
        folder=options.out,
        connect={HOST: options.place},
        workers=DownloadWorkers(processes=options.workers, threads=options.threads),
        measure=FINGERPRINT,
    )
    if outcomes["success"] != options.pictures:
        sys.exit(f"all pictures must be there; got {dict(outcomes)}")


def fetch_by_img2dataset(options: argparse.Namespace) -> None:
    _img2dataset(options)


def fetch_by_img2dataset_bytes(options: argparse.Namespace) -> None:
    _img2dataset(options, disable_all_reencoding=True)


def _img2dataset(options: argparse.Namespace, **more: bool) -> None:
    from img2dataset import download

    options.out.mkdir()
    listed = options.out / "urls.txt"
    listed.write_text("\n".join(names(options, options.place)))
    download(
        url_list=str(listed),
        output_folder=str(options.out / "made"),
        output_format="webdataset",
        processes_count=options.workers,
        thread_count=options.threads,
        number_sample_per_shard=1000,
        **more,
    )


def fetch_by_bare_client(options: argparse.Namespace) -> None:
    def fetch(url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of our own server
            return bytes(answer.read())

    options.out.mkdir()
    urls = names(options, options.place)
    with tarfile.open(options.out / "made.tar", "w") as tar, ThreadPoolExecutor(options.threads) as pool:
        for content in pool.map(fetch, urls):
            entry = tarfile.TarInfo(hashlib.sha256(content).hexdigest())
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def drawn(number: int) -> bytes:
    """A JPEG of 480 x 360 pixels, some 40 KB, as many on the web."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 255, (18, 24, 3), dtype=np.uint8)).resize((480, 360))
    pixels = np.asarray(coarse, dtype=np.int16) + rng.integers(-12, 12, (360, 480, 3), dtype=np.int16)
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


class _Pictures(BaseHTTPRequestHandler):
    pictures: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        name = self.path.strip("/").partition(".")[0]
        if not name.isdigit():
            self.send_error(404)
            return
        content = self.pictures[int(name) % DISTINCT] + b"\0" * (int(name) // DISTINCT)
        self.send_response(200)
        self.send_header("content-type", "image/jpeg")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 512


def serve() -> None:
    _Pictures.pictures = tuple(drawn(number) for number in range(DISTINCT))
    with _Server(("127.0.0.1", 0), _Pictures) as server:
        print(f"127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
