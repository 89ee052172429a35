from dataclasses import replace
from typing import Any

import pytest

from pipelines.catalog.models_file import load_catalog
from pipelines.limits import MAX_SEED
from server.api.runware.check.normalize import PRINTED_MAX_SEED, normalize, plain

CATALOG = load_catalog()
T2I = {"taskType": "imageInference", "model": "runware:108@1"}
EDIT = {"taskType": "imageInference", "model": "runware:108@20"}


def normalized(task: dict[str, Any]) -> dict[str, Any]:
    result, errors = normalize(task, CATALOG)
    assert errors == []
    return {key: value for key, value in result.items() if key not in ("taskType", "model")}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"referenceImages": ["a"]}, {"inputs": {"referenceImages": ["a"]}}),
        ({"inputs": {"referenceImages": ["a"]}}, {"inputs": {"referenceImages": ["a"]}}),
        ({"referenceImages": ["a"], "inputs": {"referenceImages": ["a"]}}, {"inputs": {"referenceImages": ["a"]}}),
        ({"referenceImages": "a"}, {"inputs": {"referenceImages": ["a"]}}),
        ({"referenceImages": [{"image": "a", "role": "x"}]}, {"inputs": {"referenceImages": ["a"]}}),
        ({"inputs": {"image": "a"}}, {"inputs": {"referenceImages": ["a"]}}),
        ({"inputs": {"images": ["a"]}}, {"inputs": {"referenceImages": ["a"]}}),
        ({"inputs": {"references": ["a"]}}, {"inputs": {"referenceImages": ["a"]}}),
        (
            {"seedImage": "s", "maskImage": "m", "strength": 0},
            {"inputs": {"seedImage": "s", "maskImage": "m", "strength": 0}},
        ),
        ({"inputs": {"mask": "m"}}, {"inputs": {"maskImage": "m"}}),
        ({"inputs": {}}, {}),
        ({"checkNSFW": False}, {"safety": {"checkContent": False}}),
        ({"safety": {"tolerance": True, "checkInputs": False}}, {"safety": {}}),
        ({"outputType": ["URL"]}, {"outputType": "URL"}),
        ({"CFGScale": 0}, {"CFGScale": 1}),
        ({"CFGScale": 7.0}, {"CFGScale": 7}),
        ({"positivePrompt": "__BLANK__"}, {"positivePrompt": " "}),
        ({"negativePrompt": ""}, {}),
        ({"seed": PRINTED_MAX_SEED}, {"seed": MAX_SEED}),
        ({"seed": 0}, {"seed": 0}),
        ({"trueCFGScale": 2}, {"settings": {"trueCFGScale": 2}}),
        ({"ultralytics": {"steps": 3}}, {"advancedFeatures": {"ultralytics": {"steps": 3}}}),
        ({"advancedFeatures": {"layerDiffuse": False}}, {"advancedFeatures": {}}),
        ({"acceleratorOptions": {"fbcache": True}}, {"acceleratorOptions": {"fbCache": True}}),
        ({"acceleratorOptions": {"cacheDistance": 0.1}}, {"acceleratorOptions": {"fbCacheThreshold": 0.1}}),
        ({"acceleratorOptions": {"cacheStopStep": 4}}, {"acceleratorOptions": {"cacheEndStep": 4}}),
        ({"acceleratorOptions": {"deepCache": True, "deepCacheInterval": 3}}, {"acceleratorOptions": {}}),
        ({"lora": [], "controlNet": [], "embeddings": [], "ipAdapters": []}, {}),
        ({"usePromptWeighting": False, "clipSkip": 0, "vae": "", "acceleration": "none", "providerSettings": {}}, {}),
        ({"routing": {"region": "eu"}}, {}),
        ({"controlNet": [{"model": "a", "endStep": None}]}, {"controlNet": [{"model": "a"}]}),
    ],
)
def test_what_clients_send_means_what_the_pages_say(sent: dict[str, Any], meant: dict[str, Any]) -> None:
    assert normalized({**EDIT, **sent}) == meant


OWN = replace(load_catalog().entries[0], air="me:paint@1", slugs=("paint",))


@pytest.mark.parametrize("model", ["runware:108@1", "RUNWARE:108@1", " qwen-image ", "me:paint@1", "Paint"])
def test_a_single_image_is_the_seed_image_of_any_text_to_image_model(model: str) -> None:
    catalog = replace(CATALOG, entries=(*CATALOG.entries, OWN))
    task, errors = normalize({**T2I, "model": model, "inputs": {"image": "a"}}, catalog)
    assert (task["inputs"], errors) == ({"seedImage": "a"}, [])


@pytest.mark.parametrize("model", ["no:model@1", 3, None])
def test_of_an_unknown_model_a_single_image_is_left_for_validation(model: object) -> None:
    task, errors = normalize({**T2I, "model": model, "inputs": {"image": "a"}}, CATALOG)
    assert (task["inputs"], errors) == ({"referenceImages": ["a"]}, [])


@pytest.mark.parametrize(
    ("sent", "code", "parameter"),
    [
        (
            {"seedImage": "a", "inputs": {"seedImage": "b"}},
            "incompatibleParameters",
            ("inputs.seedImage", "seedImage"),
        ),
        (
            {"trueCFGScale": 2, "settings": {"trueCFGScale": 3}},
            "incompatibleParameters",
            ("settings.trueCFGScale", "trueCFGScale"),
        ),
        ({"refiner": {"model": "x"}}, "unsupportedParameter", "refiner"),
        ({"clipSkip": 2}, "unsupportedParameter", "clipSkip"),
        ({"advancedFeatures": {"layerDiffuse": True}}, "unsupportedParameter", "advancedFeatures.layerDiffuse"),
    ],
)
def test_what_cannot_be_meant(sent: dict[str, Any], code: str, parameter: object) -> None:
    _, (error,) = normalize({**EDIT, **sent}, CATALOG)
    assert (error.code, error.parameter) == (code, parameter)


@pytest.mark.parametrize("sent", [{"inputs": 3}, {"settings": 3, "trueCFGScale": 2}, {"safety": 3, "checkNSFW": True}])
def test_nonsense_is_left_for_validation(sent: dict[str, Any]) -> None:
    result, errors = normalize({**EDIT, **sent}, CATALOG)
    assert errors == []
    assert sent.items() <= result.items()


def test_the_senders_task_is_not_changed() -> None:
    sent = {**EDIT, "referenceImages": ["a"], "inputs": {"strength": 0.5}, "safety": {"tolerance": 1}}
    before = repr(sent)
    normalize(sent, CATALOG)
    assert repr(sent) == before


def test_plain_at_every_depth() -> None:
    assert plain({"a": None, "b": [None, {"c": 20.0, "d": None}, 0.5]}) == {"b": [{"c": 20}, 0.5]}
