"""A build keeps what its recipe says of a split, and `evenly retrieve` by the build's id alone holds to it."""

import json
from types import SimpleNamespace

import pytest
import yaml

from evenly.audit.verify import verify_build
from evenly.demo.pictures.openmoji import draw_picture, list_codes
from evenly.descriptions.chat.endpoint import LanguageModel
from evenly.flows.cli.classes import description_audit as auditing
from evenly.flows.recipe.class_rules import ListContext, describe_rule, describing
from evenly.flows.recipe.files import ListingText
from evenly.storage.builds import Builds
from evenly.storage.samples import Samples
from evenly.storage.web.images import read_images
from tests.storage.held_pool import write_files

NOUNS = ("dog", "cat")
N = 12


@pytest.fixture(scope="module")
def pictures():
    codes = list_codes()
    return [draw_picture(codes[number * 61], size_px=64, background="white") for number in range(N)]


@pytest.fixture
def rebuild(evenly, workspace, pictures, tmp_path):
    """Rebuild by a recipe without class lists, with the labels of the pool and a split file or none; the manifest."""
    rows = [f"{n}.png,a picture of a {NOUNS[n % 2]} number {n},{NOUNS[n % 2]}\n" for n in range(N)]
    files = {f"{number}.png": one for number, one in enumerate(pictures)}
    write_files(tmp_path / "pool", {**files, "metadata.csv": "file_name,text,kind\n" + "".join(rows)})

    def run(split=None):
        labels = {"column": "kind", "group": None} | ({} if split is None else {"split": str(split)})
        recipe = {
            "name": "drawn",
            "seed": 3,
            "sources": [{"kind": "folder", "path": str(tmp_path / "pool"), "caption": "text"}],
            "labels": labels,
            "curate": {"download": {}},
        }
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        status, _, error = evenly("rebuild", tmp_path / "recipe.yaml", "--root", workspace.root)
        assert status == 0, error
        return Builds(workspace).read("latest")

    return run


@pytest.fixture
def split(rebuild, workspace, tmp_path):
    """A split file in which half of each class is of the test part."""
    manifest = rebuild()
    assert manifest["split"] is None
    urls = Samples(workspace, "drawn").read(manifest["samples"]["version"], ["url"])["url"].to_pylist()
    assert len(urls) == N
    write_split(
        tmp_path / "split.csv", {url: "test" if number < N // 2 else "train" for number, url in enumerate(urls)}
    )
    return tmp_path / "split.csv"


def write_split(path, parts):
    path.write_text("".join(["key,part\n", *(f"{url},{part}\n" for url, part in parts.items())]))


def read_split(path):
    return dict(line.split(",") for line in path.read_text().splitlines()[1:])


@pytest.fixture
def retrieve(evenly, workspace, tmp_path):
    (tmp_path / "things.txt").write_text("dog\ncat\n")

    def run(build):
        place = ("--root", workspace.root, "--per-class", N, "--json")
        status, out, err = evenly("retrieve", tmp_path / "things.txt", "--build", build, *place)
        return status, err if status else json.loads(out)

    return run


def test_pictures_of_the_test_part_are_never_chosen_by_id_alias_or_recipe(
    rebuild, retrieve, workspace, split, tmp_path
):
    manifest = rebuild(split)
    assert manifest["split"]["path"] == str(split)
    assert verify_build(workspace, manifest, read_bytes=lambda ids: read_images(workspace.downloads, ids)) == []
    for build in (manifest["build"], "latest", tmp_path / "recipe.yaml"):
        status, found = retrieve(build)
        assert status == 0, found
        assert (found["excluded"], found["kept"]) == ({"test_picture": N // 2}, N // 2)


@pytest.mark.slow
def test_a_split_is_found_from_another_folder_by_its_path_beside_the_recipe(rebuild, retrieve, split, monkeypatch):
    build = rebuild(split.name)["build"]
    (split.parent / "elsewhere").mkdir()
    monkeypatch.chdir(split.parent / "elsewhere")
    status, found = retrieve(build)
    assert status == 0, found
    assert found["excluded"] == {"test_picture": N // 2}


@pytest.mark.slow
def test_pairs_of_classes_are_found_by_the_split_of_the_build(rebuild, workspace, split):
    build = rebuild(split)["build"]
    listing, llm = ListingText(name="things", text="dog\ncat\n"), LanguageModel()
    for methods, wanted in ((["differential"], str(split)), (["description"], None)):
        rule = describe_rule(listing, methods=methods, llm=llm)
        found = describing(rule, llm, ListContext(build=build), root=workspace.root, quiet=True)
        assert (None if found.pairs is None else found.pairs.split) == wanted


@pytest.mark.slow
def test_progress_of_a_description_is_of_the_recipe_of_its_build_or_of_its_list(rebuild, workspace, split):
    build = rebuild(split)["build"]
    llm = LanguageModel()
    rule = describe_rule(ListingText(name="things", text="dog\ncat\n"), methods=["synonyms"], llm=llm)
    for context, subject in ((ListContext(build=build), build.rpartition("-")[0]), (ListContext(), "things")):
        run = describing(rule, llm, context, root=workspace.root).run
        assert run.progress.subject == subject


def test_descriptions_are_audited_by_the_split_of_the_build(rebuild, workspace, split, monkeypatch):
    build = rebuild(split)["build"]
    described = SimpleNamespace(key="", rule={"methods": ["description"]})
    version = SimpleNamespace(class_list=SimpleNamespace(name="things", classes=NOUNS), record=described)
    asked = []
    monkeypatch.setattr(auditing, "find_version", lambda *_, **__: version)
    monkeypatch.setattr(auditing, "audit_descriptions", lambda **given: asked.extend(given["rules"]) or [])
    monkeypatch.setattr(auditing, "as_flow", lambda job: job)
    chosen = {"methods": None, "aggregate": None, "draws": 1, "root": workspace.root}
    auditing.audit_latest("things.txt", build=build, **chosen)
    assert [rule.split for rule in asked] == [str(split)]


def test_a_split_that_changed_or_is_gone_is_an_error_until_a_rebuild_takes_it_up(rebuild, retrieve, split):
    build = rebuild(split)["build"]
    parts = read_split(split)
    write_split(split, parts | {next(iter(parts)): "train"})
    status, error = retrieve(build)
    assert status == 2
    assert f"must be the file that build `{build}` was made with" in error
    new = rebuild(split)
    assert new["build"] != build
    assert retrieve("latest")[1]["excluded"] == {"test_picture": N // 2 - 1}
    split.unlink()
    status, error = retrieve("latest")
    assert status == 2
    assert f"Build `{new['build']}` was made with this split" in error


def test_a_split_file_that_is_not_there_stops_a_rebuild_before_its_first_step(rebuild, workspace, tmp_path):
    with pytest.raises(AssertionError, match="`split` must be a file; got"):
        rebuild(tmp_path / "gone.csv")
    assert Builds(workspace).names() == []
    assert not list((workspace.root / "steps").glob("*.json"))
