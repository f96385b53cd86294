"""What `evenly check` says of captioners that are wrong: one line with field, value, rule and remedy."""

import pytest
import yaml

from evenly.flows.recipe.checks import check_recipe
from evenly.flows.recipe.problems import RecipeError
from tests.picture_pool import picture

SEEN = {"kind": "seen", "base_url": "http://localhost:8000/v1", "model": "eyes"}
COCA = {"kind": "decoded", "model": "coca_ViT-B-32", "pretrained": "laion2b_s13b_b90k"}
TAGS = {"kind": "tags", "columns": ["label"]}
FIRST = "`curate.recaption.captioners.0`: "


@pytest.fixture
def check(tmp_path):
    """The problems of a recipe with these fields in `recaption`; "" where it is valid."""

    def checked(recaption: dict, **fields: object) -> str:
        (tmp_path / "pictures").mkdir(exist_ok=True)
        (tmp_path / "pictures" / "fox.png").write_bytes(picture((240, 90, 80), pattern=1))
        curate = {"download": {}, "match": {}, "recaption": recaption}
        sources = [{"kind": "folder", "path": "pictures"}]
        path = tmp_path / "eyes.yaml"
        path.write_text(yaml.safe_dump({"name": "eyes", "seed": 1, "sources": sources, "curate": curate} | fields))
        try:
            check_recipe(path)
        except RecipeError as error:
            return str(error)
        return ""

    return checked


@pytest.mark.parametrize(
    ("captioner", "words"),
    [
        ({"kind": "sean"}, "kind of captioner `sean` is unknown. Did you mean `seen`? Known: decoded, "),
        ({"kind": "seen", "model": "m"}, "`base_url` must be given; got nothing. Add it; `evenly init`"),
        (
            SEEN | {"base_url": "localhost:8000"},
            "`seen`: `base_url` must be an http or https URL; got 'local",
        ),
        (SEEN | {"base_url": "http://me:secret@host/v1"}, "`seen`: `base_url` must hold no user name, password"),
        (SEEN | {"base_url": "embedded"}, "`seen`: base_url must be of an endpoint whose model sees pictures"),
        (SEEN | {"kind": "realigned", "base_url": "embedded"}, "`realigned`: base_url must be of an endpoint whose"),
        (SEEN | {"model": " "}, "`seen`: model must be the name of a model of the endpoint; got nothing."),
        (SEEN | {"samples": 99}, "`samples` must be less than or equal to 16; got `99`. Change it"),
        (SEEN | {"modle": "x"}, "`seen.modle` must be a known field; got `'x'`. Did you mean `model`? Known: base_url"),
        (SEEN | {"budget_usd": 5}, "`seen`: budget_usd needs prompt_usd_per_million or completion_usd_per_million"),
        (TAGS | {"batch": True}, "`tags`: batch needs the base_url of an endpoint that has a Batch API; got embedded"),
        (TAGS | {"columns": []}, "`tags`: columns must name the columns of the pool that hold tags; got none."),
        (COCA | {"model": "coca_ViT-B-33"}, "`model` must be `embedded`, `embedded2` or a model of open_clip; got"),
        (COCA | {"pretrained": "laion"}, "`pretrained` must be weights of `coca_ViT-B-32` or a file; got `laion`."),
        (COCA | {"model": "ViT-B-32", "pretrained": "openai"}, "`model` must be one with a text decoder, as"),
        ({"kind": "decoded", "model": "embedded"}, "`model` must be one with a text decoder, as"),
        ("seen", "a captioner must have a kind, one of seen, realigned"),
    ],
)
def test_a_captioner_that_is_wrong_is_one_line_with_what_to_do(check, captioner, words):
    problem = check({"captioners": [captioner]})
    assert problem.startswith(FIRST + words)
    assert problem.endswith(".")
    assert len(problem.splitlines()) == 1
    assert "secret" not in problem


def test_all_that_is_wrong_with_a_captioner_is_said_at_once(check):
    problem = check({"captioners": [SEEN | {"samples": 0, "temperature": 9}]})
    assert "`samples` must be greater than or equal to 1; got `0`." in problem
    assert "`temperature` must be less than or equal to 2; got `9`." in problem


@pytest.mark.parametrize("captioner", [SEEN, COCA, TAGS, SEEN | {"budget_usd": 5, "prompt_usd_per_million": 1}])
def test_a_captioner_that_is_right_is_accepted(check, captioner):
    assert check({"captioners": [captioner], "judge": {"model": "embedded2"}}) == ""


def test_models_and_endpoints_elsewhere_in_the_recipe_are_checked_too(check):
    recaption = {"captioners": [SEEN]}
    unknown = {"model": "ViT-B-99", "pretrained": "x"}
    assert check(recaption | {"judge": unknown}).startswith("`curate.recaption.judge`: `model` must be `embedded`, ")
    assert check(recaption, features=unknown).startswith("`features`: `model` must be `embedded`, `embedded2` or a ")
    assert check(recaption, llm={"base_url": "localhost"}).startswith("`llm`: `base_url` must be an http or https URL")
    assert check({"captioners": []}).startswith("`curate.recaption.captioners` must have at least 1 of them; got `[]`.")
