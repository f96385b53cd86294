"""Plain text files that recipes name."""

from pathlib import Path

from storage.errors import StorageError


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, without their ends. Raises StorageError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StorageError(f"`{path}` must be a readable text file; {why}. Correct the path in the recipe.") from None
