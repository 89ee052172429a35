"""The account as the vendor's command line shows it: models, prices, the balance, and the webhook's secret.

Your own GPU costs nothing, so prices and the balance are 0.
"""

import base64
import functools
import secrets
import sqlite3
from typing import Any

from pipelines.catalog.catalog import ModelEntry
from server.api.access.client import Client
from server.api.services import Services
from server.api.wavespeed.dialect import DIALECT, WaveSpeedDialect
from server.api.wavespeed.predictions import ROOT, Json
from server.api.wavespeed.schema import PredictionInput, PriceQuery
from server.database import Database
from server.delivery.signatures import SECRET_PREFIX

SCHEMA = """
CREATE TABLE IF NOT EXISTS wavespeed_secrets (
    owner TEXT PRIMARY KEY,
    secret TEXT NOT NULL
);
"""
SECRET_BYTES = 32
# The fields of a model path in the order of the vendor's pages; the others follow.
_FIELDS = ("prompt", "image", "images", "size", "seed", "output_format", "loras")


class WebhookSecrets:
    """The secret that signs the webhooks of an owner. It is made when it is first needed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, owner: str) -> str:
        """The secret, which begins with `whsec_`."""
        new = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")

        def work(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT OR IGNORE INTO wavespeed_secrets VALUES (?, ?)", (owner, new))
            query = "SELECT secret FROM wavespeed_secrets WHERE owner = ?"
            return connection.execute(query, (owner,)).fetchone()["secret"]

        return await self._database.run(work)


class Account:
    """The account of a client, as the vendor shows it."""

    def __init__(self, services: Services, dialect: WaveSpeedDialect, webhook_secrets: WebhookSecrets) -> None:
        self._loras = services.loras
        self._dialect = dialect
        self._secrets = webhook_secrets

    def models(self, client: Client) -> list[Json]:
        """Every served model under each of its paths, or under its own name if it has none."""
        paths: dict[str, ModelEntry] = {}
        for entry in self._loras.catalog(client.owner).entries:
            for path in entry.names.get(DIALECT, (entry.air,)):
                paths.setdefault(path, entry)
        return [_model_json(path, entry, number) for number, (path, entry) in enumerate(paths.items())]

    def balance(self) -> Json:
        """The credit of an account."""
        return {"balance": 0.0}

    def price(self, query: PriceQuery, client: Client) -> Json:
        """The price of a prediction. Raises `NotFound` for a model that is not served."""
        self._dialect.check_model(query.model_id, client)
        return {"model_id": query.model_id, "unit_price": 0.0, "price": 0.0, "currency": "USD"}

    async def secret(self, client: Client) -> Json:
        """The secret that signs the client's webhooks."""
        return {"secret": await self._secrets.get(client.owner)}


def _model_json(path: str, entry: ModelEntry, number: int) -> Json:
    draws = entry.mode == "text_to_image"
    return {
        "model_id": path,
        "name": path,
        "type": "text-to-image" if draws else "image-to-image",
        "description": f"{entry.name} {entry.version}",
        "base_price": 0.0,
        "sort_order": number,
        "api_schema": {
            "api_schemas": [
                {"type": "model_run", "method": "POST", "api_path": f"{ROOT}/{path}", "request_schema": _schema(draws)}
            ]
        },
    }


@functools.cache  # pydantic takes milliseconds, and there is a schema for each path
def _schema(draws: bool) -> dict[str, Any]:
    """The fields of a model path, as the command line shows them."""
    schema = PredictionInput.model_json_schema()
    properties = {name: _plain(field) for name, field in schema["properties"].items()}
    if draws:
        properties = {name: field for name, field in properties.items() if name not in ("image", "images")}
    return {
        "type": "object",
        "required": ["prompt"] if draws else ["prompt", "image"],
        "properties": properties,
        "x-order-properties": [name for name in _FIELDS if name in properties],
    }


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """A field without references and alternatives, which the command line does not follow."""
    kind = next((branch for branch in field.get("anyOf", ()) if branch.get("type") != "null"), field)
    found = {key: kind[key] for key in ("type", "minimum", "maximum", "enum") if key in kind}
    found |= {key: field[key] for key in ("description",) if key in field}
    if field.get("default") is not None:
        found["default"] = field["default"]
    return {"type": "object", **found} if "$ref" in kind else {"type": "string", **found}
