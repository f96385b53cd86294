"""The form of a custom run on a Prefect server: help, choices and bounds of every parameter of the deployed flows."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, validate

from evenly.adapters.methods.fudd import ConfusablePairs
from evenly.descriptions.methods import METHODS
from evenly.flows.audit_builds import audit_builds
from evenly.flows.describe_classes import ListDescription, describe_classes
from evenly.flows.hold_promotion import hold_promotion
from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.flows.watch_classes import WatchOptions, watch_classes
from evenly.options import RebuildOptions
from evenly.signatures import InWorkspace, options_of

FLOWS = tuple(job.flow for job in (rebuild_dataset, describe_classes, watch_classes, audit_builds, hold_promotion))
MODEL = {"base_url": "http://127.0.0.1:9/v1", "model": "tiny", "budget_usd": 2, "prompt_usd_per_million": 1}
SENT = [
    (
        rebuild_dataset.flow,
        RebuildOptions,
        {"recipe": "/birds.yaml"},
        {"limit": 100, "retry_failed": True, "memory": "2GB"},
    ),
    (describe_classes.flow, ListDescription, {"name": "birds", "text": "wren"}, {**MODEL, "methods": ["synonyms"]}),
    (describe_classes.flow, ListDescription, {"name": "birds", "text": "wren"}, {"methods": None, "pairs": {"top": 3}}),
    (watch_classes.flow, WatchOptions, {"folder": "s3://team/lists"}, {**MODEL, "methods": ["prompts"], "settle_s": 0}),
    (audit_builds.flow, InWorkspace, {}, {"root": "s3://team/birds"}),
    (hold_promotion.flow, InWorkspace, {"build": "birds-1", "findings": 2}, {"root": None}),
]
REFUSED = [
    (rebuild_dataset.flow, {"recipe": "/birds.yaml", "limit": 0}),
    (rebuild_dataset.flow, {"recipe": "/birds.yaml", "wait_s": -1}),
    (describe_classes.flow, {"name": "birds", "text": "wren", "budget_usd": 0}),
    (describe_classes.flow, {"name": "birds", "text": "wren", "pairs": {"top": 1}}),
    (watch_classes.flow, {"folder": "lists", "settle_s": -1}),
    (hold_promotion.flow, {"build": "birds-1", "findings": -1}),
]


def form_of(flow: Flow[..., Any]) -> dict[str, Any]:
    """The schema that a deployment has, of which a server makes the form."""
    return parameter_schema(flow).model_dump(exclude_unset=True)


def numbers_in(shape: object) -> Iterator[dict[str, Any]]:
    """The shapes of numbers within a schema."""
    if isinstance(shape, dict):
        if shape.get("type") in {"integer", "number"}:
            yield shape
        for part in shape.values():
            yield from numbers_in(part)
    elif isinstance(shape, list):
        for part in shape:
            yield from numbers_in(part)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_parameter_has_a_title_a_help_a_default_or_must_be_given_and_every_number_bounds(flow):
    form = form_of(flow)
    for name, shape in form["properties"].items():
        assert shape["title"] == name
        assert len(shape["description"]) > 9, name
        assert ("default" in shape) != (name in form.get("required", ())), name
    for number in numbers_in(form["properties"]):
        assert {"minimum", "exclusiveMinimum"} & number.keys(), number


@pytest.mark.parametrize("flow", [describe_classes.flow, watch_classes.flow], ids=lambda flow: flow.name)
def test_description_methods_are_a_choice(flow):
    methods = form_of(flow)["properties"]["methods"]["anyOf"]
    assert methods == [{"items": {"enum": [*METHODS], "type": "string"}, "type": "array"}, {"type": "null"}]


@pytest.mark.parametrize(("flow", "kind", "first", "options"), SENT)
def test_a_flow_takes_what_its_form_sends(flow, kind, first, options):
    sent = json.loads(json.dumps(first | options))
    validate(sent, form_of(flow), raise_on_error=True)
    taken = flow.validate_parameters(sent)
    made = options_of(kind, {name: value for name, value in taken.items() if name not in first})
    expected = dict(options)
    if "pairs" in options:
        expected["pairs"] = ConfusablePairs(**options["pairs"])
    assert {name: getattr(made, name) for name in options} == expected
    assert {name: taken[name] for name in first} == first


@pytest.mark.parametrize(("flow", "sent"), REFUSED)
def test_form_and_flow_refuse_what_is_out_of_bounds(flow, sent):
    with pytest.raises(ValidationError):
        validate(sent, form_of(flow), raise_on_error=True)
    with pytest.raises(ParameterTypeError):
        flow.validate_parameters(sent)
