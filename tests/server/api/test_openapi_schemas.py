from typing import Any

from pydantic import BaseModel

from server.api.openapi_schemas import add_schemas, json_content, reference


class Part(BaseModel):
    size: int


class Whole(BaseModel):
    part: Part


def test_models_and_other_schemas_are_added() -> None:
    document: dict[str, Any] = {"components": {"schemas": {"Kept": {}}}}
    found = add_schemas(document, [Whole], {"Error": {"type": "object"}})
    assert found == {Whole: reference("Whole")}
    schemas = document["components"]["schemas"]
    assert list(schemas) == ["Kept", "Part", "Whole", "Error"]
    assert schemas["Whole"]["properties"]["part"] == reference("Part")


def test_a_document_without_schemas() -> None:
    document: dict[str, Any] = {}
    add_schemas(document, [Part], {})
    assert document["components"]["schemas"]["Part"]["required"] == ["size"]


def test_json_of_a_schema() -> None:
    assert json_content("Part") == {"application/json": {"schema": {"$ref": "#/components/schemas/Part"}}}
