"""Build manifests: a build exists when its manifest exists; an alias per recipe points at the one promoted last.

`<recipe>-latest` is that alias. `latest` is no file: it is the alias of the one recipe whose builds were promoted.
A hold on a recipe keeps rebuilds from moving its alias until a person does. The content hash of a build covers what
makes it what it is; storage/tables/hashing.py says what of a table is content. Of a build that was taken down a
tombstone is left, which names its successor.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.records import content_hash, create_record, read_if_there, read_record, replace_record
from evenly.storage.stores.files import map_paths
from evenly.storage.workspace import Workspace

LATEST = "latest"
_LEAST_STEP = timedelta(microseconds=1)


class Builds:
    """The builds of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.builds
        self._aliases = self.folder / "aliases"
        self._holds = self.folder / "holds"
        self._announced = self.folder / "announced"
        self._tombstones = self.folder / "tombstones"

    def publish(self, manifest: Mapping[str, Any]) -> bool:
        """Create the manifest under its `build` id, atomically; False if that build exists already."""
        return create_record(self._path(str(manifest["build"])), manifest)

    def read(self, name: str) -> dict[str, Any]:
        """The manifest of a build id or a unique beginning of one, of `latest`, a recipe's name or `<recipe>-latest`.

        Raises NotFoundError, which lists what there is, also for `latest` where it could be that of several recipes.
        """
        names = self.names()
        if is_plain(name) and name not in names:
            name = self.alias(name) or self.latest_of(name) or name
        matches = [build for build in names if build == name] or [
            build for build in names if name and build.startswith(name)
        ]
        if not matches:
            self.refuse_buried(name)
        if len(matches) != 1:
            builds = ", ".join(names) or "none yet; `evenly rebuild RECIPE` makes one"
            number = "no build" if not matches else "more than one build"
            raise NotFoundError(f"`build` must name one build; {number} matches `{name}`. Builds here: {builds}.")
        return read_record(self._path(matches[0]))

    def names(self) -> list[str]:
        """All build ids, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def manifests(self) -> list[dict[str, Any]]:
        """All manifests, oldest first."""
        manifests = map_paths(read_record, [self._path(name) for name in self.names()])
        return sorted(manifests, key=lambda item: str(item["created"]))

    def rows(self) -> list[dict[str, Any]]:
        """One row per build, oldest first; `latest` marks the newest promoted one of each recipe."""
        return [
            {
                "build": manifest["build"],
                "created": manifest["created"],
                "rows": manifest["samples"]["rows"],
                "kept": manifest["samples"]["kept"],
                "limit": manifest["limit"],
                "latest": self.latest_of(manifest["recipe_name"]) == manifest["build"],
            }
            for manifest in self.manifests()
        ]

    def bury(self, tombstone: Mapping[str, Any]) -> None:
        """Put a tombstone in the place of the manifest of its `build`; the alias moves to its `successor`, or goes.

        Where it is broken off, the same call goes on.
        """
        build, recipe = str(tombstone["build"]), str(tombstone["recipe_name"])
        create_record(self._tombstones / f"{build}.json", tombstone)
        if self.latest_of(recipe) == build:
            if tombstone["successor"] is None:
                (self._aliases / f"{recipe}-{LATEST}.json").unlink(missing_ok=True)
            else:
                self.promote(str(tombstone["successor"]), recipe=recipe)
        (self._announced / f"{build}.json").unlink(missing_ok=True)
        self._path(build).unlink(missing_ok=True)

    def overview(self) -> dict[str, Any]:
        """The rows of builds, the promotions that are held, and what was taken down."""
        return {"builds": self.rows(), "holds": self.holds(), "taken_down": self.tombstones()}

    def tombstones(self) -> list[dict[str, Any]]:
        """The records that builds which were taken down left; `instead` says in words what to use."""
        stones = map_paths(read_record, sorted(self._tombstones.glob("*.json")))
        return [stone | {"instead": _instead(stone)} for stone in stones]

    def refuse_buried(self, name: str) -> None:
        """Raise NotFoundError, which names the successor, where this is a build that was taken down."""
        if (tombstone := self._tombstone(name)) is not None:
            raise NotFoundError(
                f"`build` must name a build that is there; `{tombstone['build']}` was taken down on "
                f"{str(tombstone['taken_down'])[:10]}, receipt {tombstone['receipt']}. {_instead(tombstone)}"
            )

    def _tombstone(self, name: str) -> dict[str, Any] | None:
        """The tombstone of a build id or a unique beginning of one."""
        names = [path for path in self._tombstones.glob("*.json") if is_plain(name) and path.stem.startswith(name)]
        chosen = [path for path in names if path.stem == name] or names
        return read_record(chosen[0]) if len(chosen) == 1 else None

    def promote(self, build: str, *, recipe: str) -> None:
        """Point the alias of `recipe` at `build`; atomic, and the builds themselves do not change."""
        self.read(build)
        newest = max((promoted for promoted, _ in self._promotions()), default="")
        promoted = datetime.now(UTC)
        if newest:  # the clock may have been set back
            promoted = max(promoted, datetime.fromisoformat(newest) + _LEAST_STEP)
        record = {"build": build, "promoted": promoted.isoformat(timespec="microseconds")}
        replace_record(self._aliases / f"{recipe}-{LATEST}.json", record)

    def promote_by_hand(self, build: str, *, recipe: str) -> None:
        """Promote as a person does who has looked: a hold on the recipe ends."""
        self.promote(build, recipe=recipe)
        (self._holds / f"{recipe}.json").unlink(missing_ok=True)

    def hold(self, recipe: str, reason: str) -> None:
        """Keep rebuilds of `recipe` from promoting what they build, until `promote_by_hand`."""
        held_since = datetime.now(UTC).isoformat(timespec="seconds")
        replace_record(self._holds / f"{recipe}.json", {"recipe": recipe, "reason": reason, "since": held_since})

    def hold_on(self, recipe: str) -> str | None:
        """Why promotions of a recipe are held, or None."""
        record = read_if_there(self._holds / f"{recipe}.json")
        return None if record is None else f"{record['reason']}, {record['since']}"

    def holds(self) -> dict[str, str]:
        """Why promotions are held, by recipe."""
        recipes = sorted(path.stem for path in self._holds.glob("*.json"))
        return {recipe: reason for recipe in recipes if (reason := self.hold_on(recipe)) is not None}

    def announce(self, build: str, latest: str | None) -> None:
        """Record that people were told that `build` is held back while `latest` stays."""
        replace_record(self._announced / f"{build}.json", {"build": build, "latest": latest})

    def is_announced(self, build: str, latest: str | None) -> bool:
        """Whether people were told of it before."""
        return read_if_there(self._announced / f"{build}.json") == {"build": build, "latest": latest}

    def alias(self, name: str) -> str | None:
        """The build id that `<recipe>-latest` stands for, or None; `latest` stands for that of the only recipe.

        Raises NotFoundError for `latest` where builds of several recipes were promoted.
        """
        if name == LATEST:
            names = sorted(path.stem for path in self._promoted())
            if len(names) > 1:
                choices = " or ".join(f"`{choice}`" for choice in names)
                raise NotFoundError(
                    f"`build` must say of which recipe it is the latest, where there are several; got `{name}`. "
                    f"Write {choices}."
                )
            return self.alias(names[0]) if names else None
        alias = read_if_there(self._aliases / f"{name}.json")
        return None if alias is None else str(alias["build"])

    def latest_of(self, recipe: str) -> str | None:
        """The build of a recipe that was promoted last, or None."""
        return self.alias(f"{recipe}-{LATEST}") if is_plain(recipe) else None

    def latest_of_each(self) -> list[str]:
        """The build that was promoted last of each recipe, that of the newest promotion first."""
        return [build for _, build in sorted(self._promotions(), reverse=True)]

    def _promotions(self) -> list[tuple[str, str]]:
        """Time of promotion ("" if it was not recorded, as in old workspaces) and build of each recipe's alias."""
        records = map_paths(read_record, self._promoted())
        return [(str(record.get("promoted", "")), str(record["build"])) for record in records]

    def _promoted(self) -> list[Path]:
        """The alias of each recipe that has one."""
        return list(self._aliases.glob(f"*-{LATEST}.json"))

    def _path(self, build: str) -> Path:
        if not is_plain(build):
            raise NotFoundError(f"`build` must be letters, digits, `-`, `_` and `.`; got `{build!r}`.")
        return self.folder / f"{build}.json"


def _instead(tombstone: Mapping[str, Any]) -> str:
    successor = tombstone["successor"]
    return f"Use its successor, `{successor}`." if successor else f"It has no successor: {tombstone['why']}."


def funnel_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows per step and verdict, with reasons, for the steps that judge rows."""
    return [
        {"step": step["name"], **step["counts"], "reasons": step["reasons"]}
        for step in manifest["steps"]
        if step["counts"]
    ]


def is_plain(name: str) -> bool:
    """True for names that cannot leave their folder."""
    return bool(name) and not name.startswith(".") and all(letter.isalnum() or letter in "-_." for letter in name)


def open_build(build: str, *, root: str | os.PathLike[str] | None = None) -> tuple[Workspace, dict[str, Any]]:
    """The workspace at `root` (as `Workspace.at` takes it) and the manifest of a build (as `Builds.read` names it)."""
    workspace = Workspace.at(root)
    return workspace, Builds(workspace).read(build)


def open_two(
    before: str, after: str, *, root: str | os.PathLike[str] | None = None
) -> tuple[Workspace, dict[str, Any], dict[str, Any]]:
    """The workspace at `root` and the manifests of two builds; `latest` beside another is that of the same recipe."""
    workspace = Workspace.at(root)
    builds, names = Builds(workspace), (before, after)
    manifests = [builds.read(name) for name in names if name != LATEST]
    latest = f"{manifests[0]['recipe_name']}-{LATEST}" if len(manifests) == 1 else LATEST
    older, newer = (builds.read(latest if name == LATEST else name) for name in names)
    return workspace, older, newer


def latest_made(ledger: Ledger, name: str, *, build: str) -> list[StepRecord]:
    """The newest record of a step per class list and part, among those made for a build."""
    newest: dict[str, StepRecord] = {}
    for record in ledger.records(name):
        if record.rule.get("build") == build:
            subject = str(record.rule.get("list") or record.rule.get("part") or "")
            earlier = newest.get(subject)
            if earlier is None or record.ended > earlier.ended:
                newest[subject] = record
    return [newest[subject] for subject in sorted(newest)]


def encoder_of(manifest: Mapping[str, Any]) -> str:
    """The identity of the encoder that made a build's features. Raises InputError for a build without features."""
    if manifest["encoder"] is None:
        raise InputError(
            f"`build` must hold pictures and their features; got `{manifest['build']}`, which holds captions alone, or "
            "whose recipe says `features: {encode: false}`. Rebuild with a download in the recipe and without "
            "`encode: false` (what is finished is reused), or choose another build."
        )
    return str(manifest["encoder"]["identity"])


CONTENT_VERSION = 2
"""The `content_version` that a manifest states."""


@dataclass(frozen=True, kw_only=True)
class BuildInputs:
    """The inputs of a build beside its steps.

    `recipe` comes without paths, endpoints and schedules; `split` enters the content hash by the hash of its rows,
    where there is one; `forget` holds keyed hashes in any order.
    """

    recipe: Mapping[str, Any]
    seed: int
    limit: int | None
    encoder: Mapping[str, Any] | None = None
    split: Mapping[str, str] | None = None
    forget: Sequence[str] = ()


def content_hash_of(ledger: Ledger, records: Sequence[StepRecord], inputs: BuildInputs) -> str:
    """SHA-256, in hex, of all that makes a build what it is.

    `records` are the steps in order. Of each enter name, version, rule, model, seed, counts, reasons and the content of
    its tables, by the root of each one's tree: the same for any number of partitions.
    """
    steps = [_of_step(record) | {"tables": _tables(ledger, record)} for record in records]
    return content_hash(_of_build(inputs) | {"version": CONTENT_VERSION, "steps": steps})


def _tables(ledger: Ledger, record: StepRecord) -> dict[str, str]:
    return {name: ledger.content_of(record, name) for name in record.hashes}


def _of_step(record: StepRecord) -> dict[str, Any]:
    names = ("name", "version", "rule", "model", "seed", "rows_in", "counts", "reasons")
    return {name: getattr(record, name) for name in names}


def _of_build(inputs: BuildInputs) -> dict[str, Any]:
    return {
        "recipe": inputs.recipe,
        "seed": inputs.seed,
        "limit": inputs.limit,
        "forget": sorted(inputs.forget),
        "encoder": inputs.encoder,
        **({} if inputs.split is None else {"split": inputs.split["sha256"]}),
    }
