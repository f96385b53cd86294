"""Pictures outside a pool, by what `--also` calls them: of a package, or of a folder."""

from collections.abc import Sequence
from pathlib import Path

from evenly.demo.pictures.digits import make_digits
from evenly.demo.pictures.photographs import make_photographs
from evenly.storage.errors import InputError
from evenly.tasks.refining.outside import OtherPictures

SHIPPED = {"photographs": make_photographs, "digits": make_digits}


def other_pictures(cache: Path, names: Sequence[str]) -> tuple[OtherPictures, ...]:
    """Pictures that a package ships, written into the cache, or those of folders.

    Raises InputError for any others, and for two of one name, which tables could not tell apart.
    """
    pictures = tuple(_other(cache, name) for name in names)
    called = [source.name for source in pictures]
    if repeated := sorted({name for name in called if called.count(name) > 1}):
        raise InputError(f"`also` must be pictures of different names; got `{repeated[0]}` twice. Rename a folder.")
    return pictures


def _other(cache: Path, name: str) -> OtherPictures:
    if name in SHIPPED:
        folder = cache / name
        SHIPPED[name](folder)
    else:
        folder = Path(name).expanduser().absolute()
        if not folder.is_dir():
            raise InputError(
                f"`also` must be {', '.join(SHIPPED)}, or a folder of pictures with captions or of "
                f"`<class>/<picture>`; got `{name}`. Correct it."
            )
    return OtherPictures(name=folder.name, folder=str(folder))
