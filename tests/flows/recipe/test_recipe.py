import math
from pathlib import Path

import pytest
import yaml

from evenly.curation.balance.thresholds import BalanceRule
from evenly.flows.recipe import read_notify, read_recipe
from evenly.flows.recipe.files import DEMO, TEMPLATE, TEXT_TEMPLATE
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.recipe.steps import content_of, steps_of


def minimal() -> dict:
    curate = {"match": {}, "balance": {"t": 5}}
    return {"name": "x", "seed": 1, "sources": [{"kind": "csv", "path": "p.csv"}], "curate": curate}


def curating(**sections) -> dict:
    """The smallest recipe, with these sections of curation besides."""
    return minimal() | {"curate": minimal()["curate"] | sections}


def problems(tmp_path: Path, recipe: object) -> list[str]:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(RecipeError) as error:
        read_recipe(path)
    return str(error.value).splitlines()


def test_blocks_to_notify_are_types_and_names_and_change_no_content(tmp_path):
    (line,) = problems(tmp_path, minimal() | {"notify": {"blocks": ["team"]}})
    assert "`notify.blocks`: must be types and names of blocks, such as `slack-webhook/team`; got `team`" in line
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(minimal() | {"notify": {"blocks": ["slack-webhook/team"]}}))
    recipe = read_recipe(tmp_path / "r.yaml")
    assert recipe.notify.events == ("held", "failed", "stale")
    assert "notify" not in content_of(recipe)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nnotify: {blocks: [a/b]}\nsurces: []", ("x", ("a/b",))),
        ("notify: {blocks: [a/b]}", ("r", ("a/b",))),
        ("notify: {blocks: 3}", ("r", None)),
        ("name: x", ("x", None)),
        ("{", ("r", None)),
    ],
)
def test_whom_to_notify_is_read_of_a_recipe_that_is_not_valid(tmp_path, text, said):
    (tmp_path / "r.yaml").write_text(text)
    name, notify = read_notify(tmp_path / "r.yaml")
    assert (name, notify and notify.blocks) == said
    assert read_notify(tmp_path / "none.yaml") == ("none", None)


def test_the_rule_of_balancing_says_law_and_texts_and_names_a_reference_only_among_languages(tmp_path):
    def rule(balance):
        path = tmp_path / "r.yaml"
        path.write_text(yaml.safe_dump(curating(balance=balance)))
        step, balanced = steps_of(read_recipe(path))[-1]
        return step.stored(balanced)

    assert rule({"t": 5}) == {"t": 5.0, "law": "v1", "texts": "each"}
    by_language = rule({"target": 9, "law": "v2", "texts": "one_per_image", "language": "lang"})
    assert by_language == {"target": 9, "law": "v2", "texts": "one_per_image", "language": "lang", "reference": "en"}
    assert BalanceRule(**by_language).reference == "en"


def test_the_rule_of_matching_names_a_column_of_languages_only_where_the_recipe_does(tmp_path):
    def rules(match):
        path = tmp_path / "r.yaml"
        path.write_text(yaml.safe_dump(curating(match=match, download={})))
        return [
            step.stored(rule)
            for step, rule in steps_of(read_recipe(path))
            if step.name in ("match_concepts", "match_again")
        ]

    plain = {"metadata": "lists.json", "mode": "faithful", "plurals": False}
    assert rules({"metadata": "lists.json"}) == [plain, plain]
    by_language = {"metadata": "lists.json", "language": "detected_language"}
    assert rules(by_language) == [plain | by_language, plain | by_language]


def test_the_recipes_that_ship_are_valid():
    assert read_recipe(DEMO).name == "demo"
    assert read_recipe(TEXT_TEMPLATE).name == "my-captions"
    assert read_recipe(TEMPLATE).name == "my-dataset"
    assert read_recipe(DEMO.with_name("scenes.yaml")).name == "scenes"


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"seeds": 1}, "seeds", "Did you mean `seed`"),
        ({"schedule": {"cron": "61 * * * *"}}, "schedule.cron", "must be five fields of cron"),
        ({"schedule": {"cron": "H * * * *"}}, "schedule.cron", "must be five fields of cron"),
        ({"schedule": {"cron": "0 0 30 2 *"}}, "schedule.cron", "must name a day that comes"),
        ({"schedule": {"cron": "0 3 * * 1", "timezone": "Mars"}}, "schedule.timezone", "Europe/Berlin; got `Mars`"),
        ({"schedule": {"cron": "0 3 * * 1", "overlap": "drop"}}, "schedule.overlap", "be 'skip' or 'queue'; got"),
        ({"schedule": {"cron": "0 3 * * 1", "max_age": "8"}}, "schedule.max_age", "a number and d, h or m, such as 7d"),
        ({"schedule": {"cron": "0 3 * * 1", "retry": {"after": 7}}}, "schedule.retry.after", "must be a number and d"),
        (
            {"schedule": {"cron": "0 3 * * 1", "retry": {"reasons": ["http_404"]}}},
            "schedule.retry.reasons",
            "reason `http_404` is unknown. Did you mean `http_408`? Known: connection, dns, http_408, http_425, ",
        ),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"name": "Not a name"}, "name", "lower-case letters"),
        ({"sources": []}, "sources", "at least 1"),
        ({"sources": [{"kind": "parquets", "path": "x"}]}, "sources.0.kind", "'parquet'"),
        ({"curate": {"balance": {}}}, "curate.balance", "exactly one of t, tail_share, target"),
        ({"curate": {"balance": {"t": 5, "target": 5}}}, "curate.balance", "exactly one of"),
        ({"curate": {"balance": {"t": 0}}}, "curate.balance.t", "greater than 0"),
        ({"curate": {"balance": {"t": math.inf}}}, "curate.balance.t", "finite"),
        ({"curate": {"balance": {"t": 5, "law": "v3"}}}, "curate.balance.law", "'v1' or 'v2'"),
        ({"curate": {"balance": {"t": 5, "texts": "all"}}}, "curate.balance.texts", "'each' or 'one_per_image'"),
        ({"curate": {"balance": {"t": 5, "reference": "de"}}}, "curate.balance", "reference needs language"),
        (
            {"curate": {"text": {"caption_length": {"min_word": 3}}}},
            "curate",
            "`text.caption_length.min_word` must be a known field; got `3`. Did you mean `min_words`? Known: ",
        ),
        ({"curate": {"text": {"caption_length": {"minimum": 3}}}}, "curate", "Remove it. Known: max_words, min_words."),
        (
            {"curate": {"text": {"caption_blocklist": {}}}},
            "curate",
            "`text.caption_blocklist.file` must be given; got nothing. Add it; `evenly init` shows an example.",
        ),
        (
            {"curate": {"text": {"caption_length": {"min_words": 1.5}}}},
            "curate",
            "`text.caption_length.min_words` must be a whole number; got `1.5`. Change it and run",
        ),
        ({"curate": {"text": {"caption_length": {"max_words": "many"}}}}, "curate", "whole number; got `'many'`"),
        ({"curate": {"text": {"caption_language": {"languages": "en"}}}}, "curate", "must be a list; got `'en'`"),
        ({"curate": {"text": {"caption_language": {"min_confidence": True}}}}, "curate", "a number; got `True`"),
        ({"curate": {"cap": {"column": "source", "most": 1.5}}}, "curate.cap.most", "be a whole number; got `1.5`"),
        ({"curate": {"text": {"caption_lenght": {}}}}, "curate", "is unknown. Did you mean `caption_length`? Known: "),
        ({"curate": {"preset": "datacomp_basics"}}, "curate", "Did you mean `datacomp_basic`? Known: "),
        ({"curate": {"balance": {"t": 5}, "recaption": {"choose": {}}}}, "curate.recaption.captioners", "given"),
        ({"curate": {"recaption": {"captioners": [{"kind": "blip"}]}}}, "curate.recaption.captioners.0", "retrieved"),
        ({"curate": {"balance": {"t": 5}, "match": {"plurals": True}}}, "curate.match", "mode normalized"),
        ({"curate": {"balance": {"t": 5}, "match": {"language": "lang"}}}, "curate.match", "got wordnet"),
        (
            {
                "curate": {
                    "balance": {"t": 5},
                    "match": {"metadata": "a.json", "mode": "normalized", "plurals": True, "language": "lang"},
                }
            },
            "curate.match",
            "plurals are of English",
        ),
        (
            {"curate": {"balance": {"t": 5}, "deduplicate": {"linked": {}}}},
            "curate.deduplicate.linked.min_cosine",
            "given",
        ),
        ({"curate": {"balance": {"t": 5}, "download": {"respect": ["robot"]}}}, "curate.download.respect.0", "robots"),
        ({"classes": [{"list": "a.txt", "adapters": ["svm"]}]}, "classes.0.adapters", "gda"),
        ({"classes": [{"list": "a.txt", "methods": ["poem"]}]}, "classes.0.methods", "description"),
        ({"classes": [{"list": "a.txt", "adapters": ["fudd"]}]}, "classes.0", "the method differential"),
        (
            {"classes": [{"list": "a.txt", "methods": ["synonyms"], "adapters": ["disclip"]}]},
            "classes.0",
            "selects from descriptions",
        ),
        (
            {"classes": [{"list": "a.txt", "methods": ["description"], "frequent_names": "relaxed"}]},
            "classes.0",
            "chooses among synonyms",
        ),
        ({"classes": [{"list": "a.txt", "adapters": ["perceptionclip"]}]}, "classes.0", "needs contexts or the method"),
        ({"classes": [{"list": "a.txt", "pairs": {"top": 1}}]}, "classes.0.pairs.top", "greater than or equal to 2"),
        ({"features": {"model": "embedded", "batch": 3}}, "features.batch", "batch_size"),
        ({"features": {"engin": "torch"}}, "features.engin", "Did you mean `engine`?"),
        ({"features": {"engine": "onnx"}}, "features.engine", "must be 'torch' or 'onnxruntime'; got `'onnx'`"),
        (
            {"features": {"engine": "onnxruntime", "precision": "bf16"}},
            "features",
            "`engine: onnxruntime` must have `precision: fp32`; got `bf16`. Write `engine: torch`.",
        ),
        (
            {"features": {"engine": "onnxruntime", "device": "cuda:1"}},
            "features",
            "must have `device: cpu`; got `cuda:1`",
        ),
    ],
)
def test_a_problem_names_field_and_rule(tmp_path, change, field, words):
    line, *_ = problems(tmp_path, minimal() | change)
    assert line.startswith(f"`{field}`")
    assert words in line


def test_the_precision_of_an_encoder_is_content_and_its_device_is_not(tmp_path):
    contents = []
    choices = ({}, {"precision": "bf16"}, {"precision": "fp32", "device": "cuda:1"}, {"long_texts": "chunks"})
    for options in (*choices, {"long_texts": "cut"}, {"engine": "torch"}, {"engine": "onnxruntime"}):
        path = tmp_path / "r.yaml"
        path.write_text(yaml.safe_dump(curating(download={}) | {"features": {"model": "embedded"} | options}))
        contents.append(content_of(read_recipe(path)))
    plain, half, other, chunks, cut, torch, onnxruntime = contents
    assert plain == other == cut == torch
    assert onnxruntime["features"] == plain["features"] | {"engine": "onnxruntime"}
    assert chunks["features"] == plain["features"] | {"long_texts": "chunks"}
    assert half["features"] == plain["features"] | {"precision": "bf16"}


def test_views_of_train_pictures_are_no_content_and_need_pictures(tmp_path):
    path = tmp_path / "r.yaml"
    contents = []
    for options in ({}, {"views": {"crops": 10, "flip": True}}):
        path.write_text(yaml.safe_dump(curating(download={}) | {"features": {"model": "embedded"} | options}))
        contents.append(content_of(read_recipe(path)))
    assert contents[0] == contents[1]
    assert [str(view) for view in read_recipe(path).features.views.views[8:]] == ["crop 8 flip", "crop 9 flip"]
    wrong = (({"crops": 65}, "equal to 64"), ({}, "views must be crops, flip or boxes"), ({"crop": 1}, "crops"))
    for views, words in wrong:
        (line,) = problems(tmp_path, curating(download={}) | {"features": {"model": "embedded", "views": views}})
        assert line.startswith("`features.views")
        assert words in line


def test_all_problems_are_told_at_once(tmp_path):
    lines = problems(
        tmp_path, {"seed": "one", "sources": [{"kind": "csv"}], "curate": {"balance": {"t": -1}}, "tags": []}
    )
    for field in ("name", "seed", "sources.0.path", "curate.balance.t", "tags"):
        assert any(line.startswith(f"`{field}`") for line in lines)


def test_a_misspelt_section_is_said_once_with_the_one_that_is_meant(tmp_path):
    recipe = {name: value for name, value in minimal().items() if name != "curate"}
    (line,) = problems(tmp_path, recipe | {"currate": {}})
    assert line.startswith("`currate` must be a known field; got `{}`. Did you mean `curate`? Known: ")
    (line,) = problems(tmp_path, minimal() | {"sources": [{"kind": "csv", "pth": "p.csv"}]})
    assert line.startswith("`sources.0.pth` must be a known field; got `'p.csv'`. Did you mean `path`? Known: ")
    first, second = problems(tmp_path, recipe | {"tags": []})
    assert (first.split()[0], second.split()[0]) == ("`curate`", "`tags`")


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\xff"])
def test_a_file_that_is_no_recipe_is_one_clear_line(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError, match=r"recipe `.*r\.yaml` must be"):
        read_recipe(path)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([{"quota": 5}], "quota needs a name for the source; got none"),
        ([{"name": "a", "share": 0.5}, {"name": "b"}], "share must be given for every source and sum to 1; got 0.5"),
        ([{"name": "a", "share": 0.5}, {"name": "b", "share": 0.6}], "sum to 1; got 0.5, 0.6"),
        ([{"name": "a"}, {"name": "a"}], "the names of sources must differ; got a, a"),
        ([{"kind": "folder", "url": "link"}], "kind folder downloads nothing and takes no url; got link"),
        ([{"kind": "features"}], "vector and encoder belong to kind features, which needs the latter"),
        ([{"vector": "b32_img"}], "vector and encoder belong to kind features"),
        (
            [{"kind": "features", "encoder": {"model": "ViT-B-32", "pretrained": "openai"}}],
            "features of sources must be of the recipe's encoder embedded; got ViT-B-32 (openai)",
        ),
        ([{"kind": "features", "encoder": {"model": "embedded"}}], "hold no pictures: deduplicate.colour must be null"),
        ([{"name": "a", "weight": 1.5}], "weight"),
        ([{"name": "a/b"}], "name"),
    ],
)
def test_sources_that_cannot_be_mixed_say_why(tmp_path, sources, words):
    given = [{"kind": "csv", "path": "p.csv"} | source for source in sources]
    recipe = curating(download={}, deduplicate={}) | {"sources": given}
    assert any(words in line for line in problems(tmp_path, recipe))


def test_sources_are_mixed_where_the_recipe_says_so(tmp_path):
    sources = [{"kind": "csv", "path": "p.csv", "name": "a", "weight": 0.5}, {"kind": "folder", "path": "p"}]
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(minimal() | {"sources": sources}))
    rules = {step.name: step.stored(rule) for step, rule in steps_of(read_recipe(tmp_path / "r.yaml"))}
    assert rules["mix_sources"] == {"sources": {"a": {"weight": 0.5}}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(minimal()))
    assert "mix_sources" not in {step.name for step, _ in steps_of(read_recipe(tmp_path / "r.yaml"))}


def test_steps_that_the_recipe_leaves_out_do_not_run(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(curating(download={}, deduplicate={"semantic": None})))
    names = [step.name for step, _ in steps_of(read_recipe(path))]
    assert "embed_images" not in names
    assert "preselect" not in names
    assert names[0] == "collect"
    assert names[-1] == "balance"


def test_captions_and_linked_records_are_deduplicated_where_the_recipe_says_so(tmp_path):
    path = tmp_path / "r.yaml"
    twins = {"semantic": None, "captions": {"scope": "pool"}, "linked": {"min_cosine": 0.9}, "tables": 32}
    path.write_text(yaml.safe_dump(curating(download={}, deduplicate=twins)))
    rules = {step.name: step.stored(rule) for step, rule in steps_of(read_recipe(path))}
    assert rules["deduplicate_captions"] == {"min_jaccard": 0.8, "scope": "pool"}
    assert rules["deduplicate_linked"] == {"min_cosine": 0.9, "weight": 0.636, "tables": 32}
    assert list(rules).index("embed_images") < list(rules).index("deduplicate_linked")
    path.write_text(yaml.safe_dump(curating(download={}, deduplicate={})))
    rules = {step.name: step.stored(rule) for step, rule in steps_of(read_recipe(path))}
    assert rules["deduplicate_semantic"] == {"min_cosine": 0.95, "max_colour": 22.0, "tables": 64}
    assert not rules.keys() & {"deduplicate_captions", "deduplicate_linked"}


def test_where_a_recipe_runs_is_no_part_of_its_content(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(yaml.safe_dump(minimal()))
    moved = minimal() | {"sources": [{"kind": "csv", "path": "/elsewhere/q.csv"}], "schedule": {"cron": "0 0 * * *"}}
    second.write_text(yaml.safe_dump(moved))
    assert content_of(read_recipe(first)) == content_of(read_recipe(second))


def test_memory_is_a_size_or_a_share_and_no_part_of_the_content(tmp_path):
    path = tmp_path / "r.yaml"
    contents = []
    for memory in ({}, {"memory": "6GB"}, {"memory": "50%"}):
        path.write_text(yaml.safe_dump(minimal() | memory))
        contents.append(content_of(read_recipe(path)))
    assert contents[0] == contents[1] == contents[2]
    for wrong in ("much", "120%", 6_000_000_000):
        (problem,) = problems(tmp_path, minimal() | {"memory": wrong})
        assert problem.startswith("`memory`: must be a size such as 6GB or 8GiB, or a share of the machine's such as")
