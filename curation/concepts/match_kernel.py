"""The compiled inner loops of matching, over UTF-8 bytes and offsets. Import it late: numba takes a second to load.

Texts form a trie whose steps are units: words between single spaces, or characters. A node is one 64-bit number: its
id, two flags, and what ends there. Two hash tables with open addressing hold all nodes, in rows (key, node):

- words: a word -> its node. Up to 7 bytes the key is the word itself; beyond, it is a hash, and a hit is compared with
  the text that brought the word.
- edges: (id of the parent, unit) -> node. That pair is the key, so nothing is left to compare.

So no collision can make a wrong match. The tables exceed the caches of a processor, and waiting for them is most of the
work: rows are therefore taken in blocks, and each stage loads all it needs of a block in one loop without branches,
where loads overlap, before it decides anything. Time is linear in the units of a caption, times the length of the
longest run that texts share with it; memory is some 70 bytes per unit of the longest caption.

All kernels stand in one file: numba renews its copies on disk when the file of the caller changes, not of the called.
"""

# mypy: disable-error-code="assignment, no-any-return, arg-type"
# numba has one type of signed integer, and numpy's stubs have several.

from typing import NamedTuple

import numpy as np

from evenly.curation.arrays import compiled


class Trie(NamedTuple):
    """n texts, of w different words or of characters.

    words, edges: (a power of two, 2) uint64, at most half full. marks uint64: a bit for each key of edges. pool: the
    bytes of all texts as `widened`. spans (w, 2) int64: where in it each word begins, and its size; none for a trie of
    characters. owners (n,) int32:
    the id of each text. further (n,) int32: an earlier text that reads the same, -1 for none.
    """

    words: np.ndarray
    edges: np.ndarray
    marks: np.ndarray
    pool: np.ndarray
    spans: np.ndarray
    owners: np.ndarray
    further: np.ndarray


class Block(NamedTuple):
    """Room for the rows that are taken at once, and facts of each of their units.

    text: the bytes of the rows. separators: where it has blanks and marks. Of each unit: start and size in bytes, key,
    row in the table, id (-1: no text has it), its node, the node of it and its next, and a list to pick some of them.
    """

    text: np.ndarray
    separators: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    keys: np.ndarray
    rows: np.ndarray
    units: np.ndarray
    nodes: np.ndarray
    seconds: np.ndarray
    picked: np.ndarray


ID = np.uint64((1 << 30) - 1)
LEADS_ON = np.uint64(1 << 30)  # some text goes on from here
SHARED = np.uint64(1 << 31)  # several texts end here: above HALF stands the last of them, not an id
NAMED = np.uint64(1 << 32)
BELOW = np.uint64((1 << 32) - 1)
HALF = np.uint64(32)  # above it: what ends here, counted from 1; 0 for nothing
ROOT = np.uint64(0)
FREE, ONE, THREE, SIX, SEVEN, LOW = (np.uint64(number) for number in (0, 1, 3, 6, 7, 63))
SHORT = 7  # bytes of a word that fit into its key, below its length
LENGTH = np.uint64(56)
LONG = np.uint64(1 << 63)
ONES = np.uint64((1 << 63) - 1)
MIX = np.uint64(0x9E3779B97F4A7C15)
MARKED = np.uint64(36)
SPACE = 32
BLANK, MARK = 1, 2
KINDS = np.zeros(256, np.uint8)
KINDS[list(b" \t\n\r")] = BLANK
KINDS[list(b",.;:?!`")] = MARK
FEW = 32  # ids that are sorted by counting, without a branch
ROWS = 512
BYTES = 1 << 15  # of a block, if its first row is no longer


def widened(data: np.ndarray) -> np.ndarray:
    """Return bytes as uint64, with at least 8 zero bytes after them."""
    wide = np.zeros(len(data) // 8 + 2, np.uint64)
    wide.view(np.uint8)[: len(data)] = data
    return wide


@compiled
def _load(wide: np.ndarray, start: int) -> np.uint64:
    """Return the 8 bytes from `start` on."""
    place = np.uint64(start)
    shift = (place & SEVEN) << THREE
    return wide[place >> THREE] >> shift | wide[(place >> THREE) + ONE] << ONE << (LOW - shift)


@compiled
def _word_key(wide: np.ndarray, start: int, size: int) -> np.uint64:
    if size <= SHORT:
        return _load(wide, start) & ONES >> np.uint64(63 - 8 * size) | np.uint64(size + 1) << LENGTH
    key = np.uint64(size)
    for place in range(start, start + size - 8, 8):
        key = (key ^ _load(wide, place)) * MIX
        key ^= key >> HALF
    key = (key ^ _load(wide, start + size - 8)) * MIX
    return (key ^ key >> HALF) | LONG


@compiled
def _is_same(wide: np.ndarray, start: int, second: np.ndarray, second_start: int, size: int) -> bool:
    """Return whether two runs of `size` bytes, at least 8, are equal."""
    differ = _load(wide, start + size - 8) ^ _load(second, second_start + size - 8)
    for place in range(0, size - 8, 8):
        differ |= _load(wide, start + place) ^ _load(second, second_start + place)
    return differ == FREE


@compiled
def _place(key: np.uint64, table: np.ndarray) -> np.uint64:
    mixed = (key ^ (key >> HALF)) * MIX
    return (mixed ^ (mixed >> HALF)) & np.uint64(len(table) - 1)


@compiled
def _word_row(  # noqa: PLR0917 - keywords cost time in compiled code
    words: np.ndarray, spans: np.ndarray, pool: np.ndarray, key: np.uint64, wide: np.ndarray, start: int, size: int
) -> np.uint64:
    """Return the row of a word, or the free row where it belongs."""
    row = _place(key, words)
    last = np.uint64(len(words) - 1)
    while words[row, 0] != FREE:
        if words[row, 0] == key:
            span = spans[words[row, 1] & ID]
            if key < LONG or (span[1] == size and _is_same(wide, start, pool, span[0], size)):
                break
        row = (row + ONE) & last
    return row


@compiled
def _edge_key(node: np.uint64, unit: int) -> np.uint64:
    return ((node & ID) + ONE) << HALF | np.uint64(unit)


@compiled
def _edge_row(edges: np.ndarray, key: np.uint64) -> np.uint64:
    """Return the row of `key`, or the free row where it belongs."""
    row = _place(key, edges)
    last = np.uint64(len(edges) - 1)
    while edges[row, 0] != FREE and edges[row, 0] != key:
        row = (row + ONE) & last
    return row


@compiled
def _is_marked(marks: np.ndarray, key: np.uint64) -> np.uint64:
    """Return 1 where `key` is in the table, 0 mostly where it is not."""
    bit = (key * MIX >> MARKED) & np.uint64(64 * len(marks) - 1)
    return marks[bit >> SIX] >> (bit & LOW) & ONE


@compiled
def _marks(edges: np.ndarray, count: int) -> np.ndarray:
    """Return a field with a bit for each of the `count` keys and room for 8 to 16 times as many."""
    size = 1
    while 8 * size < count:
        size *= 2
    marks = np.zeros(size, np.uint64)
    for row in range(len(edges)):
        if edges[row, 0] != FREE:
            bit = (edges[row, 0] * MIX >> MARKED) & np.uint64(64 * size - 1)
            marks[bit >> SIX] |= ONE << (bit & LOW)
    return marks


@compiled
def _doubled(table: np.ndarray) -> np.ndarray:
    wider = np.zeros((2 * len(table), 2), np.uint64)
    last = np.uint64(len(wider) - 1)
    for old in range(len(table)):
        if table[old, 0] != FREE:
            row = _place(table[old, 0], wider)
            while wider[row, 0] != FREE:
                row = (row + ONE) & last
            wider[row, 0], wider[row, 1] = table[old, 0], table[old, 1]
    return wider


@compiled
def intern_words(pool: np.ndarray, offsets: np.ndarray) -> tuple:  # type: ignore[type-arg]
    """Return (words, spans, units, ends): texts, split at single spaces, as ids of words in order of first mention."""
    data = pool.view(np.uint8)
    total = len(offsets) - 1
    for place in range(offsets[0], offsets[-1]):
        total += data[place] == SPACE
    words = np.zeros((1024, 2), np.uint64)
    spans = np.empty((total, 2), np.int64)
    units = np.empty(total, np.int32)
    ends = np.zeros(len(offsets), np.int64)
    count = n_words = 0
    for text in range(len(offsets) - 1):
        start = offsets[text]
        for place in range(start, offsets[text + 1] + 1):
            if place < offsets[text + 1] and data[place] != SPACE:
                continue
            key = _word_key(pool, start, place - start)
            row = _word_row(words, spans, pool, key, pool, start, place - start)
            units[count] = words[row, 1]
            if words[row, 0] == FREE:
                words[row, 0], words[row, 1] = key, np.uint64(n_words)
                spans[n_words, 0], spans[n_words, 1] = start, place - start
                units[count] = n_words
                n_words += 1
                if 2 * n_words > len(words):
                    words = _doubled(words)
            count += 1
            start = place + 1
        ends[text + 1] = count
    return words, spans[:n_words].copy(), units, ends


@compiled
def link_units(units: np.ndarray, ends: np.ndarray, owners: np.ndarray, words: np.ndarray, first: int) -> tuple:  # type: ignore[type-arg]
    """Return (edges, marks, further) of the trie, and put into `words` the nodes of its `first` words.

    Where `first` is 0, all texts start at node 0.
    """
    root = n_nodes = max(first, 1)
    nodes = np.empty(root + len(units), np.uint64)
    for node in range(len(nodes)):
        nodes[node] = np.uint64(node)
    edges = np.zeros((1024, 2), np.uint64)
    further = np.full(len(owners), -1, np.int32)
    for text in range(len(owners)):
        node = np.int64(units[ends[text]]) if first else 0
        for unit in range(ends[text] + (1 if first else 0), ends[text + 1]):
            nodes[node] |= LEADS_ON
            key = _edge_key(np.uint64(node), units[unit])
            row = _edge_row(edges, key)
            if edges[row, 0] == FREE:
                edges[row, 0], edges[row, 1] = key, np.uint64(n_nodes)
                node = n_nodes
                n_nodes += 1
                if 2 * (n_nodes - root) > len(edges):
                    edges = _doubled(edges)
            else:
                node = np.int64(edges[row, 1])
        if nodes[node] >> HALF:
            further[text] = np.int64(nodes[node] >> HALF) - 1
            nodes[node] |= SHARED
        nodes[node] = nodes[node] & BELOW | np.uint64(text + 1) << HALF
    _name_owners(nodes[:n_nodes], owners)
    _fill_in(words, nodes)
    _fill_in(edges, nodes)
    return edges, _marks(edges, n_nodes - root), further


@compiled
def _name_owners(nodes: np.ndarray, owners: np.ndarray) -> None:
    """Put the id in place of the text where only one ends."""
    for node in range(len(nodes)):
        text = np.int64(nodes[node] >> HALF) - 1
        if text >= 0 and not nodes[node] & SHARED:
            nodes[node] = nodes[node] & BELOW | np.uint64(owners[text] + 1) << HALF


@compiled
def _fill_in(table: np.ndarray, nodes: np.ndarray) -> None:
    """Put the node in place of its id in each row."""
    for row in range(len(table)):
        if table[row, 0] != FREE:
            table[row, 1] = nodes[table[row, 1]]


@compiled
def match_rows(trie: Trie, data: np.ndarray, offsets: np.ndarray, valid: np.ndarray) -> tuple:  # type: ignore[type-arg]
    """Return (ids, ends): of each row, spaced, the ids of the texts that are a run of its units, ascending, each once.

    offsets (n + 1,) int64: where in the bytes of `data` each row begins; valid (n,) bool: a row that is not names none.
    """
    ids, ends = np.empty(8 * len(valid) + 64, np.int32), np.zeros(len(valid) + 1, np.int64)
    matches, bounds = np.empty(BYTES, np.int32), np.empty(ROWS, np.int64)
    stops = np.empty(ROWS, np.int64)
    block = _block(BYTES, 3 * BYTES + 2 * ROWS)
    first = 0
    while first < len(valid):
        last = _block_end(offsets, first)
        rows = last - first
        if offsets[last] - offsets[first] > BYTES:
            block = _larger(block, data, offsets[first : last + 1])
        if len(trie.spans):
            _split(data, offsets[first : last + 1], valid[first:last], block, stops)
            _find_words(trie, block, stops[rows - 1])
        else:
            _spell(data, offsets[first : last + 1], valid[first:last], block, stops)
            _find_characters(trie.edges, block, stops[rows - 1])
        _find_seconds(trie, block, stops[:rows])
        while not _name(trie, block, stops[:rows], matches, bounds):
            matches = np.empty(2 * len(matches), np.int32)
        if ends[first] + bounds[rows - 1] > len(ids):
            ids = _longer(ids, ends[first] + bounds[rows - 1])
        _sort(matches, bounds[:rows], ids, ends[first : last + 1])
        first = last
    return ids[: ends[-1]].copy(), ends


@compiled
def _block(size: int, units: int) -> Block:
    return Block(
        np.zeros(size // 8 + 3, np.uint64),
        np.empty(units, np.int64),
        np.empty(units, np.int64),
        np.empty(units, np.int64),
        np.empty(units, np.uint64),
        np.empty(units, np.uint64),
        np.empty(units, np.int32),
        np.empty(units, np.uint64),
        np.empty(units, np.uint64),
        np.empty(units, np.int64),
    )


@compiled
def _larger(block: Block, data: np.ndarray, offsets: np.ndarray) -> Block:
    """Return `block`, or one with room for a row that is longer than usual."""
    size = offsets[-1] - offsets[0]
    units = 2
    for place in range(offsets[0], offsets[-1]):
        units += 3 if KINDS[data[place]] == MARK else 1
    if size + 16 <= 8 * len(block.text) and units <= len(block.starts):
        return block
    return _block(size, max(units, len(block.starts)))


@compiled
def _block_end(offsets: np.ndarray, first: int) -> int:
    """Return the row after the block that begins at `first`: as many as fit into the cache, at least one."""
    last = first + 1
    while last < len(offsets) - 1 and last - first < ROWS and offsets[last + 1] - offsets[first] <= BYTES:
        last += 1
    return last


@compiled
def _split(data: np.ndarray, offsets: np.ndarray, valid: np.ndarray, block: Block, stops: np.ndarray) -> None:
    """Split rows, spaced, at single spaces: starts, sizes and keys of the words, and how many there are up to each row.

    Spacing puts a space before and after each mark, and takes other white space for a space.
    """
    starts, sizes, separators, text = block.starts, block.sizes, block.separators, block.text
    letters = text.view(np.uint8)
    block_bytes = data[offsets[0] : offsets[-1]]
    for place in range(len(block_bytes)):  # becomes a wide copy, which assigning the slice does not
        letters[place] = block_bytes[place]
    count = 0
    for row in range(len(valid)):
        if valid[row]:
            start, stop = offsets[row] - offsets[0], offsets[row + 1] - offsets[0]
            n_separators, row_bytes = 0, letters[start:stop]
            for place in range(len(row_bytes)):
                separators[n_separators] = start + place
                n_separators += KINDS[row_bytes[place]] != 0
            for place in separators[:n_separators]:
                starts[count], sizes[count] = start, place - start
                starts[count + 1], sizes[count + 1] = place, 1
                count += KINDS[letters[place]]
                start = place + 1
            starts[count], sizes[count] = start, stop - start
            count += 1
        stops[row] = count
    for unit in range(count):
        block.keys[unit] = _word_key(text, starts[unit], sizes[unit])


@compiled
def _find_words(trie: Trie, block: Block, total: int) -> None:
    """Look up the first `total` keys: `units` (-1: no text has that word) and `nodes` (0 likewise)."""
    words, keys, rows, units, nodes, picked = trie.words, block.keys, block.rows, block.units, block.nodes, block.picked
    last = np.uint64(len(words) - 1)
    for unit in range(total):
        rows[unit] = _place(keys[unit], words)
        nodes[unit] = words[rows[unit], 0]
    count = 0
    for unit in range(total):
        key, row = keys[unit], rows[unit]
        while words[row, 0] != key and words[row, 0] != FREE:
            row = (row + ONE) & last
        node = words[row, 1]
        nodes[unit] = node
        units[unit] = _unit(node)
        picked[count] = unit
        count += (node != FREE) & (key >= LONG)
    _check_long_words(trie, block, count)


@compiled
def _unit(node: np.uint64) -> np.int32:
    """Return the id of a word's node; -1 for 0, which none has: word 0 begins a text, so has a flag or an end."""
    return np.int32(node & ID) - np.int32(node == FREE)


@compiled
def _check_long_words(trie: Trie, block: Block, count: int) -> None:
    """Compare the first `count` picked words with those that have their keys; look on where they differ."""
    starts, sizes, units, picked, begins = block.starts, block.sizes, block.units, block.picked, block.rows
    text, pool, spans = block.text, trie.pool, trie.spans
    for number in range(count):
        begins[number] = np.uint64(spans[units[picked[number]], 0])
    for number in range(count):
        place, begin = picked[number], np.int64(begins[number])
        size = sizes[place]
        if spans[units[place], 1] != size or not _is_same(text, starts[place], pool, begin, size):
            row = _word_row(trie.words, spans, pool, block.keys[place], text, starts[place], size)
            block.nodes[place] = trie.words[row, 1]
            units[place] = _unit(trie.words[row, 1])


@compiled
def _spell(data: np.ndarray, offsets: np.ndarray, valid: np.ndarray, block: Block, stops: np.ndarray) -> None:
    """Put the code points of rows, spaced and between two spaces, into `units`, and how many up to each row."""
    units = block.units
    count = 0
    for row in range(len(valid)):
        if valid[row]:
            units[count] = SPACE
            count += 1
            place = offsets[row]
            while place < offsets[row + 1]:
                lead = np.int32(data[place])
                place += 1
                if lead < 0x80:
                    kind = KINDS[lead]
                    if kind == MARK:
                        units[count], units[count + 1], units[count + 2] = SPACE, lead, SPACE
                        count += 3
                    else:
                        units[count] = SPACE if kind == BLANK else lead
                        count += 1
                    continue
                n_following = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
                point = lead & (0x3F >> n_following)
                for byte in data[place : place + n_following]:
                    point = point << 6 | (np.int32(byte) & 0x3F)
                place += n_following
                units[count] = point
                count += 1
            units[count] = SPACE
            count += 1
        stops[row] = count


@compiled
def _find_characters(edges: np.ndarray, block: Block, total: int) -> None:
    """Look up the first `total` units below the root: `nodes`, 0 where no text begins so."""
    units, keys, rows, nodes = block.units, block.keys, block.rows, block.nodes
    last = np.uint64(len(edges) - 1)
    for unit in range(total):
        keys[unit] = _edge_key(ROOT, units[unit])
        rows[unit] = _place(keys[unit], edges)
        nodes[unit] = edges[rows[unit], 0]
    for unit in range(total):
        row = rows[unit]
        while edges[row, 0] != keys[unit] and edges[row, 0] != FREE:
            row = (row + ONE) & last
        nodes[unit] = edges[row, 1]


@compiled
def merge_rows(ids: np.ndarray, ends: np.ndarray, second_ids: np.ndarray, second_ends: np.ndarray) -> tuple:  # type: ignore[type-arg]
    """Return (ids, ends) of two of them, row by row, ascending; none may stand in both."""
    merged = np.empty(len(ids) + len(second_ids), np.int32)
    first = second = 0
    for row in range(len(ends) - 1):
        while first < ends[row + 1] or second < second_ends[row + 1]:
            if second == second_ends[row + 1] or (first < ends[row + 1] and ids[first] < second_ids[second]):
                merged[first + second] = ids[first]
                first += 1
            else:
                merged[first + second] = second_ids[second]
                second += 1
    return merged, ends + second_ends


@compiled
def _find_seconds(trie: Trie, block: Block, stops: np.ndarray) -> None:
    """Look up each unit with its next: `seconds`, 0 where no text goes on so."""
    edges, marks, units, nodes, seconds = trie.edges, trie.marks, block.units, block.nodes, block.seconds
    picked, keys, rows = block.picked, block.keys, block.rows
    last = np.uint64(len(edges) - 1)
    begin = count = 0
    for stop in stops:
        for unit in range(begin, stop - 1):
            seconds[unit] = FREE
            if nodes[unit] & LEADS_ON and units[unit + 1] >= 0:
                key = _edge_key(nodes[unit], units[unit + 1])
                picked[count], keys[count] = unit, key
                count += _is_marked(marks, key)
        if stop > begin:
            seconds[stop - 1] = FREE
        begin = stop
    for number in range(count):
        rows[number] = _place(keys[number], edges)
        seconds[picked[number]] = edges[rows[number], 0]
    for number in range(count):
        key, row = keys[number], rows[number]
        while edges[row, 0] != key and edges[row, 0] != FREE:
            row = (row + ONE) & last
        seconds[picked[number]] = edges[row, 1]


@compiled
def _name(trie: Trie, block: Block, stops: np.ndarray, matches: np.ndarray, bounds: np.ndarray) -> bool:
    """Put the concepts that each row names into `matches`, as they come, and where they end there into `bounds`.

    Return False where `matches` is too short.
    """
    units, nodes, seconds, edges, marks = block.units, block.nodes, block.seconds, trie.edges, trie.marks
    owners, further = trie.owners, trie.further
    begin = count = 0
    for row in range(len(stops)):
        for start in range(begin, stops[row]):
            if count + 2 > len(matches):
                return False
            node, second, unit = nodes[start], seconds[start], start + 2
            if not (node | second) & SHARED:
                matches[count] = np.int64(node >> HALF) - 1
                count += node >= NAMED
                matches[count] = np.int64(second >> HALF) - 1
                count += second >= NAMED
            else:
                count = _name_all(owners, further, node, matches, count)
                count = _name_all(owners, further, second, matches, count)
            while second & LEADS_ON and unit < stops[row] and units[unit] >= 0:
                key = _edge_key(second, units[unit])
                second = edges[_edge_row(edges, key), 1] if _is_marked(marks, key) else FREE
                count = _name_all(owners, further, second, matches, count)
                unit += 1
        begin = stops[row]
        bounds[row] = count
    return count <= len(matches)


@compiled
def _name_all(owners: np.ndarray, further: np.ndarray, node: np.uint64, matches: np.ndarray, count: int) -> int:
    """Put into `matches` the ids of all texts that end at `node`, as far as they fit, and return where they end."""
    text = np.int64(node >> HALF) - 1
    shared = node & SHARED
    while text >= 0:
        if count < len(matches):
            matches[count] = owners[text] if shared else text
        count += 1
        text = np.int64(further[text]) if shared else -1
    return count


@compiled
def _sort(matches: np.ndarray, bounds: np.ndarray, ids: np.ndarray, ends: np.ndarray) -> None:
    """Append the matches of each row to `ids`, which ends at ends[0], each once, ascending; set the rest of `ends`."""
    ranks = np.empty(FEW, np.int32)
    start, count = 0, ends[0]
    for row in range(len(bounds)):
        length, first = bounds[row] - start, count
        row_matches = matches[start : start + length]
        if length > FEW:
            row_matches.sort()
            for place in range(length):
                ids[first + place] = row_matches[place]
        else:
            for place in range(length):
                value, larger = row_matches[place], np.int32(0)
                for earlier in range(place):
                    is_larger = np.int32(row_matches[earlier] > value)
                    ranks[earlier] += is_larger
                    larger += is_larger
                ranks[place] = place - larger
            for place in range(length):
                ids[first + ranks[place]] = row_matches[place]
        last = np.int32(-1)
        for place in range(first, first + length):
            value = ids[place]
            ids[count] = value
            count += value != last
            last = value
        ends[row + 1] = count
        start += length


@compiled
def _longer(ids: np.ndarray, length: int) -> np.ndarray:
    longer = np.empty(max(length, 2 * len(ids)), ids.dtype)
    for place in range(len(ids)):
        longer[place] = ids[place]
    return longer
