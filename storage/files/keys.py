"""Keys of files that say something of pairs: a pair's URL or, of a picture at hand, its file name in its pool."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import LOCAL_ADDRESS
from evenly.storage.pools.source import LOCAL_READERS, PoolSource

_SHOWN = 3


def places_of_keys(pairs: pa.Table, keys: pa.Array) -> pa.Array:
    """Where each pair's key stands among `keys` (text, each once): its URL, else the file name of a picture at hand."""
    places = pc.index_in(pairs["url"], keys)
    names = _file_names(pairs)
    return places if names is None else pc.coalesce(places, pc.index_in(names, keys))


def compared_keys(pairs: pa.Table, keys: pa.Array) -> str:
    """Examples of keys and pairs that do not meet: the first of both."""
    names = _file_names(pairs)
    own, noun = (pairs["url"], "URLs") if names is None or names.null_count == len(names) else (names, "file names")
    return f"keys begin with {_first(keys)}; {noun} of the pool begin with {_first(own)}"


def has_file_names(sources: Sequence[PoolSource]) -> bool:
    """Whether pictures of the sources lie at hand, so that a key may be a file name."""
    return any(source.kind in LOCAL_READERS for source in sources)


def _file_names(pairs: pa.Table) -> pa.ChunkedArray | None:
    """The file names of pictures at hand, null of other pairs; None where no pair has one."""
    is_local = pc.match_substring_regex(pairs["url"], LOCAL_ADDRESS)
    if "file_name" not in pairs.column_names or not pc.any(is_local).as_py():
        return None
    return pc.if_else(is_local, pairs["file_name"], None)


def _first(values: pa.Array | pa.ChunkedArray) -> str:
    return ", ".join(f"`{value}`" for value in pc.unique(values.drop_null())[:_SHOWN].to_pylist()) or "nothing"
