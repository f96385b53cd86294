from evenly.audit.report.plots.effects import draw_effects


def line(verdict="shown", **values):
    claim = {"system": "VCD", "rival": "names", "method": "means", "measure": "accuracy", "condition": "a"}
    return claim | {"verdict": verdict, "gain": (0.2, 0.1, 0.3), "control_gain": None} | values


def test_claims_stand_by_name_with_what_tells_them_apart_and_hostile_names_do_no_harm():
    lines = [
        line(),
        line("not shown", measure="AUROC", control_gain=(0.0, -0.1, 0.1)),
        line("not measured", system="FuDD", gain=None, reason="no hands") | {"reason": "no hands"},
    ]
    del lines[2]["gain"]
    svg = draw_effects({"the frozen encoder": lines, "<script>alert(1)</script>": lines})
    assert svg.startswith("<svg")
    for text in ("VCD: names, accuracy", "VCD: names, AUROC", "FuDD: names", "the frozen encoder", "control", "shown"):
        assert text in svg
    assert "<script>" not in svg
