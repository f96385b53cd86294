"""Small JSON records that are created once and never change, and aliases that move.

Every acknowledged fact of evenly (a finished step, a build, a reply) is such a record: written to a temporary file,
flushed to disk, then linked to its name. The link fails if the name exists, so exactly one writer wins. In an object
store it is one request that creates an object where there is none.

A record holds the checksum of the rest of it under CHECKSUM, and its file ends with a line end: a record with neither
is from before there were checksums and is read as it is; one with only one of the two has been damaged.

Files are written under a temporary name before they get their own. A writer holds a lock on its file, which the system
gives back when it ends in whatever way. So files that nobody holds are left over, and the first write of a process to a
folder removes those that lie there.

Fields of rules and recipes are stored where they are not as they are by default, or where they have always been stored.
So a section, a rule or a field that is new changes no key and no content hash of what leaves it out.
"""

import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel
from xxhash import xxh3_128_hexdigest

from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.stores.object_path import ObjectPath

CHECKSUM = "checksum"
"""The key of a record's own checksum: XXH3-128 in hex of the canonical JSON of all other keys."""
_REMEDY = "Restore it from a backup, or remove it and run again what made it."
TEMPORARY_NAME = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")
_swept: set[Path] = set()


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """One byte string per JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def content_hash(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """SHA-256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def create_record(path: Path, record: Mapping[str, Any]) -> bool:
    """Create `path` with `record`; False, and nothing changed, if it exists already. Durable when it returns."""
    if isinstance(path, ObjectPath):
        return path.create(_with_checksum(record).encode())
    with temporary_file(path) as (temporary, stream):
        stream.write(_with_checksum(record).encode())
        _flush(stream)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


def replace_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record` at `path` in one step, over whatever stood there: readers see the old or the new, whole."""
    replace_text(path, _with_checksum(record))


def replace_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write JSON at `path` as `replace_record` does, but plain, for people and other programs: we never read it."""
    replace_text(path, _pretty(value))


def replace_text(path: Path, text: str) -> None:
    """Write a text file at `path` in one step, over whatever stood there."""
    with replacing(path) as stream:
        stream.write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes stand at `path`, durable, once the block is done; where it fails nothing has changed."""
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryFile() as local:  # nothing of it is left, however this process ends
            yield local
            local.seek(0)
            path.write_stream(local)
        return
    with temporary_file(path) as (temporary, stream):
        yield stream
        _flush(stream)
        temporary.replace(path)
    sync_folder(path.parent)


def read_record(path: Path) -> dict[str, Any]:
    """Read the record at `path`.

    Raises NotFoundError where there is none, DamagedError where it is not a JSON object or not the one written.
    """
    try:
        content = path.read_bytes()
        value = json.loads(content)
        stated = value.pop(CHECKSUM, None) if isinstance(value, dict) else None
        computed = None if stated is None else _checksum(value)
    except FileNotFoundError:
        raise NotFoundError(
            f"record `{path}` must exist; it does not. List what is there with `evenly builds`."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"record `{path}` must be JSON; {error}. {_REMEDY}") from None
    if not isinstance(value, dict):
        raise DamagedError(f"record `{path}` must be a JSON object; got {type(value).__name__}. {_REMEDY}")
    if stated != computed or (stated is None and content.endswith(b"\n")):
        raise DamagedError(f"record `{path}` must be as it was written; its checksum is another. {_REMEDY}")
    return value


def read_if_there(path: Path) -> dict[str, Any] | None:
    """The record at `path`, or None; raises DamagedError as `read_record` does."""
    try:
        return read_record(path)
    except NotFoundError:
        return None


def _with_checksum(record: Mapping[str, Any]) -> str:
    if CHECKSUM in record:
        raise ValueError(f"keys of a record must not be `{CHECKSUM}`; got one. Choose another.")
    read_back = json.loads(canonical_json(record))  # keys that are numbers are text then
    return _pretty({**read_back, CHECKSUM: _checksum(read_back)}) + "\n"


def _checksum(value: Mapping[str, Any]) -> str:
    return xxh3_128_hexdigest(canonical_json(value))


def _pretty(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to disk, so that a created or renamed file outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def temporary_file(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """An open file beside `path`, whose folder is made where it is not there; removed at the end under that name."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _swept:
        sweep(folder)
        _swept.add(folder)
    descriptor, temporary = _create(path)
    try:
        os.fchmod(descriptor, 0o644)  # mkstemp's files are private; records are for all who may read the folder
        with os.fdopen(descriptor, "w+b") as stream:
            yield temporary, stream
    except OSError as error:
        error.filename = error.filename or str(path)  # a disk that is full while it is written to names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` that no writer holds."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if TEMPORARY_NAME.fullmatch(entry.name)]
    for name in names:
        with suppress(OSError):  # it is gone, held, or not ours
            descriptor = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / name).unlink()
            finally:
                os.close(descriptor)


def _create(path: Path) -> tuple[int, Path]:
    """A new file that is held; made again where a sweep came between its making and the lock."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with suppress(OSError):  # a file system without locks: nobody can hold it, and nobody sweeps it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)


# Per class, the fields with a default that have been stored since before this rule. Closed: a class or a field that is
# new is not added. Where a default changes, raise the version of the steps that read it.
ALWAYS: Mapping[str, str] = {
    "BalanceRule": "law texts reference headroom",
    "CaptionBlocklist": "sha256",
    "CaptionBoilerplate": "patterns",
    "CaptionCharacters": "min_characters max_characters",
    "CaptionEntities": "wordnet sha256",
    "CaptionLanguage": "languages min_confidence among",
    "CaptionLength": "min_words max_words",
    "CaptionRepeats": "n max_share",
    "CaptionTwins": "min_jaccard scope",
    "ChoiceRule": "by margin grammar rates forbid",
    "CollectRule": "limit",
    "ConfusableRule": "top cover classes split build",
    "CorruptionRule": "corruptions strengths",
    "DecodedRule": "pretrained samples top_p temperature max_tokens batch_size precision",
    "Decontamination": "perceptual semantic colour",
    "DescriptionAuditRule": "classes split neighbours most",
    "DiversityRule": "rows sigma frequencies",
    "EncoderChoice": "model pretrained batch_size threads",
    "EvaluationRule": "classes split texts phrases contexts negations rejections unseen describe",
    "FrequencyRule": "build prefix plurals judge",
    "GuardedList": "classes split template synonyms",
    "ImageAspect": "max_aspect",
    "ImageSize": "min_side",
    "Linked": "weight tables",
    "ListSplit": "classes split",
    "MatchRule": "metadata mode plurals",
    "OtherPictures": "template",
    "PairRetrievalRule": "pairs part",
    "PartOfList": "classes split",
    "Perceptual": "max_distance max_colour max_shifted",
    "PoolDownload": "timeout_s retries max_wait_s max_bytes max_pixels respect user_agent_token tolerate",
    "RealignedRule": "samples temperature max_tokens seed max_side prompt texts rounds",
    "RecaptionRule": "choose",
    "RefineRule": "sampler training lists margin",
    "RetrievedRule": "candidates sentence",
    "SafetyRule": "detector files looks max_distance domains",
    "SeenRule": "samples temperature max_tokens seed max_side prompt",
    "Semantic": "min_cosine max_colour tables",
    "SupportRule": "per_class min_image_cosine max_duplicate_cosine",
    "TagsRule": "base_url model samples temperature max_tokens seed max_side examples dropout most",
    "TargetClusters": "clusters iterations",
    "TrainingRule": "rank epochs batch_size learning_rate weight_decay",
    "Unsafe": "threshold classes",
    "UnseenLabels": "near far",
    "WorthRule": "variants seeds training lists unbalanced others",
}
_PAYMENT = "budget_usd prompt_usd_per_million completion_usd_per_million batch concurrency"
# The same of a recipe's content, beside those above.
ALWAYS_IN_RECIPES: Mapping[str, str] = {
    "Align": "keep_top min_score",
    "BalanceRule": "t tail_share target language",
    "Curate": "preset text match preselect download image deduplicate safety decontaminate recaption rank align "
    "image_based balance",
    "Deduplicate": "exact perceptual shifted semantic colour captions linked tables",
    "EncoderChoice": "precision resize long_texts refine device",
    "HeadRank": "keep_top min_score",
    "MatchRule": "language",
    "MixedCosine": "weight",
    "Preselect": "headroom",
    "RealignedRule": _PAYMENT,
    "Recaption": "choose judge read_text",
    "Recipe": "features",
    "RecipeFeatures": "model pretrained batch_size threads",
    "SeenRule": _PAYMENT,
    "TagsRule": _PAYMENT,
}


def stored_fields(value: Any, *, in_recipe: bool = False, excluded: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - as `value`
    """A rule, or what it holds, as JSON has it: of each class the fields that are stored, but those in `excluded`."""
    if isinstance(value, Mapping):
        return {name: stored_fields(entry, in_recipe=in_recipe, excluded=excluded) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [stored_fields(entry, in_recipe=in_recipe, excluded=excluded) for entry in value]
    if not isinstance(value, BaseModel) and not is_dataclass(value):
        return value
    kind = type(value).__name__
    always = {*ALWAYS.get(kind, "").split(), *(ALWAYS_IN_RECIPES.get(kind, "").split() if in_recipe else ())}
    out = (excluded or {}).get(kind, "").split()
    return {
        name: stored_fields(getattr(value, name), in_recipe=in_recipe, excluded=excluded)
        for name, default in _defaults(type(value))
        if name not in out and (name in always or default is MISSING or getattr(value, name) != default)
    }


def _defaults(kind: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a class
    """Each field of a class, and its default: MISSING where it has none."""
    if issubclass(kind, BaseModel):
        for name, of_model in kind.model_fields.items():
            yield name, MISSING if of_model.is_required() else of_model.get_default(call_default_factory=True)
        return
    for entry in fields(kind):
        yield entry.name, entry.default if entry.default_factory is MISSING else entry.default_factory()
