"""Every command with any arguments and options: exit status 0, 1 or 2, and never a traceback."""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from evenly.flows.cli import app
from evenly.flows.recipe.files import RECIPES
from tests.few_examples import few
from tests.labelled_build import WordEncoder
from tests.reported import report_errors

SLOW = {("demo",), ("encoders", "tune")}
"""What draws pictures, or measures whatever it is given."""
COUNTED = {"workers", "concurrency", "memory", "experts", "epochs", "steps"}
NUMBERS = ("0", "-1", "1", "2.5", "x", "nan", "inf", "1e400", "9" * 30, "")
FILES = (
    *("missing", "folder", "empty", "binary", "text.txt", "loop", "dangling", "bad.yaml", "list.json", "twice.json"),
    *(
        "pool.csv",
        "pool.jsonl",
        "pool.parquet",
        "pairs.npz",
        "no.npz",
        "tables.parquet",
        "long/" + "n" * 300,
        "n" * 300,
    ),
    *("text.txt/below", "demo.yaml", "template.yaml", "demo_classes.txt", ".", "new/out", "a\nb", "\x1b[31m"),
)
LIKELY = {
    "recipe": ("demo.yaml", "template.yaml"),
    "recipes": ("demo.yaml", "folder"),
    "classes": ("demo_classes.txt", "text.txt"),
    "pool": ("pool.csv", "pool.jsonl", "tables.parquet"),
    "metadata": ("text.txt", "list.json", "twice.json"),
    "arrays": ("pairs.npz", "no.npz"),
    "out": ("new/out", "new.npz", "new.json", "new.csv"),
    "caption": ("text", "url"),
    "split": ("twice.json", "pool.csv"),
    "method": ("description", "synonyms"),
}
"""What a parameter of a name may well be given."""
WORDS = (
    "",
    " ",
    "x",
    "latest",
    "demo-latest",
    "0" * 32,
    "zz",
    "a,b",
    "a=b",
    "'",
    "--",
    "-",
    "é☃",
    "../x",
    "all",
    "1:2",
)
URLS = ("http://127.0.0.1:9/v1", "http://me:pass@host/", "s3://", "s3://bucket/../x", "ftp://x/y", "file:///nowhere/x")


def commands(command: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401
    """Every command that runs, by its names."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield above, command
    for name, one in (inner or {}).items():
        yield from commands(one, (*above, name))


COMMANDS = {names: one for names, one in commands(typer.main.get_command(app)) if names not in SLOW}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files, links and what else a path can lead to."""
    folder = tmp_path_factory.mktemp("any")
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    (folder / "binary").write_bytes(bytes(range(256)) * 8)
    (folder / "text.txt").write_text("cat\ndog\n")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "bad.yaml").write_text("name: {a: 1}\nname: 2\n")
    (folder / "list.json").write_text('["cat", "dog"]')
    (folder / "twice.json").write_text('{"train": [],\n"train": []}')
    (folder / "pool.csv").write_text("url,text\nhttp://a.test/1.png,a cat\n")
    (folder / "pool.jsonl").write_text('{"url": "http://a.test/1.png", "text": "a cat"}\n{"url": 3}\n[]\n')
    (folder / "pool.parquet").write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
    np.savez(folder / "pairs.npz", train_features=np.eye(4, dtype=np.float32), train_labels=np.arange(4))
    (folder / "no.npz").write_bytes(b"PK\3\4 no archive")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a cat", None], "url": ["http://a.test/1.png", "x"]}), folder / "tables.parquet")
    for name in ("demo.yaml", "template.yaml", "demo_classes.txt"):
        (folder / name).write_bytes((RECIPES / name).read_bytes())
    return folder


@st.composite
def arguments(draw: st.DrawFn) -> tuple[str, ...]:
    """A command with some of its arguments and options, of any value."""
    names = draw(st.sampled_from(sorted(COMMANDS)))
    given_arguments: list[str] = []
    for parameter in COMMANDS[names].params:
        is_option = parameter.param_type_name == "option"
        if parameter.name == "help" or (
            is_option and not parameter.required and not draw(st.sampled_from([0, 0, 0, 1]))
        ):
            continue
        if not is_option and draw(st.sampled_from(["", "", "", "", "", "left out"])):
            continue
        for _ in range(draw(st.integers(1, 2)) if parameter.multiple or parameter.nargs == -1 else 1):
            given_arguments += [draw(st.sampled_from(parameter.opts))] if is_option else []
            if not parameter.is_flag if is_option else True:
                given_arguments.append(draw(_value(parameter.name)))
    return (*names, *given_arguments)


def _value(name: str) -> st.SearchStrategy[str]:
    if name in COUNTED:
        return st.sampled_from(("0", "-1", "1", "x", "nan", ""))
    if name == "root":
        return st.sampled_from(("w", "folder", "empty", "loop", "n" * 300, "", "s3://bucket/../x", "ftp://x/y"))
    anything = st.sampled_from((*FILES, *FILES, *WORDS, *NUMBERS, *URLS))
    return st.sampled_from(LIKELY[name]) | anything if name in LIKELY else anything


def run(given_arguments: Sequence[str]) -> tuple[int, str]:
    """Exit status and all that is printed."""
    printed = io.StringIO()
    before = sys.argv
    sys.argv = ["evenly", *given_arguments]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = report_errors(app)
    finally:
        sys.argv = before
    return status, printed.getvalue()


@few(40)
@given(arguments())
def test_any_arguments_end_with_a_status_and_no_traceback(folder, given_arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("EVENLY_CACHE", str(folder / "cache"))
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
            status, printed = run(given_arguments)
    assert status in (0, 1, 2), printed
    assert "Traceback" not in printed
