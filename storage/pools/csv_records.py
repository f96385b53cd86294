"""Records of CSV, each with the physical line that it begins in; a quote that does not end costs its own line only.

Python's reader takes everything up to the next quote, or the end of the file, for one value. Here a record that goes on
over several lines must end as RFC 4180 says, within 128 kB, with the header's number of fields, and must not have
swallowed lines that are records themselves; else its first line is broken and reading goes on with the second.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from evenly.storage.reading.budget import TOO_LARGE

HOW_CSV_IS_READ = {"csv": "an open quote costs its own line"}
"""What the rows of a CSV file depend on besides its content: what a step that reads one keys."""

BAD_ROW = "bad_row"
LIMIT = 131_072  # characters of a record of several lines, and of a value: Python's own limit
_WEB = re.compile(r"https?://[^\s/?#]", re.IGNORECASE)
_SWALLOWED = 2  # whole lines with the header's number of fields, in a file without web addresses


class Record(NamedTuple):
    """The line, from 1, that a record begins in, its fields and their size; `reject` says why there are none."""

    line: int
    fields: list[str] | None
    size: int = 0
    reject: str = ""


class CsvRecords:
    """The records of a CSV file below its `header`, in order; lines that are empty are none.

    `lines` keep their ends; "" stands for one that was too long to be read. A record with another number of fields than
    the header is broken. Raises ValueError, with the line, where the header itself is broken.
    """

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._ahead: deque[str] = deque()
        self._line = 0
        self._web: set[int] = set()
        first = next(self._parsed(None), Record(1, []))
        if first.fields is None:
            raise ValueError(f"a quote that does not end, or a value above 128 kB, in line {first.line}")
        self.header: list[str] = first.fields

    def __iter__(self) -> Iterator[Record]:
        """Read on below the header."""
        width = len(self.header)
        for record in self._parsed(width):
            fields = record.fields
            if fields is None or len(fields) == width:
                yield record
            elif fields:
                yield Record(record.line, None, record.size, BAD_ROW)

    def _parsed(self, width: int | None) -> Iterator[Record]:
        while (line := self._next()) is not None:
            number, n_lines = self._line, 1
            if not line:
                yield Record(number, None, 0, TOO_LARGE)
                continue
            fields = _plain(line)
            if fields is None:
                fields, is_open = _alone(line)
                if is_open:
                    fields, n_lines = self._joined(line, width)
            if fields is not None and n_lines == 1 and len(fields) == width:
                self._web |= _web_places(fields)
            self._line += n_lines - 1
            size = len(line) if n_lines == 1 or fields is None else sum(map(len, fields))
            yield Record(number, fields, size, "" if fields is not None else BAD_ROW)

    def _next(self) -> str | None:
        line = self._ahead.popleft() if self._ahead else next(self._lines, None)
        self._line += line is not None
        return line

    def _joined(self, first: str, width: int | None) -> tuple[list[str] | None, int]:
        """The fields of a record that goes on over several lines, and how many; None and 1 where it is none."""
        further_lines: list[str] = []
        try:
            fields = next(csv.reader(chain([first], self._taking(further_lines, len(first))), strict=True))
        except csv.Error:
            fields = None
        if fields is None or (width is not None and (len(fields) != width or self._swallowed(further_lines, fields))):
            self._ahead.extendleft(reversed(further_lines))
            return None, 1
        return fields, 1 + len(further_lines)

    def _taking(self, further_lines: list[str], size: int) -> Iterator[str]:
        """The lines that follow, until the record is too long; they are put into `further_lines`."""
        while size <= LIMIT and (line := self._ahead.popleft() if self._ahead else next(self._lines, None)) is not None:
            if not line:
                self._ahead.appendleft(line)
                return
            further_lines.append(line)
            size += len(line)
            yield line

    def _swallowed(self, further_lines: Sequence[str], fields: Sequence[str]) -> bool:
        """Whether lines within a value are records: with a web address where others have one, or all of that width."""
        rows = [_alone(line)[0] or [] for line in further_lines]
        web = self._web | _web_places(fields)
        if web:
            return any(len(row) == len(fields) and any(_WEB.match(row[place]) for place in web) for row in rows)
        inner = rows[:-1]
        return len(fields) > 1 and len(inner) >= _SWALLOWED and all(len(row) == len(fields) for row in inner)


def _web_places(fields: Sequence[str]) -> set[int]:
    return {place for place, text in enumerate(fields) if _WEB.match(text)}


def _plain(line: str) -> list[str] | None:
    """The fields of a line without quotes; None where Python's reader is to look at it."""
    bare = line.removesuffix("\n").removesuffix("\r")
    if '"' in bare or "\r" in bare or "\n" in bare or len(bare) > LIMIT:
        return None
    return bare.split(",") if bare else []


def _alone(line: str) -> tuple[list[str] | None, bool]:
    """The fields of one line, None where it is broken; and whether a quote in it does not end there."""
    requests: list[bool] = []

    def lines() -> Iterator[str]:
        yield line
        requests.append(True)

    try:
        fields = next(csv.reader(lines()), [])
    except csv.Error:
        return None, False
    return fields, bool(requests)
