"""The result of describing a class list: every text with its verdict, its cost, and classes without a text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.descriptions.chat.client import ClientCounts

SCHEMA = pa.schema(
    [
        pa.field("class", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("phrase", pa.string(), nullable=False),
        pa.field("request_id", pa.string()),
        pa.field("sample", pa.int32()),
        pa.field("synset", pa.string()),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("other", pa.string()),
    ]
)
ACCEPTED, REJECTED, FAILED = "accepted", "rejected", "failed"


@dataclass(frozen=True, kw_only=True)
class Undescribed:
    """A class for which a method gave no accepted text, and the reasons with their counts, the most frequent first.

    The class "" stands for the list, where the method is about it as a whole.
    """

    class_name: str
    method: str
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Descriptions:
    """Texts of a class list, by class, method, question, sample and place in the reply, in that order.

    `table`: class, method, text (ready to encode), phrase (as the reply had it, cleaned), request_id and sample (null
    without a request), synset (the sense used; null without), verdict accepted, rejected or failed, reason ("" where
    accepted), other (what else the text is about: the class it is told from, the factor of a context, the type of an
    attribute; null for all else). A phrase of `differential` is "{attribute}: {phrase}". A reply that cannot be read, a
    request that failed and a class about which a method has nothing to say (no_synset, no_other_name, no_pair) are one
    row each, without text.
    `ungrounded`: classes without a gloss. `counts`: what this run sent, found in the store and paid. `list_methods`:
    those of `methods` whose rows are about the list, under the class "". `made_by`: how the replies were made
    (RecordingChat.facts).
    """

    class_list: str
    class_list_identity: str
    classes: tuple[str, ...]
    methods: tuple[str, ...]
    table: pa.Table
    ungrounded: tuple[str, ...]
    counts: ClientCounts
    list_methods: tuple[str, ...] = ()
    made_by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def undescribed(self) -> tuple[Undescribed, ...]:
        """Class and method pairs without an accepted text, in order."""
        keys = list(zip(self.table["class"].to_pylist(), self.table["method"].to_pylist(), strict=True))
        verdicts = self.table["verdict"].to_pylist()
        described = {key for key, verdict in zip(keys, verdicts, strict=True) if verdict == ACCEPTED}
        reasons: dict[tuple[str, str], Counter[str]] = {}
        for key, reason in zip(keys, self.table["reason"].to_pylist(), strict=True):
            reasons.setdefault(key, Counter())[reason] += 1
        return tuple(
            Undescribed(
                class_name=name, method=method, reasons=tuple(reasons.get((name, method), Counter()).most_common())
            )
            for name in (*self.classes, "")
            for method in self.methods
            if (method in self.list_methods) == (not name) and (name, method) not in described
        )

    def texts(self, method: str) -> dict[str, list[str]]:
        """Accepted texts of one method for each class, in class order; classes without one have an empty list.

        Of a method about the list: {"": texts}.
        """
        chosen = self.table.filter((pc.field("method") == method) & (pc.field("verdict") == ACCEPTED))
        texts: dict[str, list[str]] = {name: [] for name in ([""] if method in self.list_methods else self.classes)}
        for name, text in zip(chosen["class"].to_pylist(), chosen["text"].to_pylist(), strict=True):
            texts[name].append(text)
        return texts

    def reject(self, rows: "np.ndarray[Any, np.dtype[np.bool_]]", reason: str) -> "Descriptions":
        """The same with the accepted ones among `rows` (one bool for each row of the table) rejected for `reason`."""
        return replace(self, table=reject_texts(self.table, rows, reason))

    def summary(self) -> dict[str, Any]:
        """Facts for `--json`: counts per verdict and reason, requests, tokens, cost, and classes without a text.

        `cost_usd` is that of replies; `lost_usd`, beside it, is the most that attempts without a reply can have cost.
        """
        verdicts = Counter(self.table["verdict"].to_pylist())
        return {
            "class_list": self.class_list,
            "class_list_identity": self.class_list_identity,
            "classes": len(self.classes),
            "methods": list(self.methods),
            "accepted": verdicts[ACCEPTED],
            "rejected": self._reasons(REJECTED),
            "failed": self._reasons(FAILED),
            "undescribed": [[gap.class_name, gap.method, dict(gap.reasons)] for gap in self.undescribed],
            "ungrounded": list(self.ungrounded),
            "requests_sent": self.counts.requests_sent,
            "attempts": self.counts.attempts,
            "cache_hits": self.counts.cache_hits,
            "prompt_tokens": self.counts.prompt_tokens,
            "completion_tokens": self.counts.completion_tokens,
            "cost_usd": self.counts.cost_usd,
            "lost_attempts": self.counts.lost_attempts,
            "lost_usd": self.counts.lost_usd,
            **{name: dict(counts) for name, counts in self.made_by.items()},
        }

    def _reasons(self, verdict: str) -> dict[str, int]:
        chosen = self.table.filter(pc.field("verdict") == verdict)["reason"].to_pylist()
        return dict(sorted(Counter(chosen).items()))


def reject_texts(table: pa.Table, rows: "np.ndarray[Any, np.dtype[np.bool_]]", reason: str) -> pa.Table:
    """A table of SCHEMA with the accepted ones among `rows` (n,) rejected for `reason`."""
    hit = pc.and_(pa.array(rows), pc.equal(table["verdict"], ACCEPTED))
    for column, value in (("verdict", REJECTED), ("reason", reason)):
        position = table.schema.get_field_index(column)
        table = table.set_column(position, SCHEMA.field(column), pc.if_else(hit, value, table[column]))
    return table


def table_of(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Table of SCHEMA."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)
