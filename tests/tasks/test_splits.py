import pytest

from evenly.storage.errors import InputError
from evenly.tasks.run import Run
from evenly.tasks.splits import describe_split, split_of_build


@pytest.fixture
def run(workspace):
    workspace.root.mkdir(parents=True, exist_ok=True)
    (workspace.root / "split.csv").write_text("key,part\na,train\nb,test\n")
    return Run(workspace=workspace, seed=1)


def test_a_split_is_known_by_what_it_says_and_found_by_the_path_as_written(run):
    given = describe_split(run, "{root}/split.csv")
    assert given["path"] == "{root}/split.csv"
    (run.workspace.root / "other.csv").write_text("part,key\r\ntrain,a\r\ntest,b\r\n")
    assert describe_split(run, "{root}/other.csv")["sha256"] == given["sha256"]
    assert split_of_build(run, {"build": "x-1", "split": given}) == "{root}/split.csv"


@pytest.mark.parametrize("manifest", [{"build": "x-1"}, {"build": "x-1", "split": None}])
def test_a_build_without_a_split_has_none(run, manifest):
    assert split_of_build(run, manifest) is None


def test_a_split_that_is_gone_or_says_something_else_is_refused(run):
    manifest = {"build": "x-1", "split": describe_split(run, "{root}/split.csv")}
    (run.workspace.root / "split.csv").write_text("key,part\na,test\nb,train\n")
    with pytest.raises(InputError, match=r"must be the file that build `x-1` was made with.*Restore the file"):
        split_of_build(run, manifest)
    (run.workspace.root / "split.csv").unlink()
    with pytest.raises(InputError, match=r"`split` must be a file; got `.*split.csv`.* Build `x-1` was made with"):
        split_of_build(run, manifest)
