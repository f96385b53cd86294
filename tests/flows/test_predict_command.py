"""`evenly predict` on adapters fitted on a folder of pictures, with a small random encoder made here."""

import csv
import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.adapters.evaluation.measures.classification import softmax
from evenly.demo.pictures.digits import NAMES
from evenly.flows.cli import app
from evenly.storage.files.arrays import read_arrays, write_arrays
from evenly.storage.records import read_record, replace_record
from tests.reported import report_errors

MODEL = "tiny-for-commands"


@pytest.fixture(scope="module")
def fitted(tiny_weights, digit_pictures, tmp_path_factory):
    """A folder with `digits.npz` of those pictures, and `linear`, `amu` and `cooked` fitted on it."""
    folder = tmp_path_factory.mktemp("fitted")
    model = ["--model", MODEL, "--pretrained", tiny_weights, "--second", MODEL, "--second-pretrained", tiny_weights]
    commands = [["extract", "--images", digit_pictures, *model, "--out", folder / "digits.npz", "--root", folder]]
    fit = ["fit", "--arrays", folder / "digits.npz", "--no-guard", "--adapter"]
    commands += [[*fit, name, "--out", folder / name] for name in ("linear", "amu", "cooked")]
    with pytest.MonkeyPatch.context() as patch:
        for command in commands:
            patch.setattr("sys.argv", ["evenly", *map(str, command)])
            assert report_errors(app) == 0
    return folder


@pytest.fixture
def predict(evenly, fitted):
    """Predict with one of the fitted adapters; the rows."""

    def run(adapter, images, *options):
        status, out, err = evenly("predict", fitted / adapter, images, *options, "--root", fitted, "--json")
        assert status == 0, err
        return json.loads(out)["predictions"]

    return run


def test_the_card_of_a_fit_carries_encoders_and_classes(fitted, tiny_weights):
    card = json.loads((fitted / "linear" / "adapter.json").read_text())
    identity = str(read_arrays(fitted / "digits.npz")["encoder"][2])
    assert card["encoder"] == {"model": MODEL, "pretrained": str(tiny_weights), "identity": identity}
    assert card["learned"]["encoder_"] == identity
    assert card["second"]["model"] == MODEL
    assert card["classes"] == sorted(NAMES)


@pytest.mark.parametrize("adapter", ["linear", "amu", "cooked"])
def test_predictions_are_the_test_logits_at_the_temperature_of_validation(predict, fitted, digit_pictures, adapter):
    card = json.loads((fitted / adapter / "adapter.json").read_text())
    groups = read_arrays(fitted / "digits.npz")["test_groups"].tolist()
    with np.load(fitted / adapter / "test_logits.npz") as file:
        expected = softmax(file["logits"] / card["temperature"])
    rows = {row["name"]: row for row in predict(adapter, digit_pictures, "--top", "3")}
    assert len(rows) == 120
    for name, row in rows.items():
        content = hashlib.sha256((digit_pictures / name).read_bytes()).hexdigest()
        if content in groups:
            probabilities = expected[groups.index(content)]
            best = [card["classes"][at] for at in np.argsort(-probabilities)[:3]]
            assert [one["class"] for one in row["top"]] == best
            assert row["class"] == best[0]
            assert row["confidence"] == pytest.approx(probabilities.max(), rel=1e-5)


def test_an_undetermined_temperature_is_said_and_not_divided_by(evenly, fitted, digit_pictures, tmp_path):
    """999.999 is what an older version wrote where the search ended at its bound."""
    picture = digit_pictures / "one/0001.png"

    def predicted(name, **changes):
        folder = tmp_path / name
        shutil.copytree(fitted / "linear", folder)
        replace_record(folder / "adapter.json", read_record(folder / "adapter.json") | changes)
        status, out, err = evenly("predict", folder, picture, "--root", fitted, "--json")
        assert status == 0, err
        said = json.loads(out)
        return (
            said["predictions"][0]["confidence"],
            said["note"],
            evenly("predict", folder, picture, "--root", fitted)[1],
        )

    as_they_are, note, text = predicted("one", temperature=1.0)
    assert note == ""
    for name, changes in {
        "bound": {"temperature": 999.999},
        "none": {"temperature": None, "temperature_why": "undetermined: no validation rows"},
    }.items():
        confidence, note, text = predicted(name, **changes)
        assert confidence == as_they_are
        assert note.startswith("temperature undetermined: ")
        assert note.endswith("confidences are of the logits as they are, uncalibrated")
        assert " ".join(note.split()) in " ".join(text.split())


def test_one_picture_and_a_parquet_of_bytes_say_the_same_as_a_folder(predict, digit_pictures, tmp_path):
    names = ["one/0001.png", "two/0002.png"]
    folder = {row["name"]: row["confidence"] for row in predict("linear", digit_pictures)}
    (single,) = predict("linear", digit_pictures / names[0])
    assert single["confidence"] == pytest.approx(folder[names[0]], rel=1e-5)
    content = [(digit_pictures / name).read_bytes() for name in names]
    pq.write_table(pa.table({"id": names, "image": content}), tmp_path / "a.parquet")
    rows = predict("linear", tmp_path / "a.parquet")
    assert [row["name"] for row in rows] == names
    assert rows[1]["confidence"] == pytest.approx(folder[names[1]], rel=1e-5)
    pq.write_table(pa.table({"scan": content}), tmp_path / "b.parquet")
    assert [row["name"] for row in predict("linear", tmp_path / "b.parquet", "--column", "scan")] == ["row 0", "row 1"]


@pytest.fixture
def mixed(digit_pictures, tmp_path):
    """Good, broken, empty and oddly named pictures."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("=1+2.png", "a.png", "two\nlines.png", "z [red].png", "\x1b[2J.png"):
        shutil.copy(digit_pictures / "one/0001.png", folder / name)
    (folder / "b broken.png").write_bytes(b"\x89PNG but not really")
    (folder / "c empty.png").touch()
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_picture_that_cannot_be_read_has_its_row_in_its_place(predict, mixed):
    rows = predict("linear", mixed)
    assert [row["name"] for row in rows] == sorted(path.name for path in mixed.glob("*.png"))
    broken = {row.pop("name"): row for row in rows if row["error"]}
    assert broken["b broken.png"]["error"].startswith("undecodable")
    assert broken["c empty.png"] == {"class": None, "confidence": None, "top": [], "error": "empty"}
    assert len(rows) - len(broken) == 5
    assert len({row["class"] for row in rows if not row["error"]}) == 1


def test_a_table_for_people_cannot_be_broken_by_names(evenly, fitted, mixed):
    status, out, _ = evenly("predict", fitted / "linear", mixed, "--root", fitted)
    assert status == 0
    assert "\x1b[2J" not in out
    assert "two\\nlines.png" in out
    assert "2 of 7 pictures could not be read" in out


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_written_rows_are_those_shown(predict, mixed, tmp_path, ending):
    path = tmp_path / "new" / f"p.{ending}"
    rows = predict("linear", mixed, "--out", path)
    if ending == "parquet":
        assert pq.read_table(path).to_pylist() == rows
    elif ending == "jsonl":
        assert [json.loads(line) for line in path.read_text().splitlines()] == rows
    else:
        with path.open(newline="") as stream:
            assert [row["name"] for row in csv.DictReader(stream)] == [row["name"] for row in rows]


def test_a_name_that_is_no_text_is_written_out(predict, digit_pictures, tmp_path):
    path = tmp_path / b"caf\xe9.png".decode(errors="surrogateescape")
    shutil.copy(digit_pictures / "one/0001.png", path)
    assert predict("linear", path, "--out", tmp_path / "p.csv")[0]["name"] == "caf\\udce9.png"


@pytest.fixture
def predict_changed(evenly, fitted, digit_pictures, tmp_path):
    """Predict with an adapter in whose card something else stands."""

    def run(adapter, change):
        shutil.copytree(fitted / adapter, tmp_path / "o")
        card = read_record(tmp_path / "o" / "adapter.json")
        replace_record(tmp_path / "o" / "adapter.json", card | change(card))
        return evenly("predict", tmp_path / "o", digit_pictures / "one/0001.png", "--root", fitted, "--json")

    return run


@pytest.mark.parametrize(
    ("adapter", "change", "words"),
    [
        ("linear", lambda _: {"encoder": None}, "must name the encoder of its features"),
        ("amu", lambda _: {"second": None}, "must name the second backbone of its features"),
        (
            "linear",
            lambda card: {"encoder": card["encoder"] | {"identity": "0" * 64}},
            "must be the one of the fit, 00",
        ),
        ("amu", lambda card: {"second": card["second"] | {"identity": "0" * 64}}, "the second backbone `tiny-for-c"),
    ],
)
def test_pictures_are_refused_where_the_encoder_is_another_or_unknown(predict_changed, adapter, change, words):
    status, _, err = predict_changed(adapter, change)
    assert (status, len(err.splitlines())) == (2, 1)
    assert words in err


def test_a_second_backbone_is_not_asked_for_where_the_adapter_uses_none(predict_changed):
    assert predict_changed("linear", lambda _: {"second": None})[0] == 0


def test_other_endings_and_missing_things_are_named(evenly, fitted, digit_pictures, tmp_path):
    place = ["--root", tmp_path]
    status, _, err = evenly("predict", fitted / "linear", digit_pictures, "--out", tmp_path / "a.xlsx", *place)
    assert (status, "must be a file that ends in .csv" in err) == (2, True)
    status, _, err = evenly("predict", fitted / "none.json", digit_pictures, *place)
    assert (status, "adapter `none` must be in" in err) == (1, True)
    status, _, err = evenly("predict", fitted / "linear", tmp_path / "nothing", *place)
    assert (status, "`images` must be a folder" in err) == (2, True)


def test_a_ranking_head_scores_pictures(evenly, fitted, digit_pictures, tmp_path):
    arrays = read_arrays(fitted / "digits.npz")
    kept = {key: arrays[key] for key in ("train_features", "val_features", "encoder")}
    values = {f"{part}_values": arrays[f"{part}_labels"].astype(np.float32) for part in ("train", "val")}
    write_arrays(tmp_path / "a.npz", kept | values | {"prototypes": arrays["prototypes"][[0, 5]]})
    fit = ["fit", "--arrays", tmp_path / "a.npz", "--adapter", "ranking", "--no-guard", "--out", tmp_path / "o"]
    assert evenly(*fit)[0] == 0
    _, out, _ = evenly("predict", tmp_path / "o", digit_pictures / "one", "--root", fitted, "--json")
    rows = json.loads(out)["predictions"]
    assert len(rows) == len(list((digit_pictures / "one").iterdir()))
    assert all(isinstance(row["score"], float) and row["error"] == "" for row in rows)


@pytest.mark.slow
@pytest.mark.embedded
def test_the_embedded_encoder_goes_all_the_way(evenly, digit_pictures, tmp_path):
    few = tmp_path / "few"
    for path in sorted(digit_pictures.rglob("*.png"))[::4]:
        (few / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, few / path.parent.name)
    place = ["--root", tmp_path / "w"]
    template = ["--template", "the handwritten digit {}"]
    assert evenly("extract", "--images", few, *template, "--out", tmp_path / "few.npz", *place)[0] == 0
    fit = ["fit", "--arrays", tmp_path / "few.npz", "--adapter", "gda", "--no-guard", "--out", tmp_path / "o"]
    assert evenly(*fit)[0] == 0
    status, out, err = evenly("predict", tmp_path / "o", few / "one", *place, "--json")
    assert status == 0, err
    assert all(row["class"] in NAMES and not row["error"] for row in json.loads(out)["predictions"])


@pytest.fixture
def described(fitted, evenly, tmp_path):
    """`vcd` fitted on the same pictures, three texts to a class but one for the first, whose words its card has."""
    arrays = dict(read_arrays(fitted / "digits.npz"))
    rows, classes = arrays["train_features"], arrays["train_labels"]
    texts = [(c, row) for c in range(10) for row in rows[classes == c][: 1 if c == 0 else 3]]
    arrays |= {"class_texts": np.stack([row for _, row in texts]), "class_text_labels": np.array([c for c, _ in texts])}
    np.savez(tmp_path / "described.npz", **arrays)
    fit = ("fit", "--arrays", tmp_path / "described.npz", "--no-guard", "--adapter", "vcd", "--out", tmp_path / "vcd")
    assert evenly(*fit)[0] == 0
    card = read_record(tmp_path / "vcd" / "adapter.json")
    card["class_texts"] = [f"{card['classes'][c]}, which has mark {n}" for n, (c, _) in enumerate(texts)]
    replace_record(tmp_path / "vcd" / "adapter.json", card)
    return tmp_path / "vcd"


def test_an_explanation_gives_the_texts_that_made_the_class_and_the_runner_up_s(
    described, fitted, evenly, mixed, tmp_path
):
    ask = ("predict", described, mixed, "--root", fitted, "--explain")
    rows = json.loads(evenly(*ask, "--json")[1])["predictions"]
    row = next(row for row in rows if row["name"] == "a.png")
    sides = {side: [one for one in row["explanation"] if one["side"] == side] for side in ("class", "runner-up")}
    assert [one["side"] for one in row["explanation"]] == ["class"] * len(sides["class"]) + ["runner-up"] * len(
        sides["runner-up"]
    )
    for side, best in zip(("class", "runner-up"), row["top"], strict=False):
        assert {one["class"] for one in sides[side]} == {best["class"]}
        assert len(sides[side]) == (1 if best["class"] == min(NAMES) else 3)
        assert all(one["text"].startswith(f"{best['class']}, which has mark ") for one in sides[side])
        scores = [one["similarity"] for one in sides[side]]
        assert scores == sorted(scores, reverse=True)
    means = [np.mean([one["similarity"] for one in some]) for some in sides.values()]
    card = json.loads((described / "adapter.json").read_text())
    odds = np.log(row["top"][0]["probability"] / row["top"][1]["probability"])
    assert odds == pytest.approx(100 * (means[0] - means[1]) / (card["temperature"] or 1.0), abs=1e-3)
    assert next(row for row in rows if row["error"])["explanation"] == []
    for suffix in ("csv", "jsonl", "parquet"):
        assert evenly(*ask, "--out", tmp_path / f"p.{suffix}")[0] == 0
    table = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert [one["explanation"] for one in table] == [one["explanation"] for one in rows]
    with (tmp_path / "p.csv").open(newline="") as stream:
        cells = {one["name"]: one["explanation"] for one in csv.DictReader(stream)}
    first = row["explanation"][0]
    assert cells["a.png"].startswith(f"{first['class']}: {first['text']}={first['similarity']:.4f}; ")
    shown = evenly(*ask)[1]
    assert "why a.png" in shown
    assert "which has mark" in shown


def test_an_explanation_of_an_adapter_that_judges_by_no_texts_is_refused(evenly, fitted, mixed):
    status, _, err = evenly("predict", fitted / "linear", mixed, "--root", fitted, "--explain")
    assert status == 2
    assert "`--explain` must get an adapter that judges by descriptions, vcd; got" in err
