import json
from email.message import Message

import pytest

from evenly.curation.reservations.headers import tdm_objection, x_robots_objection
from evenly.curation.reservations.site_files import RobotsTxt, TdmFile


def headers(*pairs: tuple[str, str]) -> Message:
    message = Message()
    for name, value in pairs:
        message[name] = value
    return message


@pytest.mark.parametrize(
    "value",
    [
        "noai", "noimageai", "noindex", "noimageindex", "none", "NOAI", " nofollow , NoIndex ", "evenly: noai",
        "Evenly:noindex", "*: none", "otherbot: nofollow, evenly: noai",
        "unavailable_after: 25 Jun 2030 15:00:00 PST, noai",
        "unavailable_after: Wednesday, 25-Jun-2030 15:00:00 GMT, noindex",
        "max-snippet: 10, noindex", "noai, otherbot: all",
        "max-image-preview:none, noai",
    ],
)  # fmt: skip
def test_an_x_robots_tag_that_objects_is_its_own_evidence(value):
    assert (
        x_robots_objection(headers(("X-Robots-Tag", "all"), ("x-robots-tag", value)), "evenly")
        == f"X-Robots-Tag: {value}"
    )


@pytest.mark.parametrize(
    "value",
    [
        "", "all", "nofollow", "noarchive, nosnippet", "otherbot: noai", "otherbot: nofollow, noindex",
        "noaix", "max-image-preview: none",
    ],
)  # fmt: skip
def test_an_x_robots_tag_for_others_or_about_other_things_does_not_object(value):
    assert x_robots_objection(headers(("X-Robots-Tag", value)), "evenly") is None


def test_no_header_is_no_objection():
    assert x_robots_objection(headers(), "evenly") is None
    assert tdm_objection(headers()) is None


@pytest.mark.parametrize(("value", "objects"), [("1", True), (" 1 ", True), ("0", False), ("", False), ("yes", False)])
def test_a_tdm_reservation_of_1_objects(value, objects):
    assert (tdm_objection(headers(("TDM-Reservation", value))) is not None) is objects


def test_the_evidence_of_a_tdm_reservation_names_its_policy():
    found = tdm_objection(headers(("tdm-reservation", "1"), ("tdm-policy", "https://a.test/policy.json")))
    assert found == "tdm-reservation: 1, tdm-policy: https://a.test/policy.json"


ROBOTS = """\
# a comment
User-agent: otherbot
Disallow: /

User-Agent: *
Disallow: /private/   # keep out
Disallow: /*.gif$
Allow: /private/open/

User-agent: picky
User-agent: evenly
Disallow: /ours/
Disallow:
"""


@pytest.mark.parametrize(
    ("agent", "path", "evidence"),
    [
        ("anybot", "/x.png", None),
        ("anybot", "/private/x.png", "Disallow: /private/ (User-agent: *)"),
        ("anybot", "/private/open/x.png", None),
        ("anybot", "/a/b.gif", "Disallow: /*.gif$ (User-agent: *)"),
        ("anybot", "/a/b.gif?x=1", None),
        ("evenly", "/private/x.png", None),
        ("evenly", "/ours/x.png", "Disallow: /ours/ (User-agent: picky, evenly)"),
        ("Evenly", "/ours/x.png", "Disallow: /ours/ (User-agent: picky, evenly)"),
        ("otherbot", "/x.png", "Disallow: / (User-agent: otherbot)"),
    ],
)
def test_robots_txt_answers_with_the_line_that_decides(agent, path, evidence):
    assert RobotsTxt(ROBOTS).objection(f"http://a.test{path}", agent) == evidence


@pytest.mark.parametrize("text", ["", "<html>not found</html>", "Disallow: /", "User-agent: *\nAllow: /"])
def test_a_robots_txt_without_a_rule_for_us_allows(text):
    assert RobotsTxt(text).objection("http://a.test/x.png", "evenly") is None


@pytest.mark.parametrize(
    ("path", "reserved"),
    [
        ("/directory-a/x.pdf", True),
        ("/directory-b/html/page", True),
        ("/directory-b/images/a.jpg", False),
        ("/directory-b/images/a.png", True),
        ("/other", False),
        ("/exact", True),
        ("/exactly", False),
        ("/caf%C3%A9/a", True),
        ("/a#b", False),
    ],
)
def test_the_first_rule_of_a_tdm_file_that_matches_decides(path, reserved):
    file = TdmFile(
        json.dumps(
            [
                {"location": "/directory-a/", "tdm-reservation": 1},
                {"location": "/directory-b/html/", "tdm-reservation": "1"},
                {"location": "/directory-b/images/*.jpg", "tdm-reservation": 0},
                {"location": "/directory-b/images/*", "tdm-reservation": 1},
                {"location": "/directory-b/images/", "tdm-reservation": 0},
                {"location": "/exact$", "tdm-reservation": 1},
                {"location": "/caf\u00e9/", "tdm-reservation": 1},
                {"location": "/x\nAllow: /other", "tdm-reservation": 1},
                {"location": "/other", "tdm-reservation": 2},
            ]
        )
    )
    assert (file.objection(f"http://pictures.test{path}") is not None) == reserved


def test_a_robots_txt_that_is_no_text_is_no_consent():
    with pytest.raises(ValueError, match="no text"):
        RobotsTxt("\x00\x01")
