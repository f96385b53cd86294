import io
import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from evenly.features.dense.detector import DetectorRule, OnnxDetector
from evenly.features.errors import OnnxModelError
from tests.features.dense.drawn_detector import SIDE, write_detector


def png(picture, **options):
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def drawn(size, *blocks):
    """A black picture with coloured blocks."""
    picture = Image.new("RGB", size)
    for colour, box in blocks:
        picture.paste(colour, box)
    return png(picture)


RED, BLUE, DARK = (255, 0, 0), (0, 0, 255), (102, 0, 0)
WIDE = drawn((128, 64), (RED, (32, 16, 48, 32)), (BLUE, (96, 48, 112, 64)), (DARK, (0, 0, 16, 16)))


@pytest.mark.parametrize("place", ["corner", "middle"])
@pytest.mark.parametrize("output", ["yolo", "columns", "objectness", "rows", "boxes"])
def test_boxes_of_every_form_lie_where_the_things_are_in_the_picture(tmp_path, output, place):
    file = write_detector(tmp_path / "d.onnx", output)
    form = output if output in ("rows", "boxes") else "yolo"
    names = ("red", "blue") if form == "boxes" else None
    detector = OnnxDetector(
        DetectorRule(file=str(file), name="tiny", output=form, place=place, names=names, min_score=0.45)
    )
    regions = detector.regions([b"none", WIDE])
    seen = regions.of_picture(1).kept  # not what margins look like
    boxes = {tuple(box): label for box, label in zip(seen.boxes.tolist(), seen.labels, strict=True)}
    assert boxes == {(32, 16, 48, 32): "red", (96, 48, 112, 64): "blue"}  # not what scores .4
    assert regions.reasons[0] == "unreadable"
    assert set(regions.sources) == {"detector:tiny"}
    assert regions.scores[1] == pytest.approx(0.47 if output == "objectness" else 0.94, abs=0.01)  # of soft edges


def test_what_is_found_beside_the_picture_stays_with_its_reason(tmp_path):
    detector = OnnxDetector(DetectorRule(file=str(write_detector(tmp_path / "d.onnx")), min_score=0.4))
    regions = detector.regions([drawn((128, 64))])  # the grey of the margins scores .447
    assert len(regions) == 32
    assert set(regions.reasons) == {"outside"}


def test_a_picture_has_the_same_boxes_alone_and_turned_by_its_tag(tmp_path):
    detector = OnnxDetector(DetectorRule(file=str(write_detector(tmp_path / "d.onnx")), place="corner", min_score=0.5))
    exif = Image.Exif()
    exif[274] = 6  # shown turned by a quarter, clockwise
    turned = Image.open(io.BytesIO(WIDE)).transpose(Image.Transpose.ROTATE_90)
    together = detector.regions([png(Image.new("RGB", (9, 900), "red")), WIDE, png(turned, exif=exif)])
    alone = detector.regions([WIDE])
    for place in (1, 2):
        assert together.of_picture(place).rows() == alone.rows()


def value(name, kind=TensorProto.FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(nodes, constants=(), own=(), outputs=None):
    graph = helper.make_graph(
        nodes, "g", [value("images", shape=[1, 3, SIDE, SIDE])], outputs or [value("rows")], constants
    )
    versions = [helper.make_opsetid("", 13), *(helper.make_opsetid(name, 1) for name in own)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8).SerializeToString()


def table_detector(path, table, **rule):
    """A detector that gives one table for any picture."""
    node = helper.make_node("Constant", [], ["rows"], value=onnx.numpy_helper.from_array(np.array(table, np.float32)))
    path.write_bytes(model_of([node]))
    return OnnxDetector(DetectorRule(file=str(path), output="rows", names=("a", "b"), **rule))


PICTURE = drawn((SIDE, SIDE))
TABLE = [[0, 0, 10, 10, 0.6, 0], [0, 0, 10, 8, 0.9, 0], [0, 0, 10, 9, 0.8, 1], [20, 20, 30, 30, 0.3, 7]]


@pytest.mark.parametrize(
    ("rule", "scores"),
    [({}, [0.9, 0.8, 0.6, 0.3]), ({"overlap": 0.5}, [0.9, 0.8, 0.3]), ({"overlap": 0.5, "across": True}, [0.9, 0.3]),
     ({"overlap": 0.8}, [0.9, 0.8, 0.6, 0.3]), ({"min_score": 0.7}, [0.9, 0.8])],
)  # fmt: skip
def test_of_boxes_that_overlap_the_one_of_the_higher_score_stays(tmp_path, rule, scores):
    regions = table_detector(tmp_path / "d.onnx", TABLE, **rule).regions([PICTURE])
    assert regions.scores.tolist() == scores
    assert regions.labels.tolist()[-1] == ("7" if scores[-1] == 0.3 else "b")


@pytest.mark.parametrize(
    ("table", "reasons"),
    [
        ([[0, 0, 9, 9, np.nan, 0]], ["bad_output"]), ([[0, 0, np.inf, 9, 0.5, 0]], ["not_a_box"]),
        ([[9, 0, 9, 9, 0.5, 0]], ["not_a_box"]), ([[70, 0, 90, 9, 0.5, 0]], ["outside"]), (np.zeros((0, 6)), []),
        ([[0, 0, 9, 9, 0.5, 1e30]], [""]), ([[0, 0, 9, 9, 0.5, np.nan]], [""]),
        (np.tile([0, 0, 9, 9, 0.5, 0], (1_001, 1)), ["too_many_regions"]),
    ],
)  # fmt: skip
def test_outputs_that_are_no_boxes_have_a_reason(tmp_path, table, reasons):
    assert table_detector(tmp_path / "d.onnx", table).regions([PICTURE]).reasons.tolist() == reasons


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (3, 5), (100_001, 6)])
def test_outputs_of_another_form_are_refused_by_name(tmp_path, shape):
    with pytest.raises(OnnxModelError, match=r"d\.onnx` must give a table of 6 columns of floats; got float32"):
        table_detector(tmp_path / "d.onnx", np.zeros(shape)).regions([PICTURE])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"names": None}, "must name its classes; got None. Give `names`"),
        ({"names": ("a", "b", "c", "d")}, "must give a table of 8 or 9 columns"),
        ({"side": 320}, r"must have a square input of one size, 16 to 4096 pixels; got `\[320\]` and \[64, 64\]"),
        ({"output": "boxes"}, "must have outputs boxes, scores, labels; got across"),
    ],
)
def test_a_rule_that_does_not_fit_its_file_is_refused_by_name(tmp_path, rule, message):
    file = write_detector(tmp_path / "d.onnx", names=False)
    with pytest.raises(OnnxModelError, match=message):
        OnnxDetector(DetectorRule(file=str(file), **{"names": ("red", "blue"), **rule})).regions([PICTURE])


def test_boxes_of_another_type_are_refused_by_name(tmp_path):
    texts = onnx.numpy_helper.from_array(np.array(["a"], object), "t")
    table = onnx.numpy_helper.from_array(np.zeros((1, 4), np.float32), "b")
    nodes = [helper.make_node("Constant", [], [name], value=texts) for name in ("scores", "labels")]
    nodes.append(helper.make_node("Constant", [], ["boxes"], value=table))
    outputs = [value("boxes"), *(value(name, TensorProto.STRING) for name in ("scores", "labels"))]
    (tmp_path / "d.onnx").write_bytes(model_of(nodes, outputs=outputs))
    with pytest.raises(OnnxModelError, match=r"must give boxes \(n, 4\) and scores"):
        OnnxDetector(DetectorRule(file=str(tmp_path / "d.onnx"), output="boxes", names=("a",))).regions([PICTURE])


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(OnnxModelError, match=r"none\.onnx` must be a file to read"):
        OnnxDetector(DetectorRule(file=str(tmp_path / "none.onnx")))


@pytest.mark.parametrize("noted", ["[[64]]", "[9999, 9999]", "[64.0]", "{64}", "(" * 5_000, "[64, 320]", "None"])
def test_a_size_that_is_noted_wrong_in_the_file_is_refused(tmp_path, noted):
    file = write_detector(tmp_path / "d.onnx", side="side")
    model = onnx.load(file)
    helper.set_model_props(model, {"names": "['red', 'blue']", "imgsz": noted})
    onnx.save(model, file)
    with pytest.raises(OnnxModelError, match="must have a square input of one size"):
        OnnxDetector(DetectorRule(file=str(file))).regions([PICTURE])


def test_an_input_of_any_side_must_be_told_one(tmp_path):
    file = str(write_detector(tmp_path / "d.onnx", side="side"))
    with pytest.raises(OnnxModelError, match="Give its `side`"):
        OnnxDetector(DetectorRule(file=file)).regions([PICTURE])
    regions = OnnxDetector(DetectorRule(file=file, side=SIDE, min_score=0.5)).regions([WIDE])
    assert sorted(regions.labels) == ["blue", "red"]


def endless_model():
    """A model that goes round 2 ** 62 times."""
    nodes = [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Identity", ["x"], ["y"])]
    inputs = [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("x")]
    body = helper.make_graph(nodes, "body", inputs, [value("goes", TensorProto.BOOL, []), value("y")])
    loop = helper.make_node("Loop", ["times", "first", "images"], ["rows"], body=body)
    constants = {"times": np.array(2**62), "first": np.array(True)}
    return model_of([loop], [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()])


def test_a_model_without_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("evenly.features.dense.detector._LONGEST_S", 0.2)
    (tmp_path / "d.onnx").write_bytes(endless_model())
    with pytest.raises(OnnxModelError, match="must run on any picture"):
        OnnxDetector(DetectorRule(file=str(tmp_path / "d.onnx"), names=("a",))).regions([PICTURE])


FOREIGN = model_of([helper.make_node("Evil", ["images"], ["rows"], domain="own")], own=["own"])


@pytest.mark.parametrize("content", [b"", b"no model", FOREIGN])
def test_what_is_no_model_or_has_operators_of_its_own_is_refused_by_name(tmp_path, content):
    (tmp_path / "d.onnx").write_bytes(content)
    with pytest.raises(OnnxModelError, match="must be a model that onnxruntime runs"):
        OnnxDetector(DetectorRule(file=str(tmp_path / "d.onnx"))).regions([PICTURE])


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "{}/weights.bin"])
def test_a_model_with_weights_in_another_file_is_refused(tmp_path, monkeypatch, place):
    """They would be read without being hashed, from wherever the model says."""
    folder = tmp_path / "here"
    folder.mkdir()
    for path in (tmp_path, folder):
        (path / "weights.bin").write_bytes(np.zeros(3 * SIDE * SIDE, np.float32).tobytes())
    monkeypatch.chdir(folder)
    weights = TensorProto(name="w", data_type=1, dims=[1, 3, SIDE, SIDE], data_location=TensorProto.EXTERNAL)
    entry = weights.external_data.add()
    entry.key, entry.value = "location", place.format(tmp_path)
    content = model_of([helper.make_node("Add", ["images", "w"], ["rows"])], [weights])
    (folder / "d.onnx").write_bytes(content)
    with pytest.raises(OnnxModelError, match="must be a model that onnxruntime runs"):
        OnnxDetector(DetectorRule(file=str(folder / "d.onnx"))).regions([PICTURE])


def test_identity_follows_from_file_and_form_but_not_from_where_it_lies(tmp_path):
    first = write_detector(tmp_path / "a.onnx")
    other = write_detector(tmp_path / "b.onnx", "objectness")
    (tmp_path / "c.onnx").write_bytes(first.read_bytes())
    identities = [
        OnnxDetector(DetectorRule(file=str(file), **rule)).identity
        for file, rule in [(first, {}), (tmp_path / "c.onnx", {"name": "c"}), (other, {}), (first, {"overlap": 0.5})]
    ]
    assert identities[0] == identities[1]
    assert len(set(identities)) == 3


NUDENET = """
import json, sys
import cv2, numpy as np
from nudenet import NudeDetector
pictures = [np.ascontiguousarray(cv2.imread(name)[:, :, ::-1]) for name in sys.argv[1:]]  # it turns colours twice
print(json.dumps([NudeDetector().detect(picture) for picture in pictures]))
"""


@pytest.mark.slow
def test_nudenets_boxes_are_those_of_its_own_code(tmp_path):
    pytest.importorskip("nudenet", reason="the extra `safety` is not installed")
    pytest.importorskip("cv2")
    from matplotlib.cbook import get_sample_data

    from evenly.features.safety_detector import nudenet

    with get_sample_data("grace_hopper.jpg") as stream:
        woman = Image.open(stream).convert("RGB")
    crops = [woman.crop((x, y, x + 320, y + 320)) for x, y in ((0, 0), (100, 0), (190, 20), (60, 180))]
    files = [tmp_path / f"{place}.png" for place in range(len(crops))]
    for file, crop in zip(files, crops, strict=True):
        crop.save(file)
    ran = subprocess.run([sys.executable, "-c", NUDENET, *map(str, files)], capture_output=True, check=True)
    theirs = json.loads(ran.stdout)
    regions = OnnxDetector(nudenet()).regions(file.read_bytes() for file in files)
    assert any(theirs)
    for place, detections in enumerate(theirs):
        ours = regions.of_picture(place)
        assert ours.labels.tolist() == [detection["class"] for detection in detections]
        assert np.allclose(ours.scores, [detection["score"] for detection in detections], atol=1e-3)
        corners = np.array([[x, y, x + w, y + h] for x, y, w, h in (entry["box"] for entry in detections)])
        assert np.abs(ours.boxes - corners.reshape(-1, 4)).max(initial=0) < 2  # it cuts sides to whole pixels
