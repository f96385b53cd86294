"""The colours of the report can be told from what they stand on: WCAG 2.2, level AA, on the light and the dark page."""

import re

import pytest

from evenly.audit.report.page import TEMPLATES
from evenly.audit.report.plots.figures import _ALONE, COLOURS, SERIES

STYLE = (TEMPLATES / "style.css").read_text(encoding="utf-8")
TEXT, GRAPHICS = 4.5, 3.0
"""The least contrast of text and of what a graphic is understood by (1.4.3, 1.4.11)."""


def palettes() -> dict[str, dict[str, str]]:
    """The colours that the style sheet names, of the light page and of the dark one."""
    light, dark = (
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root {(.*?)}", STYLE, re.DOTALL)
    )
    return {"light": light, "dark": dark}


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_formula_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#c4592f", "#faf9f6") == pytest.approx(4.14, abs=0.005)  # as axe-core says


@pytest.mark.parametrize("page", ["light", "dark"])
@pytest.mark.parametrize("ground", ["bg", "card", "soft"])
@pytest.mark.parametrize("colour", ["ink", "muted", "kept", "dropped", "failed", "merged"])
def test_text_in_any_colour_can_be_read_on_any_ground(page, ground, colour):
    palette = palettes()[page]
    assert contrast(palette[colour], palette[ground]) >= TEXT


@pytest.mark.parametrize("page", ["light", "dark"])
@pytest.mark.parametrize("line", [colour for colour in SERIES if colour not in COLOURS.values()])
def test_lines_of_plots_are_seen_on_both_pages(page, line):
    assert contrast(line, palettes()[page]["bg"]) >= GRAPHICS


def test_no_text_is_made_paler_than_its_colour():
    assert "opacity" not in STYLE


def test_plots_that_stand_alone_have_the_colours_of_the_light_page():
    light = palettes()["light"]
    assert {name: colour for name, colour in _ALONE.items() if name != "sans"} == {
        name: light[name] for name in COLOURS
    }
