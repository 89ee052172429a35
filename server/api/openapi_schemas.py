"""What the dialects' OpenAPI descriptions share: the schemas of their models, and references to them.

Knows no dialect.
"""

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

_REF = "#/components/schemas/{model}"
Json = dict[str, Any]


def reference(name: str) -> Json:
    """The reference to a schema of the document."""
    return {"$ref": _REF.format(model=name)}


def json_content(name: str) -> Json:
    """The content of a body or an answer that is JSON of this schema."""
    return {"application/json": {"schema": reference(name)}}


def add_schemas(document: Json, models: Collection[type[BaseModel]], others: Json) -> dict[type[BaseModel], Json]:
    """Add the schemas of models, as requests are validated, and others by their names.

    Returns the reference to each model.
    """
    found, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"] | others)
    return {model: found[model, "validation"] for model in models}
