"""Pages of the site that are made when it is built: the commands, and what lies beside docs/ in the repository."""

import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[2]
PROJECT = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
_DOCS_OF_COMMANDS = ["-m", "typer", "evenly.flows.cli", "utils", "docs", "--name", "evenly", "--title", "Commands"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    commands = subprocess.run([sys.executable, *_DOCS_OF_COMMANDS], check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own command
    files.append(File.generated(config, "commands.md", content=commands))
    for name, page in PROJECT.items():
        text = (REPOSITORY / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_page: object) -> str:
    """Let links to files beside docs/ lead to their pages."""
    for name, page in PROJECT.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}")
    return markdown
