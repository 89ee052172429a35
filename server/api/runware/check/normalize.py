"""Normalization: rewrites a raw task in the documented spelling.

Runs before validation and returns a new task. Reports contradicting spellings of one parameter, and parameters of other
model families. Checks no other value. Each rule names the client that made it necessary.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.catalog.catalog import REFERENCES, Catalog
from pipelines.limits import MAX_SEED
from server.api.runware.schema.tasks import WireTask
from server.errors import ApiError, IncompatibleParameters, UnsupportedParameter

# The vendor prints 2^63 rounded to a double as the largest seed.
PRINTED_MAX_SEED = 9223372036854776000

# Parameters of other model families. Clients send neutral values of them. Any other value asks for an effect.
_FOREIGN = (
    "acceleration useCache resolution usePromptWeighting promptWeighting clipSkip vae refiner embeddings ipAdapters "
    "lycoris providerSettings watermark hiresFix layerDiffuse"
).split()
_PREPROCESSOR_MODEL = "runware:controlnet-preprocess@"
_NEUTRAL = (None, False, 0, "", "none", [], {})

# older spelling → documented one (the Python SDK's types)
ACCELERATOR_ALIASES = {
    "fbcache": "fbCache",
    "cacheDistance": "fbCacheThreshold",
    "cacheStopStep": "cacheEndStep",
    "cacheStopStepPercentage": "cacheEndStepPercentage",
}
_UNET_ONLY = frozenset({"deepCache", "deepCacheInterval", "deepCacheBranchId", "deepCacheSkipMode"})


def normalize(task: WireTask, catalog: Catalog) -> tuple[WireTask, list[ApiError]]:
    """Rewrite one imageInference task in the documented spelling.

    Returns the task and the errors found on the way: contradicting spellings, foreign parameters with an effect.
    """
    task = plain(task)
    errors: list[ApiError] = []
    _drop_foreign(task, errors)
    _move_inputs(task, catalog, errors)
    _move_settings(task, errors)
    _rename_accelerators(task, errors)
    _soften_values(task)
    return task, errors


def normalize_preprocess(task: WireTask) -> tuple[WireTask, list[ApiError]]:
    """Rewrite one preprocessing task in the documented spelling. Returns the task and its contradictions.

    The vendor's newest SDK names each preprocessor as a model, and puts the picture under `inputs`.
    """
    task = plain(task)
    errors: list[ApiError] = []
    task.pop("routing", None)
    if isinstance(model := task.get("model"), str) and model.startswith(_PREPROCESSOR_MODEL):
        kind = model.removeprefix(_PREPROCESSOR_MODEL)
        _merge(task, "preProcessorType", kind, "model", "preProcessorType", errors)
        del task["model"]
    for outer in ("inputs", "settings"):
        if isinstance(given := task.get(outer), dict):
            del task[outer]
            for name, value in given.items():
                flat = "inputImage" if name == "image" else name
                _merge(task, flat, value, f"{outer}.{name}", flat, errors)
    if isinstance(kind := task.get("outputType"), list) and kind:
        task["outputType"] = kind[0]
    return task, errors


def plain(value: Any) -> Any:
    """Remove nulls and make whole floats integers, at every depth. The old Python SDK sends null for no value."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain(item) for item in value if item is not None]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _drop_foreign(task: WireTask, errors: list[ApiError]) -> None:
    task.pop("routing", None)  # placement hints of the vendor's cloud; the newest schema set sends them
    foreign = {name: task.pop(name, None) for name in _FOREIGN}
    if isinstance(features := task.get("advancedFeatures"), dict) and "layerDiffuse" in features:
        task["advancedFeatures"] = {name: value for name, value in features.items() if name != "layerDiffuse"}
        foreign["advancedFeatures.layerDiffuse"] = features["layerDiffuse"]
    for name, value in foreign.items():
        if value not in _NEUTRAL:
            errors.append(UnsupportedParameter(f"'{name}' has no effect on the models served here.", parameter=name))


def _move_inputs(task: WireTask, catalog: Catalog, errors: list[ApiError]) -> None:
    """Move pictures into `inputs`. The vendor's schema has them there, and its edit examples at the top level."""
    given = task.get("inputs", {})
    if not isinstance(given, dict):
        return
    inputs = dict(given)
    for old, new in (("images", "referenceImages"), ("references", "referenceImages"), ("mask", "maskImage")):
        _merge(inputs, new, inputs.pop(old, None), f"inputs.{old}", f"inputs.{new}", errors)
    if "image" in inputs:
        image = inputs.pop("image")
        name, value = ("referenceImages", [image]) if _edits(task, catalog) else ("seedImage", image)
        _merge(inputs, name, value, "inputs.image", f"inputs.{name}", errors)
    for name in ("referenceImages", "seedImage", "maskImage", "strength"):
        _merge(inputs, name, task.pop(name, None), name, f"inputs.{name}", errors)
    references = inputs.get("referenceImages")
    if isinstance(references, str):
        references = [references]
    if isinstance(references, list):  # entries {image, role, strength} come from the SDKs' typed inputs
        inputs["referenceImages"] = [
            entry["image"] if isinstance(entry, dict) and "image" in entry else entry for entry in references
        ]
    task.pop("inputs", None)
    if inputs:
        task["inputs"] = inputs


def _edits(task: WireTask, catalog: Catalog) -> bool:
    """Whether the task's model takes reference images. True for an unknown model, which validation refuses later."""
    model = task.get("model")
    entry = catalog.find(model) if isinstance(model, str) else None
    return entry is None or REFERENCES[entry.mode][1] > 0


def _move_settings(task: WireTask, errors: list[ApiError]) -> None:
    """Move `trueCFGScale` and `ultralytics` from the top level, where other families and older pages have them."""
    for outer, name in (("settings", "trueCFGScale"), ("advancedFeatures", "ultralytics")):
        given = task.get(outer, {})
        if name in task and isinstance(given, dict):
            task[outer] = dict(given)
            _merge(task[outer], name, task.pop(name), name, f"{outer}.{name}", errors)


def _rename_accelerators(task: WireTask, errors: list[ApiError]) -> None:
    given = task.get("acceleratorOptions")
    if not isinstance(given, dict):
        return
    options = {name: value for name, value in given.items() if name not in _UNET_ONLY}
    for old, new in ACCELERATOR_ALIASES.items():
        where = "acceleratorOptions."
        _merge(options, new, options.pop(old, None), where + old, where + new, errors)
    task["acceleratorOptions"] = options


def _soften_values(task: WireTask) -> None:
    if "checkNSFW" in task and isinstance(task.get("safety", {}), dict):  # both JavaScript clients
        task["safety"] = {"checkContent": task.pop("checkNSFW"), **task.get("safety", {})}
    if isinstance(safety := task.get("safety"), dict):  # two more switches of the old Python SDK
        task["safety"] = {k: v for k, v in safety.items() if k not in ("tolerance", "checkInputs")}
    if isinstance(kind := task.get("outputType"), list) and kind:  # the old Python SDK sends ["URL"]
        task["outputType"] = kind[0]
    if task.get("CFGScale") == 0 and not isinstance(task["CFGScale"], bool):  # the JavaScript SDK's "off"
        task["CFGScale"] = 1
    if task.get("negativePrompt") == "":
        del task["negativePrompt"]
    if task.get("positivePrompt") == "__BLANK__":  # documented way to ask for an empty prompt
        task["positivePrompt"] = " "
    if isinstance(seed := task.get("seed"), int | float) and MAX_SEED < seed <= PRINTED_MAX_SEED:
        task["seed"] = MAX_SEED
    for name in ("lora", "controlNet"):
        if task.get(name) == []:
            del task[name]


def _merge(
    target: dict[str, Any], name: str, value: Any, sent_as: str, documented: str, errors: list[ApiError]
) -> None:
    """Set a parameter that may have another spelling. Two different values are an error."""
    if value is None:
        return
    if name in target and target[name] != value:
        errors.append(
            IncompatibleParameters(
                f"'{sent_as}' and '{documented}' are the same parameter and have different values.",
                parameter=(documented, sent_as),
            )
        )
        return
    target[name] = value
