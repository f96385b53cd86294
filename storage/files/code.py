"""Python files of users, read once: what is hashed is what runs."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from evenly.storage.errors import InputError
from evenly.storage.records import content_hash

CODE_VARIABLE = "EVENLY_ALLOW_CODE"
MAX_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Code:
    """The sources of a function: that of its module, `sources[module]`, and of those that it imports, by name.

    timeout_s: how long a call may take, or loading the modules.
    """

    module: str
    function: str
    sources: Mapping[str, bytes] = field(hash=False)
    timeout_s: float

    @property
    def digest(self) -> str:
        """The hash of the bytes of its sources."""
        return content_hash({name: source.hex() for name, source in sorted(self.sources.items())})


def read_code(setting: str, path: Path, imports: Sequence[str], *, workspace: Path | None) -> dict[str, bytes]:
    """The sources of the file at `path` and of the files beside it that it imports, by the names of modules.

    Raises InputError for a file outside the folder that EVENLY_ALLOW_CODE names, inside the workspace, behind a link,
    of over a megabyte, or called as a module that is installed.
    """
    named = os.environ.get(CODE_VARIABLE)
    if not named:
        raise InputError(
            f"`{setting}` must be code that this machine allows; got `{path.name}`, and no folder is allowed. Start "
            f"the command with --allow-code FOLDER, or set {CODE_VARIABLE}."
        )
    sources = dict[str, bytes]()
    for file in (path, *(path.parent / name for name in imports)):
        if file.suffix != ".py" or not file.stem.isidentifier():
            raise InputError(f"`{setting}` must name files of Python; got `{file.name}`. Call it NAME.py.")
        if file.stem in sources:
            raise InputError(f"`{setting}` must name files of different names; got `{file.name}` twice. Rename one.")
        sources[file.stem] = _read_within(Path(named).expanduser(), file, setting, workspace)
        installed = find_spec(file.stem)
        if installed is not None and (installed.origin is None or not _is_same(installed.origin, file)):
            raise InputError(f"`{setting}` must be called as no installed module is; got `{file.name}`. Rename it.")
    return sources


def _is_same(origin: str, file: Path) -> bool:
    return Path(origin).exists() and Path(origin).samefile(file)


@contextmanager
def allowing_code(folder: str | os.PathLike[str] | None) -> Iterator[None]:
    """Allow the code in a folder, whatever EVENLY_ALLOW_CODE names; None: what that names."""
    earlier = os.environ.get(CODE_VARIABLE)
    if folder is not None:
        os.environ[CODE_VARIABLE] = os.path.abspath(folder)  # noqa: PTH100 - for runs in other folders; links stay
    try:
        yield
    finally:
        if folder is not None and earlier is None:
            del os.environ[CODE_VARIABLE]
        elif earlier is not None:
            os.environ[CODE_VARIABLE] = earlier


def _read_within(allowed: Path, file: Path, setting: str, workspace: Path | None) -> bytes:
    """The bytes of a file below `allowed`; each folder on the way is opened as one, and none through a link."""
    try:
        root, place = allowed.resolve(strict=True), Path(os.path.abspath(file))  # noqa: PTH100 - not resolved: a link is refused below
        next(root.iterdir(), None)
    except OSError:
        raise InputError(f"`--allow-code` must be a folder; got `{allowed}`, which is none. Correct it.") from None
    absolute = Path(os.path.abspath(allowed))  # noqa: PTH100
    base = next((candidate for candidate in (absolute, root) if place.is_relative_to(candidate)), None)
    if base is None:
        raise InputError(f"`{setting}` must lie in `{allowed}`, which is allowed; got `{file}`. Move it there.")
    if workspace is not None and (root / place.relative_to(base)).is_relative_to(workspace.resolve()):
        raise InputError(f"`{setting}` must lie outside the workspace, whose files are data; got `{file}`. Move it.")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *folders, name = place.relative_to(base).parts
        for part in folders:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise InputError(f"`{setting}` must be a file; got `{file}`, which is none. Correct it.")
            source = stream.read(MAX_BYTES + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise InputError(f"`{setting}` must be there; got `{file}`, which is not. Correct it.") from None
        raise InputError(
            f"`{setting}` must be a file that is no link, nor in a folder that is one; got `{file}`. Copy it."
        ) from None
    finally:
        os.close(folder)
    if len(source) > MAX_BYTES:
        raise InputError(f"`{setting}` must have at most {MAX_BYTES:,} bytes; got more in `{file}`. Split it.")
    return source
