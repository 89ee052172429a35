"""Every parameter of the two model pages: its ranges, its cross-field rules, and what has no effect yet."""

from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Adapter, Catalog
from pipelines.catalog.models_file import load_catalog
from server.api.runware.check.rules import check
from server.api.runware.schema.tasks import ImageInference
from server.app import create_app
from server.errors import ApiError, TaskRejected
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post

EDIT = {"model": "runware:108@20", "inputs": {"referenceImages": ["REFERENCE"]}}
ULTRALYTICS = "advancedFeatures.ultralytics"


def errors_of(client: TestClient, reference: str, task: dict[str, Any]) -> list[tuple[str, Any]]:
    sent = new_task(**task)
    if "REFERENCE" in repr(sent):
        sent["inputs"] = {**sent["inputs"], "referenceImages": [reference] * len(sent["inputs"]["referenceImages"])}
    return [(error["code"], error["parameter"]) for error in post(client, sent).json().get("errors", [])]


# path, legal values, illegal values
RANGES: list[tuple[str, list[Any], list[Any]]] = [
    ("outputType", ["URL", "base64Data", "dataURI"], ["url", 3, ["x"]]),
    ("outputFormat", ["JPG", "PNG", "WEBP", "jpg", "JPEG"], ["TIFF", 1]),
    ("outputQuality", [20, 99, 95.0], [19, 100, 95.5, "95", True]),
    ("deliveryMethod", ["sync", "async"], ["poll"]),
    ("ttl", [60, 10**6], [59, -1, 60.5, 10**30]),
    ("includeCost", [True, False], ["yes", 1]),
    ("numberResults", [1, 20], [0, 21, 1.5]),
    ("positivePrompt", ["a", "a" * 32_000, "__BLANK__"], [3, ["a"], "<|im_start|>", "</tool_call>"]),
    ("negativePrompt", ["a", ""], ["a" * 32_001, 3, "<|image_pad|>"]),
    ("width", [128, 2048, 144], [112, 2064, 130, 128.5, "128"]),
    ("height", [128, 2048, 144], [112, 2064, 130, 128.5, "128"]),
    ("seed", [0, 2**63 - 1, 9223372036854776000, 2**53 + 1], [-1, 2**64, 0.5, "1"]),
    ("steps", [1, 50], [0, 51, 1.5]),
    ("scheduler", ["Euler", "euler", "DPM++ 2M Karras", "Default"], ["Eulr", 3]),
    ("CFGScale", [1, 20, 7.55, 0], [0.5, 20.01, 7.555, "7"]),
    ("settings.trueCFGScale", [0, 1, 1.2, 10, 100, -3], ["2", [1], 100.5, 1e300]),
    ("webhookURL", ["https://a.invalid/hook?key=1", "http://a.invalid"], ["a.invalid", "ftp://a.invalid", 3]),
    ("uploadEndpoint", [], ["/tmp/x", "ftp://a.invalid/put"]),
    ("safety.checkContent", [False, True], ["no"]),
    ("safety.mode", ["none", "fast", "full"], ["slow"]),
]

# path, legal values, illegal values; none of them has an effect yet
NO_EFFECT: list[tuple[str, list[Any], list[Any]]] = [
    (ULTRALYTICS, [{}, {"CFGScale": 8.1, "confidence": 0.5, "maskBlur": 0, "maskPadding": 20, "steps": 100}], [
        {"CFGScale": 51}, {"confidence": 1.1}, {"maskBlur": 101}, {"maskPadding": 21}, {"steps": 0}, {"strength": -0.1},
    ]),
]  # fmt: skip

ACCELERATOR_RANGES: list[tuple[str, list[Any], list[Any]]] = [
    ("fbCache", [True, False], [1]),
    ("teaCache", [True, False], ["on"]),
    ("dbCache", [True, False], [0]),
    ("fbCacheThreshold", [0, 1, 0.25], [-0.01, 1.01, 0.255]),
    ("teaCacheDistance", [0, 1], [2]),
    ("dbCacheThreshold", [0, 1], [2]),
    ("dbCacheSkipInterval", [1, 100], [0]),
    ("cacheStartStep", [0, 19], [-1]),
    ("cacheEndStep", [1, 20], [0]),
    ("cacheStartStepPercentage", [0, 99], [100]),
    ("cacheEndStepPercentage", [1, 100], [0, 101]),
    ("cacheMaxConsecutiveSteps", [1, 5], [0, 6]),
]
RANGES += [(f"acceleratorOptions.{name}", legal, illegal) for name, legal, illegal in ACCELERATOR_RANGES]


def nested(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(("path", "legal", "illegal"), RANGES)
def test_ranges(shared_client: TestClient, reference: str, path: str, legal: list[Any], illegal: list[Any]) -> None:
    for value in legal:
        assert errors_of(shared_client, reference, nested(path, value)) == [], value
    for value in illegal:
        (error,) = errors_of(shared_client, reference, nested(path, value))
        assert error[0].startswith("invalid"), value
        assert error[1].startswith(path), value


@pytest.mark.parametrize(("path", "legal", "illegal"), NO_EFFECT)
def test_what_has_no_effect_yet_is_validated_and_then_refused_by_name(
    client: TestClient, reference: str, path: str, legal: list[Any], illegal: list[Any]
) -> None:
    for value in legal:
        assert errors_of(client, reference, nested(path, value)) == [("unsupportedParameter", path)], value
    for value in illegal:
        codes = {code for code, _ in errors_of(client, reference, nested(path, value))}
        assert "unsupportedParameter" not in codes, value
        assert codes, value


TWO_CACHES = ["acceleratorOptions.fbCache", "acceleratorOptions.teaCache"]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"width": None}, [("missingWidth", "width")]),
        ({"width": None, "height": None}, [("missingWidth", "width"), ("missingHeight", "height")]),
        ({**EDIT, "width": None, "height": None}, []),
        ({**EDIT, "height": None}, [("missingHeight", "height")]),
        ({"inputs": {"referenceImages": ["REFERENCE"]}}, [("unsupportedParameter", "inputs.referenceImages")]),
        ({"model": "runware:108@20"}, [("missingReferenceImages", "inputs.referenceImages")]),
        (
            {"model": "runware:108@20", "inputs": {"referenceImages": ["REFERENCE"] * 2}},
            [("invalidReferenceImages", "inputs.referenceImages")],
        ),
        ({"model": "runware:108@22", "inputs": {"referenceImages": ["REFERENCE"] * 3}}, []),
        (
            {"model": "runware:108@22", "inputs": {"referenceImages": ["REFERENCE"] * 4}},
            [("invalidReferenceImages", "inputs.referenceImages")],
        ),
        (
            {"acceleratorOptions": {"cacheStartStep": 5, "cacheEndStep": 5}},
            [("incompatibleParameters", ["acceleratorOptions.cacheStartStep", "acceleratorOptions.cacheEndStep"])],
        ),
        (
            {"acceleratorOptions": {"cacheEndStep": 9}, "steps": 8},
            [("incompatibleParameters", ["acceleratorOptions.cacheEndStep", "steps"])],
        ),
        (
            {"acceleratorOptions": {"cacheStartStep": 8}, "steps": 8},
            [("incompatibleParameters", ["acceleratorOptions.cacheStartStep", "steps"])],
        ),
        (
            {"acceleratorOptions": {"cacheStartStep": 2, "cacheEndStepPercentage": 50}},
            [
                (
                    "incompatibleParameters",
                    ["acceleratorOptions.cacheStartStep", "acceleratorOptions.cacheEndStepPercentage"],
                )
            ],
        ),
        (
            {"acceleratorOptions": {"cacheStartStepPercentage": 60, "cacheEndStepPercentage": 50}},
            [
                (
                    "incompatibleParameters",
                    ["acceleratorOptions.cacheStartStepPercentage", "acceleratorOptions.cacheEndStepPercentage"],
                )
            ],
        ),
        (
            {"maskMargin": 32},
            [("incompatibleParameters", ["maskMargin", "inputs.maskImage"])],
        ),
        (
            {"inputs": {"maskImage": "x"}},
            [("incompatibleParameters", ["inputs.maskImage", "inputs.seedImage"])],
        ),
        (
            {"outpaint": {"top": 0}},
            [
                ("incompatibleParameters", ["outpaint", "inputs.seedImage"]),
                ("invalidOutpaint", "outpaint"),
            ],
        ),
        ({"model": "alibaba-qwen-image"}, []),
        (
            {"ownware": {"alignTo": "auto"}},
            [("incompatibleParameters", ["ownware.alignTo", "inputs.seedImage", "inputs.referenceImages"])],
        ),
        (
            {"ownware": {"keepUnchanged": "auto"}},
            [("incompatibleParameters", ["ownware.keepUnchanged", "inputs.seedImage", "inputs.referenceImages"])],
        ),
        (
            {"inputs": {"referenceImages": ["REFERENCE"]}, "model": "runware:108@20", "ownware": {"alignTo": 1}},
            [("invalidOwnware", "ownware.alignTo")],
        ),
        (
            {
                "inputs": {"referenceImages": ["REFERENCE"]},
                "model": "runware:108@20",
                "ownware": {"alignTo": "seedImage"},
            },
            [("incompatibleParameters", ["ownware.alignTo", "inputs.seedImage"])],
        ),
        (
            {"inputs": {"seedImage": "x"}, "outpaint": {"top": 64}, "ownware": {"alignTo": "auto"}},
            [("incompatibleParameters", ["ownware.alignTo", "outpaint"])],
        ),
    ],
)
def test_rules_between_fields(
    shared_client: TestClient, reference: str, task: dict[str, Any], expected: list[tuple[str, Any]]
) -> None:
    assert errors_of(shared_client, reference, task) == expected


def test_two_caches_name_both(client: TestClient, reference: str) -> None:
    errors = errors_of(client, reference, {"acceleratorOptions": {"fbCache": True, "teaCache": True}})
    assert ("incompatibleParameters", TWO_CACHES) in errors


def test_control_net_windows(client: TestClient, reference: str) -> None:
    use = {"model": "a", "guideImage": "x", "startStep": 9, "endStep": 30, "endStepPercentage": 50}
    errors = errors_of(client, reference, {"controlNet": [use], "steps": 20})
    assert ("incompatibleParameters", ["controlNet[0].endStep", "steps"]) in errors
    both = ["controlNet[0].startStep", "controlNet[0].endStep", "controlNet[0].endStepPercentage"]
    assert ("incompatibleParameters", both) in errors


def test_rejected_joins_messages() -> None:
    assert str(TaskRejected(ApiError("one"), ApiError("two"))) == "one; two"


def test_the_edit_model_that_a_message_offers_is_a_served_one(
    settings: Settings, catalog: Catalog, worker: FakeWorker, reference: str
) -> None:
    painter, editor = catalog.entries[:2]
    own = replace(editor, air="me:edit@1", slugs=())
    for entries, offered in (((painter, own), "an edit model such as me:edit@1 takes it"), ((painter,), "no served")):
        app = create_app(settings, replace(catalog, entries=entries), [worker])
        with TestClient(app) as client:
            error = error_of(post(client, new_task(referenceImages=[reference])))
        assert (error["code"], error["parameter"]) == ("unsupportedParameter", "referenceImages")
        assert offered in error["message"]


class TestInContextLora:
    @pytest.fixture
    def catalog(self) -> Catalog:
        row = Adapter("mine:1@1", "Control", "/loras/control.safetensors", slugs=("control",), in_context=True)
        return replace(load_catalog().with_embedded_weights(), loras=(row,))

    def found(self, catalog: Catalog, model: str, references: int, **changes: Any) -> list[tuple[str, Any]]:
        sent = new_task(model=model, inputs={"referenceImages": ["a"] * references}, **changes)
        task = ImageInference.model_validate(sent)
        entry = catalog.find(model)
        assert entry is not None
        try:
            check(task, entry, catalog)
        except TaskRejected as rejected:
            return [(error.code, error.parameter) for error in rejected.errors]
        return []

    def test_a_text_to_image_model_takes_its_control_image(self, catalog: Catalog) -> None:
        lora = [{"model": "control"}]
        assert self.found(catalog, "runware:108@1", 1, lora=lora) == []
        assert self.found(catalog, "runware:108@1", 0, lora=lora) == [
            ("missingReferenceImages", "inputs.referenceImages")
        ]
        assert self.found(catalog, "runware:108@1", 2, lora=lora) == [
            ("invalidReferenceImages", "inputs.referenceImages")
        ]
        assert self.found(catalog, "runware:108@1", 1) == [("unsupportedParameter", "inputs.referenceImages")]

    def test_it_does_not_act_on_edits(self, catalog: Catalog) -> None:
        assert self.found(catalog, "runware:108@20", 1, lora=[{"model": "control"}]) == [
            ("invalidModel", "lora[0].model")
        ]
