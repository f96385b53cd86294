"""What curation is worth: other builds of a pool are judged on the same held-out pairs, none of which they train on."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from evenly.demo.errors import FolderError
from evenly.demo.pictures.photographs import PHOTOGRAPHS, make_photographs
from evenly.features.pictures.rgb import open_rgb
from evenly.features.refining.training import TrainingRule
from evenly.flows.measure_worth import LEFT_OUT, _variants, _without
from evenly.flows.other_pictures import other_pictures
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.files import DEMO
from evenly.flows.recipe.steps import steps_of
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.tasks.progress import Progress
from evenly.tasks.refining import worth as worth_module
from evenly.tasks.refining.outside import OtherPictures, other_inputs, other_rows
from evenly.tasks.refining.pairs import GuardedList
from evenly.tasks.refining.worth import (
    BEFORE_BALANCE,
    MEASURE_WORTH,
    PoolVariant,
    Seeds,
    WorthRule,
    frozen_variant,
    hold_out,
    judge_variant,
    training_pairs,
    worth_table,
)
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from tests.labelled_build import DIMENSION, Picture, WordEncoder, publish

THINGS = ("cat", "dog", "ship", "whale", "tree", "house")
RULE = TrainingRule(rank=8, epochs=15, batch_size=16, learning_rate=1e-2)


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


def pictures(captions):
    return [
        Picture("", {name: 1.0, f"of {number}": 0.4}, "", captions(place, number))
        for number in range(30)
        for place, name in enumerate(THINGS)
    ]


@pytest.fixture
def builds(workspace):
    """A build with a made-up word for each thing, and another of the same pool whose captions say nothing."""
    clean = pictures(lambda place, number: f"zz{place} by hand {number % 3}")
    dirty = pictures(lambda place, number: f"zz{(place * 7 + number) % 6} by hand {number % 3}")
    publish(workspace, clean)
    whole = Builds(workspace).read("some-1")
    publish(workspace, dirty, build="some-2")
    return whole, Builds(workspace).read("some-2")


@pytest.fixture
def run(workspace):
    return Run(workspace=workspace, seed=7, progress=Progress(quiet=True))


@dataclass
class Trained:
    """The seeds of which heads were trained, in order, and how many there may be before the run is broken off."""

    seeds: list[int] = field(default_factory=list)
    most: int | None = None


@pytest.fixture
def trained(monkeypatch):
    log, train = Trained(), worth_module.train_heads

    def counting(*given, seed, **named):
        if len(log.seeds) == log.most:
            raise KeyboardInterrupt
        log.seeds.append(seed)
        yield from train(*given, seed=seed, **named)

    monkeypatch.setattr(worth_module, "train_heads", counting)
    return log


def rule_of(**changed):
    variants = (PoolVariant(name="wrong captions", build="some-2"),)
    return WorthRule(**{"build": "some-1", "variants": variants, "seeds": 2, "training": RULE} | changed)


def test_clean_captions_are_worth_more_than_wrong_ones_and_no_held_out_pair_is_trained_on(run, builds):
    held_out = hold_out(run, builds[0], ())
    train = held_out.parts.pairs["train"]
    others = training_pairs(run, builds[1], held_out)
    held = {name for part in ("val", "test") for name in held_out.parts.pairs[part].groups.tolist()}
    assert not set(others.groups.tolist()) & held
    assert set(others.uids.tolist()) == set(train.uids.tolist())
    seeds = Seeds(run=run, rule=RULE, count=100, numbers=(1, 2))
    variants = [judge_variant(name, pairs, held_out, seeds) for name, pairs in (("clean", train), ("wrong", others))]
    rows = worth_table([*variants, frozen_variant(held_out)], seed=0)
    values = {(row["pairs"], row["measure"]): row for row in rows if row["of"] == "all pairs"}
    wrong = values["wrong", "picture to text R@1"]
    assert wrong["difference_high"] < 0
    assert wrong["value"] < values["clean", "picture to text R@1"]["value"]
    assert (wrong["trained"], wrong["available"]) == (100, len(train))
    assert values["clean", "picture to text R@1"]["difference"] == 0
    again = judge_variant("clean", train.rows(np.arange(len(train))[::-1]), held_out, seeds)
    assert worth_table([again], seed=0) == worth_table(variants[:1], seed=0)


@pytest.mark.usefixtures("builds")
def test_a_run_that_was_broken_off_goes_on_and_a_second_one_trains_nothing(run, trained):
    trained.most = 3
    with pytest.raises(KeyboardInterrupt):
        run_step(run, MEASURE_WORTH, (), rule_of())
    assert trained.seeds == [1, 2, 1]
    (stored, *_) = sorted(run.workspace.objects.glob("*.safetensors"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"\0")
    trained.most = None
    record = run_step(run, MEASURE_WORTH, (), rule_of())
    assert len(trained.seeds) == 5  # the last one, and the one of which a bit had changed
    assert run_step(run, MEASURE_WORTH, (), rule_of()).key == record.key
    more = run_step(run, MEASURE_WORTH, (), rule_of(seeds=3))
    assert trained.seeds[5:] == [3, 3]
    assert more.key != record.key
    for path in (run.workspace.refined / "worth").iterdir():
        path.unlink()
    rows = worth_module.compare_variants(run, (), rule_of()).tables["worth"]
    assert rows.to_pylist() == run.ledger.table(record, "worth").to_pylist()


def test_pairs_that_balancing_dropped_are_judged_too_and_never_trained_on(run, workspace):
    everyone = pictures(lambda place, number: f"zz{place} by hand {number % 3}")
    publish(workspace, everyone[:120])
    publish(workspace, everyone, build="some-2")
    balanced, unbalanced = (Builds(workspace).read(f"some-{number}") for number in (1, 2))
    held_out = hold_out(run, balanced, (), unbalanced=unbalanced)
    test, further = set(held_out.parts.pairs["test"].uids), set(held_out.parts.further[BEFORE_BALANCE].uids)
    assert test < further
    assert not further & set(training_pairs(run, unbalanced, held_out).uids)
    assert {of for _, of in frozen_variant(held_out).correct} == {"all pairs", BEFORE_BALANCE}


def test_a_picture_that_is_held_out_is_trained_on_in_no_pair(run, builds, monkeypatch):
    kept_pairs = worth_module.kept_pairs
    held_out = hold_out(run, builds[0], ())
    shown = kept_pairs(run, builds[0])["image_id"].to_pylist()
    test, train = (held_out.parts.pairs[part].uids.tolist() for part in ("test", "train"))

    def with_another_pair(run, manifest):
        """The first pair to train on has the picture of a test pair."""
        kept = kept_pairs(run, manifest)
        ids = [test[0] if uid == train[0] else one for uid, one in zip(kept["uid"].to_pylist(), shown, strict=True)]
        return kept.set_column(kept.schema.get_field_index("image_id"), "image_id", pa.array(ids))

    monkeypatch.setattr(worth_module, "kept_pairs", with_another_pair)
    assert set(training_pairs(run, builds[1], held_out).uids) == set(train[1:])


@pytest.mark.usefixtures("builds")
def test_too_few_pairs_are_a_reason_and_no_failure(run, workspace):
    publish(workspace, pictures(lambda *_: "one")[:12], build="some-3")
    few = run_step(run, MEASURE_WORTH, (), rule_of(seeds=1, variants=(PoolVariant(name="few", build="some-3"),)))
    assert "`batch_size` must be at most" in few.notes["skipped"]["few"]
    assert {row["pairs"] for row in run.ledger.table(few, "worth").to_pylist()} == {
        "the whole pipeline",
        "frozen encoder",
    }


class Shades(WordEncoder):
    """Pictures that are seen as the text "a photo of a", and the name of their colour."""

    def encode_images(self, images, *, progress=None):
        del progress
        opened = [open_rgb(one) if isinstance(one, bytes) else Image.fromarray(one) for one in images]
        colours = [one.getpixel((0, 0)) for one in opened]
        return self.encode_texts([f"a photo of a {'red' if red else 'blue'}" for red, _, _ in colours])


def test_pictures_of_another_kind_are_encoded_once_and_named_by_their_folders(run, tmp_path, monkeypatch, builds):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: Shades())
    for name, colour in (("red", "#ff0000"), ("blue", "#0000ff"), ("green", "#0000fe")):
        (tmp_path / "kinds" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), colour).save(tmp_path / "kinds" / name / "1.png")
    (tmp_path / "kinds" / "red" / "2.png").write_bytes(b"no picture")
    other = other_pictures(run.cache, [str(tmp_path / "kinds")])[0]
    rows = other_rows(run, other)
    assert (rows.image.shape, rows.texts.shape) == ((3, DIMENSION), (3, DIMENSION))

    def none_is_left(_self, images, *, progress):
        del progress
        assert not list(images)
        return np.empty((0, DIMENSION), np.float32)

    monkeypatch.setattr(Shades, "encode_images", none_is_left)
    assert np.array_equal(other_rows(run, other).image, rows.image)
    held_out = hold_out(run, builds[0], (), other_pictures={"kinds": rows})
    named = frozen_variant(held_out).correct["zero-shot", "kinds"]
    assert sorted(named.values.tolist()) == [0, 1, 1]  # green looks blue
    before = other_inputs([other])
    (tmp_path / "kinds" / "red" / "1.png").rename(tmp_path / "kinds" / "blue" / "3.png")
    assert other_inputs([other]) != before
    with pytest.raises(InputError, match="`also` must be photographs, digits, or a folder"):
        other_pictures(run.cache, [str(tmp_path / "nothing")])
    (tmp_path / "apart" / "kinds").mkdir(parents=True)
    with pytest.raises(InputError, match="`also` must be pictures of different names; got `kinds` twice"):
        other_pictures(run.cache, [str(tmp_path / "kinds"), str(tmp_path / "apart" / "kinds")])
    (tmp_path / "broken" / "red").mkdir(parents=True)
    (tmp_path / "broken" / "red" / "2.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="must hold pictures that can be decoded; got none"):
        other_rows(run, OtherPictures(name="broken", folder=str(tmp_path / "broken")))


def test_pictures_under_the_name_of_others_or_of_a_class_list_are_refused():
    one = OtherPictures(name="things", folder="a/things")
    for given in (
        {"others": (one, OtherPictures(name="things", folder="b/things"))},
        {"others": (one,), "lists": (GuardedList(list="things"),)},
    ):
        with pytest.raises(InputError, match="got `things` twice"):
            rule_of(**given)


def test_photographs_are_those_of_packages_and_another_folder_is_refused(tmp_path):
    make_photographs(tmp_path)
    make_photographs(tmp_path)
    files = [path for path in tmp_path.rglob("*.*g") if path.is_file()]
    assert {path.parent.name for path in files} == set(PHOTOGRAPHS)
    (tmp_path / "cat" / "mine.png").touch()
    with pytest.raises(FolderError, match=r"got `cat/mine\.png`"):
        make_photographs(tmp_path)


def test_a_build_of_another_pool_has_nothing_to_train_on(run, builds):
    held_out = hold_out(run, builds[0], ())
    every = type(held_out)(
        parts=held_out.parts, group_of=held_out.group_of, part_of=dict.fromkeys(held_out.group_of.values(), "test")
    )
    with pytest.raises(InputError, match="`some-2` must keep pairs to train on"):
        training_pairs(run, builds[1], every)


def test_each_step_of_the_demo_is_left_out_in_turn_and_the_rest_stands():
    recipe = read_recipe(DEMO)
    whole = [step.name for step, _ in steps_of(recipe)]
    sections = {short: left_out for _, short, left_out in _variants(recipe)}
    variants = {short: _without(recipe, short, left_out) for short, left_out in sections.items()}
    assert set(variants) - {"everything"} <= set(LEFT_OUT)
    assert {"text", "match", "image", "deduplicate", "recaption", "align", "balance"} <= set(variants)
    labels = {short: name for name, short, _ in _variants(recipe)}
    assert labels["match"] == "without match and so preselect, recaption, balance"
    assert labels["align"] == "without align"
    names = {short: [step.name for step, _ in steps_of(one)] for short, one in variants.items()}
    assert all(set(left) <= set(whole) for left in names.values())
    assert variants["image"].curate.image == {}
    assert "check_texts" not in names["text"]
    assert "balance" not in names["balance"]
    assert not {"match_concepts", "recaption", "balance"} & set(names["match"])
    assert not {"check_texts", "align", "balance", "recaption"} & set(names["everything"])
    assert len({one.name for one in variants.values()} | {recipe.name}) == len(variants) + 1
    long = recipe.model_copy(update={"name": "x" * 63})
    assert {_without(long, name, ("balance", "preselect")).name for name in ("balance", "image_based")} == {
        f"{'x' * 47}-without-balance", f"{'x' * 43}-without-image-based",
    }  # fmt: skip


def test_the_command_shows_a_table_per_judged_set_and_marks_what_is_sure(capsys):
    from evenly.flows.cli.encoders.refine import print_worth

    def row(pairs, measure, of, ends):
        values = {"value": 0.5, "difference_low": ends[0], "difference_high": ends[1]}
        return {"pairs": pairs, "trained": 8, "measure": measure, "of": of, **values}

    rows = [
        row("all", "text to picture R@10", "all pairs", (0.0, 0.0)),
        row("all", "right caption before wrong", "colour", (0.0, 0.0)),
        row("less", "text to picture R@10", "all pairs", (-0.2, -0.1)),
        row("less", "right caption before wrong", "colour", (0.1, 0.2)),
        row("none", "right caption before wrong", "colour", (-0.1, 0.2)),
    ]
    about = {
        "build": "b-1",
        "seeds": 2,
        "trained": 8,
        "out": "out",
        "report": "b-1.html",
        "skipped": {"x": "It cannot."},
    }
    print_worth({**about, "rows": rows})
    shown = capsys.readouterr().out
    assert "0.500 [-0.200, -0.100]" in shown
    assert shown.count("0.500*") == 1
    assert "x: not made. It cannot." in shown
