"""An encoder refined over a build: held-out pairs choose and judge, a broken-off run goes on, commands take it."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.linear_model import LogisticRegression

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Features
from evenly.adapters.methods.nola import NoLA
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.saved import to_arrays, to_card
from evenly.features.refining.hold import SLACK
from evenly.features.refining.objectives import OBJECTIVES
from evenly.features.refining.training import TrainingRule
from evenly.features.unit_rows import to_unit_rows
from evenly.storage.artifacts.kinds import fitted_adapters_of, put_adapter, refined_encoders_of
from evenly.storage.artifacts.store import object_path
from evenly.storage.builds import Builds
from evenly.storage.errors import DamagedError, InputError, NotFoundError
from evenly.storage.ledger import Ledger
from evenly.tasks import encoders as tasks_encoders
from evenly.tasks.encoders import open_encoder
from evenly.tasks.progress import Progress
from evenly.tasks.refining import refine as refine_module
from evenly.tasks.refining.measures import PENALTIES, TO_PICTURE, TO_TEXT, label_rivals
from evenly.tasks.refining.pairs import GuardedList, refining_parts
from evenly.tasks.refining.refine import REFINE_ENCODER, SHIFTS, RefineRule, heads_of
from evenly.tasks.run import EncoderChoice, Run
from evenly.tasks.stage import run_step
from tests.labelled_build import Picture, WordEncoder, publish, word_vector

THINGS = ("cat", "dog", "ship", "whale", "tree", "house")
TRAINING = TrainingRule(rank=8, epochs=4, batch_size=32, learning_rate=1e-2)
LIST = GuardedList(list="things", classes=THINGS, split="split.csv", template="a photo of a {}")


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


@pytest.fixture
def manifest(workspace):
    """Pictures that show one thing and are captioned by a made-up word for it, some of them labelled."""
    words = {name: f"zz{place}" for place, name in enumerate(THINGS)}
    pictures = [
        Picture(
            name if number % 2 else "",
            {name: 1.0, f"of {number}": 0.4},
            ("train", "train", "val", "test")[number // 2 % 4],
            f"{words[name]} by hand {number % 3}",
        )
        for number in range(40)
        for name in THINGS
    ]
    path = publish(workspace, pictures)
    Path(path).rename(workspace.root / "split.csv")
    return Builds(workspace).read("some-1")


@pytest.fixture
def evenly(workspace, monkeypatch, capsys):
    """Runs `evenly` with arguments; what it prints."""
    from evenly.flows.cli import app
    from tests.reported import report_errors

    def run(*arguments, status=0):
        monkeypatch.setattr("sys.argv", ["evenly", *map(str, arguments), "--root", str(workspace.root)])
        assert report_errors(app) == status
        return capsys.readouterr()

    return run


def run_in(workspace, **changed):
    return Run(workspace=workspace, seed=7, folder=workspace.root, progress=Progress(quiet=True), **changed)


def rule_of(**rule):
    given = {"objective": "contrastive", "training": TRAINING, "lists": (LIST,), "margin": 1.0} | rule
    return RefineRule(build="some-1", **given)


def refine(workspace, **rule):
    return run_step(run_in(workspace), REFINE_ENCODER, (), rule_of(**rule))


def test_parts_share_no_group_and_test_pictures_of_lists_are_never_trained_on(workspace, manifest):
    parts = refining_parts(run_in(workspace), manifest, [LIST])
    groups = {part: set(pairs.groups.tolist()) for part, pairs in parts.pairs.items()}
    assert sum(map(len, groups.values())) == len(set.union(*groups.values()))
    assert sum(map(len, parts.pairs.values())) == 240
    for part in ("val", "test"):
        assert set(parts.lists[part]["things"].groups.tolist()) <= groups[part]
        assert len(parts.lists[part]["things"].image) == 30


def test_twins_are_in_one_part_with_all_their_groups(workspace):
    pictures = [
        Picture(
            name if number % 3 == 0 else "",
            {name: 1.0, f"of {number % 20}": 0.4 + (number // 20) / 10_000},
            ("train", "val", "test")[number % 3 if number < 20 else 0],
        )
        for number in range(40)
        for name in THINGS
    ]
    Path(publish(workspace, pictures)).rename(workspace.root / "split.csv")
    parts = refining_parts(run_in(workspace), Builds(workspace).read("some-1"), [LIST])
    part_of = {uid: part for part, pairs in parts.pairs.items() for uid in pairs.uids.tolist()}
    uids = sorted(part_of)
    assert len(uids) == 240
    assert [part_of[uid] for uid in uids[:120]] == [part_of[uid] for uid in uids[120:]]
    assert {part_of[uid] for uid in uids} == {"train", "val", "test"}


@pytest.mark.usefixtures("manifest")
def test_pairs_that_were_held_out_are_found_better_and_it_is_kept_as_an_encoder(workspace):
    run = run_in(workspace)
    record = refine(workspace)
    measures = {(row["measure"], row["of"]): row for row in run.ledger.table(record, "measures").to_pylist()}
    recall = measures["picture to text R@1", "all pairs"]
    assert recall["difference_low"] > 0
    assert recall["after"] == pytest.approx(recall["before"] + recall["difference"], abs=2e-4)
    assert {of for _, of in measures} == {"all pairs", "things"}
    choice = run.ledger.table(record, "choice").to_pylist()
    assert sum(row["chosen"] for row in choice) == 1
    chosen = next(row for row in choice if row["chosen"])
    assert (chosen["epoch"], chosen["strength"]) == (record.notes["epoch"], record.notes["strength"])
    assert chosen["recall"] == max(row["recall"] for row in choice if row["allowed"])

    put(workspace, WordEncoder.identity, heads_of(run, record, rule_of()))
    refined = run_in(workspace, encoder=EncoderChoice(refine="mine"))
    assert open_encoder(refined).identity != open_encoder(run).identity
    ((of, before), (_, after)) = (
        ("frozen", open_encoder(run).encode_texts(["zz1 number 5"])),
        ("refined", open_encoder(refined).encode_texts(["zz1 number 5"])),
    )
    assert of == "frozen"
    assert not np.array_equal(before, after)


def put(workspace, base, heads):
    card = {"base": base, "encoder": {"model": "other"}, "build": "some-1", "rule": {}, "notes": {}}
    refined_encoders_of(workspace).put("mine", card, heads, made_of={}, force=True)


@pytest.mark.usefixtures("manifest")
def test_the_guard_keeps_the_frozen_encoder_where_accuracy_would_fall_too_far(workspace, monkeypatch):
    worse = refine_module.correct_of

    def correct_of(parts, part, heads):
        correct = worse(parts, part, heads)
        if heads.strength and part == "val":
            values = correct["zero-shot", "things"].values
            values[:] = 0
        return correct

    monkeypatch.setattr(refine_module, "correct_of", correct_of)
    record = refine(workspace, margin=0.05)
    assert record.notes["strength"] == 0
    rows = run_in(workspace).ledger.table(record, "measures").to_pylist()
    assert all(row["before"] == row["after"] for row in rows)


@pytest.mark.usefixtures("manifest")
def test_what_moves_nouns_or_pictures_too_far_is_not_chosen(workspace, monkeypatch):
    monkeypatch.setattr("evenly.features.refining.hold.HELD", 40)
    record = refine(workspace, training=replace(TRAINING, hold=0.004))
    rows = run_in(workspace).ledger.table(record, "choice").to_pylist()
    moved = [max(row["noun_shift"], row["picture_shift"]) for row in rows]
    assert [row["allowed"] for row in rows] == [shift <= SLACK * 0.004 for shift in moved]
    assert len({row["allowed"] for row in rows}) == 2
    chosen = next(row for row in rows if row["chosen"])
    assert chosen["recall"] == max(row["recall"] for row in rows if row["allowed"])
    assert {name: record.notes[name] for name in (*SHIFTS, "hold_weight")} == {
        name: chosen[name] for name in (*SHIFTS, "hold_weight")
    }
    free = refine(workspace)
    assert free.key != record.key
    assert not {*SHIFTS, "hold_weight"} & set(free.notes)


def test_pictures_outside_the_pool_are_looked_for_among_its_own(workspace, manifest, tmp_path, evenly, monkeypatch):
    def encode_images(_self, images, *, progress):
        del progress
        return np.stack([word_vector(THINGS[image[0, 0, 0]]) for image in images]).astype(np.float32)

    monkeypatch.setattr(WordEncoder, "encode_images", encode_images, raising=False)
    Builds(workspace).promote(manifest["build"], recipe="some")
    recipe = tmp_path / "some.yaml"
    sources = [{"kind": "parquet", "path": "pool.parquet"}]
    recipe.write_text(yaml.safe_dump({"name": "some", "seed": 7, "sources": sources, "curate": {}}))
    folder = tmp_path / "others"
    folder.mkdir()
    for place, name in enumerate(THINGS):
        Image.new("RGB", (8, 8), (place, 0, 0)).save(folder / f"{place}.png")
        (folder / f"{place}.txt").write_text(name, encoding="utf-8")
    Image.new("RGB", (8, 8), (99, 0, 0)).save(folder / "silent.png")
    options = ("--epochs", 1, "--rank", 8, "--batch-size", 32, "--hold", 0, "--out", "mine", "--also", folder)
    shown = evenly("refine", recipe, *options, "--json")
    of = {(row["measure"], row["of"]): row for row in json.loads(shown.out)["measures"]}
    among = [of[f"{direction} R@1", "others among the pool's"] for direction in (TO_PICTURE, TO_TEXT)]
    assert [(row["n"], row["before"]) for row in among] == [(len(THINGS), 1), (len(THINGS), 1)]
    assert "1 pictures are left out beside those with captions: missing_caption" in shown.err
    assert "`--also` must be photographs" in evenly("refine", recipe, *options[:-1], "nothing", status=2).err


@pytest.mark.usefixtures("manifest")
def test_a_run_that_was_broken_off_goes_on_with_its_last_epoch_and_ends_alike(workspace, tmp_path, monkeypatch):
    trained = []
    train = refine_module.train_heads

    def dying(*given, **named):
        for epoch, heads, state in train(*given, **named):
            trained.append(epoch)
            yield epoch, heads, state
            if dying.at == epoch:
                raise KeyboardInterrupt

    monkeypatch.setattr(refine_module, "train_heads", dying)
    dying.at = 2
    with pytest.raises(KeyboardInterrupt):
        refine(workspace)
    dying.at = None
    (first, second) = sorted((workspace.refined / "running").rglob("*.safetensors"))
    data = bytearray(second.read_bytes())
    data[-100] ^= 4
    second.write_bytes(data)
    record = refine(workspace)
    assert trained == [1, 2, 2, 3, 4]  # what a bit of has changed is trained again
    assert not first.exists()
    assert not list((workspace.refined / "running").rglob("*.safetensors"))
    heads = heads_of(run_in(workspace), record, rule_of())
    other = type(workspace).at(tmp_path / "other")
    other.root.mkdir()
    for name in ("builds", "samples", "features", "split.csv"):
        (other.root / name).symlink_to(workspace.root / name)
    again = refine(other)
    assert again.output_hash == record.output_hash
    assert heads_of(run_in(other), again, rule_of()) == heads


@pytest.mark.parametrize("damage", ["gone", "changed"])
@pytest.mark.usefixtures("manifest")
def test_heads_that_are_gone_or_changed_are_trained_again_to_the_same_bits(workspace, damage):
    record, run = refine(workspace), run_in(workspace)
    heads = heads_of(run, record, rule_of())
    file = object_path(workspace.objects, record.notes["heads"])
    file.write_bytes(heads[:-1] + bytes([heads[-1] ^ 1])) if damage == "changed" else file.unlink()
    assert heads_of(run, record, rule_of()) == heads
    file.unlink()
    with pytest.raises(DamagedError, match="training again gives others"):
        heads_of(run, record, rule_of(training=TrainingRule(rank=4, epochs=1, batch_size=32)))


@pytest.mark.usefixtures("manifest")
def test_heads_where_53a9c8b_put_them_are_taken_over_with_the_same_bytes(workspace):
    record, run = refine(workspace), run_in(workspace)
    file = object_path(workspace.objects, record.notes["heads"])
    earlier = workspace.refined / "heads" / f"{record.notes['heads'][:32]}.safetensors"
    earlier.parent.mkdir(parents=True)
    heads = file.rename(earlier).read_bytes()
    assert heads_of(run, record, rule_of()) == file.read_bytes() == heads
    assert not earlier.exists()


@pytest.mark.usefixtures("manifest")
def test_what_cannot_be_is_refused_with_its_reason(workspace, monkeypatch):
    with pytest.raises(ValueError, match="`objective` must be one of contrastive"):
        RefineRule(build="some-1", objective="diffusion")
    with pytest.raises(
        ValueError, match="a sampler must stand with an objective that has negatives; got `clip_refine`"
    ):
        RefineRule(build="some-1", objective="clip_refine", sampler="unime")

    class Another(WordEncoder):
        identity = "f" * 64

    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: Another())
    with pytest.raises(InvalidFeaturesError, match="must be the encoder of the build"):
        refine(workspace)


@pytest.mark.usefixtures("manifest")
def test_an_objective_is_given_what_it_needs_or_the_build_is_refused(workspace):
    synonyms = {name: (f"yy{place}", f"xx{place}") for place, name in enumerate(THINGS)}
    described = dataclasses.replace(LIST, synonyms=synonyms)
    record = refine(workspace, objective="gkc", lists=(described,))
    assert record.notes["train_pairs"] > 100
    assert record.key != refine(workspace, lists=(described,)).key
    with pytest.raises(InputError, match="`build` must have labels with other names for `synonyms`"):
        refine(workspace, objective="gkc")
    assert refine(workspace, objective="mcip").notes["train_pairs"] > 100  # on its own captions alone
    with pytest.raises(InputError, match="`build` must have merged duplicates for `duplicates`"):
        refine(workspace, objective="clippings")
    with pytest.raises(NotFoundError, match=r"`features\.second` must name a second backbone"):
        refine(workspace, objective="un2clip")


def test_labels_are_trained_on_alone_and_class_lists_choose(workspace, monkeypatch):
    monkeypatch.setattr(refine_module, "label_rivals", lambda _parts: {})  # which takes seconds
    pictures = [
        Picture(
            f"qq{place}" if number % 2 else "",
            {name: 1.0, f"of {number}": 0.4},
            ("train", "train", "val", "test")[number // 2 % 4],
            f"a {name}",
        )
        for number in range(40)
        for place, name in enumerate(THINGS)
    ]
    Path(publish(workspace, pictures)).rename(workspace.root / "split.csv")
    lists = (dataclasses.replace(LIST, classes=tuple(f"qq{place}" for place in range(6)), template="{}"),)
    training = TrainingRule(rank=8, epochs=6, batch_size=10, learning_rate=3e-2)
    record = refine(workspace, objective="labelled", lists=lists, training=training)
    rows = run_in(workspace).ledger.table(record, "choice").to_pylist()
    chosen = next(row for row in rows if row["chosen"])
    assert chosen["zero_shot things"] == max(row["zero_shot things"] for row in rows if row["allowed"])
    assert chosen["zero_shot things"] > rows[0]["zero_shot things"] + 0.2
    assert chosen["recall"] <= rows[0]["recall"]  # by which the frozen encoder would have stayed
    parts = refining_parts(run_in(workspace), Builds(workspace).read("some-1"), lists)
    assert record.notes["train_pairs"] == (parts.pairs["train"].labels != "").sum() < len(parts.pairs["train"])
    with pytest.raises(InputError, match="`labelled` must be chosen by a class list with pictures in val"):
        refine(workspace, objective="labelled", lists=())


def put_teacher(workspace, name, adapter, **card):
    artifacts = fitted_adapters_of(workspace, "some-1", "things")
    put_adapter(artifacts, name, to_card(adapter) | card, to_arrays(adapter), made_of={}, force=True)


def test_pseudo_labels_are_those_of_a_fitted_adapter_and_no_own_label_is_read(workspace, manifest, monkeypatch):
    monkeypatch.setattr(refine_module, "label_rivals", lambda _parts: {})
    train = refining_parts(run_in(workspace), manifest, [LIST]).pairs["train"]
    texts = WordEncoder().encode_texts([LIST.said(name) for name in THINGS])
    rows = [to_unit_rows(one)[0].astype(np.float32) for one in (train.image, texts)]
    features = Features(
        image=rows[0], prototypes=rows[1], second=rows[0], unlabelled=rows[0], unlabelled_second=rows[0]
    )
    names, classes = np.arange(len(train)) % 6, THINGS[::-1]
    put_teacher(workspace, "backwards", ZeroShot().fit(features, names), classes=classes)
    taught = refining_parts(run_in(workspace), manifest, [LIST], needs=("named",), teacher="things/backwards")
    labels = taught.pairs["train"].labels
    assert labels.tolist() == [classes[place] for place in (rows[0] @ rows[1].T).argmax(axis=1)]
    assert not (labels == train.labels).any()
    assert taught.pairs["train"].named.texts.tolist() == sorted(map(LIST.said, THINGS))
    assert "" in taught.pairs["val"].labels

    asked = {"objective": "pseudo_labelled", "teacher": "things/backwards"}
    record = refine(workspace, **asked)
    assert record.notes["train_pairs"] == len(train)
    assert refine(workspace, **asked).key == record.key
    put_teacher(workspace, "backwards", ZeroShot().fit(features, names), classes=THINGS)
    assert refine(workspace, **asked).key != record.key
    with pytest.raises(NotFoundError, match=r"adapter `gda-names` must be in .*; it is not\. There: backwards"):
        refine(workspace, **asked | {"teacher": "things/gda-names"})
    put_teacher(workspace, "nola", NoLA(epochs=1).fit(features, names), classes=THINGS, second={"identity": "f" * 64})
    with pytest.raises(InputError, match=r"`features\.second` must be the one that `things/nola` was fitted on, ffff"):
        refine(workspace, **asked | {"teacher": "things/nola"})
    for wrong in ({"teacher": None}, {"objective": "labelled"}):
        with pytest.raises(ValueError, match="`teacher` must be a fitted adapter, LIST/NAME, where"):
            rule_of(**asked | wrong)


def test_too_small_a_build_is_refused(workspace):
    publish(workspace, [Picture("", {"cat": 1.0, f"of {n}": 0.5}, "train", f"a cat {n}") for n in range(30)])
    with pytest.raises(InputError, match="at least 20 pairs in val, by which it is chosen and judged"):
        refine(workspace, lists=())


def measures_of(workspace, record):
    rows = Ledger(workspace).table(record, "measures").to_pylist()
    return {(row["measure"], row["of"]): row for row in rows}


@pytest.mark.usefixtures("manifest")
def test_an_objective_that_learns_from_labels_stands_beside_a_logistic_regression(workspace, manifest):
    synonyms = {name: (f"yy{place}",) for place, name in enumerate(THINGS)}
    for objective, labels in {"mcip": True, "gkc": True, "labelled": True, "contrastive": False}.items():
        rows = measures_of(
            workspace, refine(workspace, objective=objective, lists=(dataclasses.replace(LIST, synonyms=synonyms),))
        )
        assert OBJECTIVES[objective].learns_labels is labels
        assert (("zero-shot against logistic regression", "things") in rows) is labels, objective
        assert (("picture to label mAP against logistic regression", "all pairs") in rows) is labels, objective
        if labels:
            row = rows["zero-shot against logistic regression", "things"]
            assert row["after"] == rows["zero-shot", "things"]["after"]
            assert row["difference"] == pytest.approx(row["after"] - row["before"], abs=2e-4)
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    parts = refining_parts(run_in(workspace), manifest, [LIST])
    train, val = (parts.pairs[part].rows(parts.pairs[part].labels != "") for part in ("train", "val"))
    test = parts.lists["test"]["things"]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train.image, val.image, test.image)]
    fits = [LogisticRegression(C=C, max_iter=1000).fit(unit[0], train.labels) for C in PENALTIES]
    best = max(fits, key=lambda fit: fit.score(unit[1], val.labels))
    rival = label_rivals(parts)["zero-shot", "things"]
    assert rival.mean == best.score(unit[2], np.array(THINGS)[test.labels])


def test_what_an_earlier_loss_refined_is_read_and_said_to_be_so(workspace, manifest, evenly, monkeypatch):
    heads = heads_of(run_in(workspace), refine(workspace), rule_of())
    card = {"base": WordEncoder.identity, "build": manifest["build"], "encoder": {"model": "embedded"}}
    notes = {"epoch": 3, "strength": 1.0}
    for name, loss, versions in (
        ("old", "clip_refine", {}),
        ("new", "clip_refine", {"objective": "2"}),
        ("c", "contrastive", {}),
    ):
        rule = {"objective": loss, "sampler": None, "training": {"rank": 8}}
        whole = {**card, "rule": rule, "notes": notes, "versions": versions}
        refined_encoders_of(workspace).put(name, whole, heads, made_of={}, force=True)
    monkeypatch.setenv("COLUMNS", "200")
    lines = evenly("encoders").out.splitlines()
    assert [
        sum("an earlier loss" in line for line in lines if f" {name} " in line) for name in ("old", "new", "c")
    ] == [1, 0, 0]
    said = []
    monkeypatch.setattr(Progress, "warn", lambda _self, text: said.append(text))
    for name in ("old", "new", "c"):
        tasks_encoders._refined_encoders.clear()
        assert open_encoder(run_in(workspace, encoder=EncoderChoice(refine=name))).dimension == WordEncoder.dimension
    assert len(said) == 1
    assert "`refine: old` was trained by an earlier `clip_refine`" in said[0]


@pytest.mark.usefixtures("manifest")
def test_another_loss_is_another_step_and_what_has_not_changed_keeps_its_key(workspace, monkeypatch):
    keys = {name: refine(workspace, objective=name).key for name in ("contrastive", "clip_refine")}
    monkeypatch.setattr(OBJECTIVES["clip_refine"], "version", 3)
    assert refine(workspace).key == keys["contrastive"]
    assert refine(workspace, objective="clip_refine").key != keys["clip_refine"]
    inputs = REFINE_ENCODER.inputs(run_in(workspace), (), rule_of())
    assert not any("version" in name or name == "rival" for name in inputs)


def test_a_refined_encoder_that_is_gone_changed_or_of_another_encoder_is_refused(workspace, manifest):
    heads = heads_of(run_in(workspace), refine(workspace), rule_of())
    refined = run_in(workspace, encoder=EncoderChoice(refine="mine"))
    with pytest.raises(NotFoundError, match=r"refined encoder `mine` must be in .* There: none"):
        open_encoder(refined)
    put(workspace, "0" * 63 + "1", heads)
    with pytest.raises(InputError, match="must stand with the encoder that it was made from, 000000000000"):
        open_encoder(refined)
    put(workspace, WordEncoder.identity, heads)
    assert open_encoder(refined).dimension == WordEncoder.dimension
    (path,) = workspace.objects.iterdir()
    path.write_bytes(heads[:-1] + bytes([heads[-1] ^ 1]))
    with pytest.raises(DamagedError, match="must hold the heads of refined encoder `mine`"):
        open_encoder(refined)
    assert manifest["build"] == "some-1"


def test_the_command_refines_says_what_changed_and_retrieval_takes_it(workspace, manifest, tmp_path, evenly):
    Builds(workspace).promote(manifest["build"], recipe="some")
    recipe = tmp_path / "some.yaml"
    sources = [{"kind": "parquet", "path": "pool.parquet"}]
    recipe.write_text(yaml.safe_dump({"name": "some", "seed": 7, "sources": sources, "curate": {}}))
    options = ("--epochs", 3, "--rank", 8, "--batch-size", 32, "--learning-rate", 0.01)
    plan = json.loads(evenly("refine", recipe, *options, "--out", "mine", "--plan", "--json").out)
    assert plan["parameters"] == 2 * 2 * 8 * WordEncoder.dimension
    assert plan["steps"] == 3 * (plan["train_pairs"] // 32)
    assert plan["total_s"] >= plan["steps"] * plan["step_s"] - 0.01 * plan["steps"]
    assert not workspace.refined.exists()
    assert "val of" in evenly("refine", recipe, *options, "--out", "mine", "--plan").out
    result = json.loads(evenly("refine", recipe, *options, "--out", "mine", "--json").out)
    assert result["name"] == "mine"
    assert result["train_pairs"] + result["val_pairs"] + result["test_pairs"] == 240
    assert "chosen on val" in evenly("refine", recipe, *options, "--out", "mine").out
    encoders = ("--encoder", "embedded", "--encoder", "embedded refine=mine")
    board = json.loads(evenly("leaderboard", recipe, *encoders, "--out", tmp_path / "board", "--json").out)
    before, after = (one["directions"][0]["auc"] for one in board["encoders"])
    assert after > before
    wrong = evenly("refine", recipe, "--objective", "diffusion", "--out", "other", status=2).err
    assert "must be one of contrastive, clip_refine" in wrong
    assert "`--learning-rate`" in evenly("refine", recipe, "--learning-rate", 0, "--out", "other", status=2).err
