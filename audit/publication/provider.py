"""The file of a provider's answers, read and begun."""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from evenly.curation.publication.facts import Facts
from evenly.curation.publication.provider import Provider
from evenly.storage.errors import InputError

_MOST_BYTES = 1 << 20


def new_provider_file() -> str:
    """A file with every field, commented."""
    return Path(__file__).with_name("provider.yaml").read_text(encoding="utf-8")


def read_provider(path: Path | None) -> Provider:
    """The answers in a YAML file, none without one. Raises InputError with each that is wrong."""
    if path is None:
        return Provider()
    if path.is_file() and path.stat().st_size > _MOST_BYTES:
        raise InputError(f"`provider` must be a file of at most {_MOST_BYTES} bytes; got `{path}`. Shorten it.")
    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())[:200]
        raise InputError(
            f"`provider` must be a readable YAML file; got `{path}` ({problem}). "
            "Write one with `evenly summary --init FILE`."
        ) from None
    try:
        return Provider.model_validate(stated)
    except ValidationError as error:
        problems = [_problem(problem) for problem in error.errors()[:10]]
        raise InputError(f"{' '.join(problems)} Correct `{path}`.") from None


def _problem(error: Any) -> str:  # noqa: ANN401 - pydantic's
    place = ".".join(str(part) for part in error["loc"]) or "provider"
    if error["type"] == "extra_forbidden":
        return f"`{place}` must be a field of the file; it is none. `evenly summary --init FILE` lists them."
    rule = re.sub(r"^(Input|Value|String) should ", "", error["msg"])
    return f"`{place}` must {rule}; got `{str(error['input'])[:80]}`."


def check_sources(provider: Provider, facts: Facts) -> None:
    """Raise InputError where the provider names a source that the build does not have."""
    there = {str(row["source"]) for row in facts.sources}
    if unknown := sorted({*provider.sources} - there):
        raise InputError(
            f"`sources` must name sources of build `{facts.build}`; got `{unknown[0]}`. "
            f"It has: {', '.join(sorted(there)) or 'none'}. Correct it."
        )
