"""Build manifests: a build exists when its manifest exists; aliases such as `latest` point at one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.errors import NotFoundError
from storage.records import create_record, read_record, replace_record
from storage.workspace import Workspace


class Builds:
    """The builds of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.builds

    def publish(self, manifest: Mapping[str, Any]) -> bool:
        """Create the manifest under its `build` id, atomically; False if that build exists already."""
        return create_record(self._path(str(manifest["build"])), manifest)

    def read(self, name: str) -> dict[str, Any]:
        """The manifest of a build id, a unique beginning of one, or an alias.

        Raises NotFoundError, which lists what there is.
        """
        alias = self.folder / "aliases" / f"{name}.json"
        if _is_plain(name) and alias.exists():
            name = str(read_record(alias)["build"])
        matches = [build for build in self.names() if build == name] or [
            build for build in self.names() if name and build.startswith(name)
        ]
        if len(matches) != 1:
            known = ", ".join(self.names()) or "none"
            what = "no build" if not matches else "more than one build"
            raise NotFoundError(f"`build` must name one build; {what} matches `{name}`. Builds here: {known}.")
        return read_record(self._path(matches[0]))

    def names(self) -> list[str]:
        """All build ids, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def manifests(self) -> list[dict[str, Any]]:
        """All manifests, oldest first."""
        return sorted((read_record(self._path(name)) for name in self.names()), key=lambda item: str(item["created"]))

    def promote(self, build: str, *, recipe: str, alias: str = "latest") -> None:
        """Point `<alias>` and `<recipe>-<alias>` at `build`, atomically each; the builds themselves do not change."""
        self.read(build)
        for name in (f"{recipe}-{alias}", alias):
            replace_record(self.folder / "aliases" / f"{name}.json", {"build": build})

    def alias(self, name: str) -> str | None:
        """The build id that an alias points at, or None."""
        path = self.folder / "aliases" / f"{name}.json"
        return str(read_record(path)["build"]) if path.exists() else None

    def _path(self, build: str) -> Path:
        if not _is_plain(build):
            raise NotFoundError(f"`build` must be letters, digits, `-`, `_` and `.`; got `{build!r}`.")
        return self.folder / f"{build}.json"


def _is_plain(name: str) -> bool:
    """True for names that cannot leave their folder."""
    return bool(name) and not name.startswith(".") and all(letter.isalnum() or letter in "-_." for letter in name)
