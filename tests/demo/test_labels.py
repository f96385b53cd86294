from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evenly.demo.errors import DemoError
from evenly.demo.labels import LABELS_FILE, class_labels, label_table
from evenly.demo.names import toneless
from evenly.demo.pictures.duplicates import find_twins
from evenly.demo.pictures.openmoji import list_codes

CLASSES_FILE = LABELS_FILE.with_name("demo_classes.txt")


@pytest.fixture(scope="module")
def labels():
    return class_labels()


def test_classes_are_those_of_the_class_list(labels):
    names = [line.split("\t")[0] for line in CLASSES_FILE.read_text().splitlines()]
    assert 15 <= len(names) == len(set(names)) <= 30
    assert {label for label, _ in labels.values()} == set(names)


def test_each_class_names_its_synset():
    from evenly.storage.files.wordnets import load_noun_synsets

    synsets = load_noun_synsets()
    lemmas = dict(zip(synsets["synset"].to_pylist(), synsets["lemmas"].to_pylist(), strict=True))
    for line in CLASSES_FILE.read_text().splitlines():
        name, synset = line.split("\t")
        assert name in lemmas[synset]


def test_codes_are_pictures_without_skin_tone(labels):
    codes = set(list_codes())
    assert set(labels) <= codes
    assert all(code == toneless(code) for code in labels)


def test_every_class_has_groups_for_three_splits(labels):
    groups = defaultdict(set)
    for label, group in labels.values():
        groups[label].add(group)
    sizes = Counter({label: len(members) for label, members in groups.items()})
    assert min(sizes.values()) >= 9
    assert sum(size >= 15 for size in sizes.values()) >= 20


def test_a_group_has_one_class(labels):
    classes = defaultdict(set)
    for label, group in labels.values():
        classes[group].add(label)
    assert all(len(found) == 1 for found in classes.values())


@pytest.mark.slow
def test_pictures_drawn_alike_are_in_one_group(labels):
    found = defaultdict(set)
    for code, first in find_twins(sorted(labels)).items():
        found[first].add(labels[code])
    assert found
    assert all(len(groups) == 1 for groups in found.values())


def test_tone_variants_and_duplicates_follow_their_picture():
    urls = {"http://a.test/1": "1F3C3-1F3FF", "http://b.test/1": "1F3C3", "http://a.test/2": "1F600"}
    table = label_table(urls, {"1F3C3": ("person", "1F3C3")})
    assert table.to_pylist() == [
        {"url": "http://a.test/1", "label": "person", "group": "1F3C3"},
        {"url": "http://b.test/1", "label": "person", "group": "1F3C3"},
    ]


def test_a_pool_without_labelled_pictures_gives_an_empty_table():
    table = label_table({"http://a.test/2": "1F600"}, {})
    assert (table.num_rows, table.column_names) == (0, ["url", "label", "group"])


def test_the_made_labels_are_unique_by_url(web_folder):
    table = pq.read_table(web_folder / "labels.parquet")
    assert table.num_rows == len(set(table["url"].to_pylist())) > 0


def test_a_code_that_stands_twice_is_refused(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("code,class,group\n1F600,face,1F600\n1F600,smile,1F600\n")
    with pytest.raises(DemoError, match="got 1 twice"):
        class_labels(path)
