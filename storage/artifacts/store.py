"""One store for what is made of builds and has a name.

Content lies among the `objects` under its SHA-256, written once. A name is one record, the card: it says by which hash
its content lies and of what that was made, and is replaced in one step. So a killed writer leaves what was there
before or the new artifact, whole. In a workspace all kinds share one folder of objects; a folder of a user's own has
one in it.

Until 53a9c8b the content lay beside the card, as `<name>.safetensors`, and the two were written one after the other.
Such a pair is checked at its first use, and its content becomes an object then, with the same bytes.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenly.storage.errors import DamagedError, InputError, NotFoundError, StorageError
from evenly.storage.records import canonical_json, create_record, read_record, replace_record, replacing
from evenly.storage.workspace import OBJECTS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIX = ".safetensors"
_BROKEN_OFF_S = 3600.0
_OTHER_BYTES = "must hold the bytes of its name; it does not. Remove it, and run again what made it."
_PARENTS = 3  # a card of a workspace lies at most so deep below the folder that has its objects


@dataclass(frozen=True, kw_only=True)
class ArtifactKind:
    """A kind of artifact: its noun, what its content is called, what a card must hold, and the cure for damage.

    content: "" where it lies elsewhere. maker: the command that makes one. made_of: what a card says of that.
    """

    noun: str
    content: str
    needed: Mapping[str, type]
    cure: str
    maker: str
    made_of: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda _card: {}


@dataclass(frozen=True)
class Artifacts:
    """The artifacts of a kind that have their cards in a folder; objects: where new content goes."""

    kind: ArtifactKind
    folder: Path
    objects: Path

    @classmethod
    def beside(cls, kind: ArtifactKind, folder: Path) -> "Artifacts":
        """The artifacts of a folder that is no workspace: it has the objects in it."""
        return cls(kind, folder, folder / OBJECTS)

    def names(self) -> list[str]:
        """All names, sorted, with those of pairs of which one file is missing."""
        files = [path for path in self.folder.glob("*.*") if path.suffix in {".json", self._paired}]
        return sorted({path.stem for path in files if _NAME.fullmatch(path.stem)})

    def cards(self) -> list[dict[str, Any]]:
        """The cards by name, each with its name. Raises DamagedError for one that cannot be read."""
        return [{"name": name, **self._card(name)} for name in self.names()]

    def check_free(self, name: str, made_of: Mapping[str, Any], *, force: bool) -> None:
        """Raise InputError for a name that cannot be, or that stands for what was made otherwise, unless by `force`."""
        if not _NAME.fullmatch(name):
            raise InputError(
                f"the name of {_with_article(self.kind.noun)} must be letters, digits, `.`, `_` and `-`, 64 at most; "
                f"got `{name}`. Choose another."
            )
        if force:
            return
        with suppress(NotFoundError):
            earlier, wanted = made_of_card(self.kind, self._card(name)), json.loads(canonical_json(made_of))
            if earlier != wanted:
                differing = " and ".join(sorted(key for key in wanted if earlier.get(key) != wanted[key]))
                raise InputError(
                    f"`--out` must be a name that is free; got `{self.folder / name}`, {_with_article(self.kind.noun)} "
                    f"made of another {differing}. Choose another, or replace it: --force."
                )

    def put(
        self, name: str, card: Mapping[str, Any], content: bytes = b"", *, made_of: Mapping[str, Any], force: bool
    ) -> Path:
        """Store `content`, then let the name stand for it; the card's path. Raises InputError as `check_free` does."""
        self.check_free(name, made_of, force=force)
        record = {**card, "made_of": dict(made_of)}
        if self.kind.content:
            record[self._key] = put_object(self.objects, content)
        path, replaced = self.folder / f"{name}.json", set[str]()
        if not create_record(path, record):
            self.check_free(name, made_of, force=force)
            replaced = digests_in(path.read_text(errors="replace"))
            replace_record(path, record)
        (self.folder / f"{name}{_SUFFIX}").unlink(missing_ok=True)
        if self.objects.parent == self.folder:
            self._sweep(replaced)
        return path

    def read(self, name: str, *, takes_over: bool = True) -> tuple[dict[str, Any], bytes]:
        """The card and the content of an artifact.

        takes_over: makes an object of a content that lies beside its card. Raises NotFoundError where there is none of
        this name, DamagedError where a part of it is gone or has changed.
        """
        if not _NAME.fullmatch(name):
            raise self._absent(name)
        card = self._card(name)
        if not self.kind.content:
            return card, b""
        digest, file = card.get(self._key), self.folder / f"{name}{_SUFFIX}"
        for objects in (self.objects, *(parent / OBJECTS for parent in (self.folder, *self.folder.parents[:_PARENTS]))):
            with suppress(FileNotFoundError):
                if digest is not None:
                    return card, _checked(object_path(objects, digest), digest, self._wrong(name))
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            raise DamagedError(
                f"{self.kind.noun} `{name}` must have its {self.kind.content} in `{self.objects}`; they are not there. "
                f"{self.kind.cure}"
            ) from None
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise DamagedError(
                f"`{file}` must hold the {self.kind.content} of the card beside it; it does not: they have changed, "
                f"or writing the two was broken off in between. {self.kind.cure}"
            )
        if takes_over and digest is not None:
            with suppress(OSError, StorageError):  # a folder that is read-only: it stays a pair
                put_object(self.objects, content)
                file.unlink(missing_ok=True)
        return card, content

    @property
    def _key(self) -> str:
        return f"{self.kind.content}_sha256"

    @property
    def _paired(self) -> str:
        return _SUFFIX if self.kind.content else ".json"

    def _card(self, name: str) -> dict[str, Any]:
        path, file = self.folder / f"{name}.json", self.folder / f"{name}{_SUFFIX}"
        if not path.is_file():
            if self.kind.content and file.is_file():
                raise DamagedError(
                    f"`{file}` must have its card beside it, `{path.name}`; there is none: writing the two was "
                    f"broken off in between. {self.kind.cure}"
                )
            raise self._absent(name)
        card = read_record(path)
        if wrong := [key for key, kind in self.kind.needed.items() if not isinstance(card.get(key), kind)]:
            raise DamagedError(
                f"`{path}` must be the card of {_with_article(self.kind.noun)}; got no `{wrong[0]}` of its kind. "
                f"{self.kind.cure}"
            )
        return card

    def _absent(self, name: str) -> NotFoundError:
        names = ", ".join(self.names()) or "none"
        return NotFoundError(
            f"{self.kind.noun} `{name}` must be in `{self.folder}`; it is not. There: {names}. "
            f"{self.kind.maker} makes it."
        )

    def _wrong(self, name: str) -> str:
        return f"must hold the {self.kind.content} of {self.kind.noun} `{name}`; it does not. {self.kind.cure}"

    def _sweep(self, replaced: Collection[str]) -> None:
        """Remove objects of a user's folder that no card in it names: what was replaced, or broken off an hour ago."""
        cards = self.folder.glob("*.json")
        named = {digest for path in cards for digest in digests_in(path.read_text(errors="replace"))}
        for path in self.objects.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):
                is_idle = path.stem in replaced or time.time() - path.stat().st_mtime > _BROKEN_OFF_S
                if _DIGEST.fullmatch(path.stem) and path.stem not in named and is_idle:
                    path.unlink()


def put_object(objects: Path, content: bytes) -> str:
    """Store content under its hash, durably; the hash. What is there already stays, unless its bytes have changed."""
    digest = hashlib.sha256(content).hexdigest()
    path = object_path(objects, digest)
    with suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return digest
    with replacing(path) as stream:
        stream.write(content)
    return digest


def object_content(objects: Path, digest: str) -> bytes:
    """The content of a hash. Raises FileNotFoundError where there is none, DamagedError where it has changed."""
    return _checked(object_path(objects, digest), digest, _OTHER_BYTES)


def digests_in(text: str) -> set[str]:
    """A pattern of hashes of content in the text of a record."""
    return set(re.findall(rf"(?<![0-9a-f]){_DIGEST.pattern}(?![0-9a-f])", text))


def made_of_card(kind: ArtifactKind, card: Mapping[str, Any]) -> dict[str, Any]:
    """Of what an artifact was made: `build` or `file`, `encoder` (its identity) and `rule`, and what else matters."""
    return dict(card["made_of"]) if isinstance(card.get("made_of"), dict) else kind.made_of(card)


def _checked(path: Path, digest: str, wrong: str) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise DamagedError(f"`{path}` {wrong}")
    return content


def object_path(objects: Path, digest: str) -> Path:
    """Where the content of a hash lies."""
    return objects / f"{digest}{_SUFFIX}"


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
