"""The text that the server prints when it is ready: address, models, devices and a command to try.

Pure. Knows the catalogue and the settings; prints nothing itself.
"""

import json
from typing import Any

from pipelines.catalog.catalog import Catalog, ModelEntry
from server.settings import Settings

# The prompt and the seed of the README. A test renders them.
PROMPT = "a large red circle at the center on a white background"
EDIT_PROMPT = "change the background to green"
SIDE, SEED = 512, 7
_UUID = "'$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)'"  # the shell makes it anew for each try


def greeting(url: str, settings: Settings, catalog: Catalog, devices: tuple[str, ...], *, keys_required: bool) -> str:
    """The greeting of a server that is reached at `url`, and serves the catalogue on the devices."""
    airs, names = (max(map(len, column)) for column in zip(*((e.air, e.name) for e in catalog.entries), strict=True))
    models = [f"  {e.air:<{airs}}  {e.name:<{names}}  {_describe_weights(e)}" for e in catalog.entries]
    keys = "required" if keys_required else "any key is accepted; `ownware keys add NAME` restricts"
    header = ' -H "Authorization: Bearer $RUNWARE_API_KEY"' if keys_required else ""
    task = json.dumps([example_task(catalog)], separators=(",", ":"))
    lines = [
        f"Ownware serves {url}/v1 (HTTP and WebSocket); API pages: {url}/docs",
        *models,
        f"Device: {', '.join(devices)}.  API keys: {keys}.  Data: {settings.data_dir}",
        "Try it:",
        f"  curl -s {url}/v1{header} -H 'Content-Type: application/json' -d '{task}'",
    ]
    return "\n".join(lines)


def example_task(catalog: Catalog) -> dict[str, Any]:
    """A task for the first text-to-image model, or for the first edit model if there is none."""
    generator = next((entry for entry in catalog.entries if entry.mode == "text_to_image"), None)
    entry = generator or catalog.entries[0]
    task: dict[str, Any] = {"taskType": "imageInference", "taskUUID": _UUID, "model": entry.air}
    if generator is not None:
        return task | {"positivePrompt": PROMPT, "width": SIDE, "height": SIDE, "seed": SEED}
    return task | {"positivePrompt": EDIT_PROMPT, "inputs": {"referenceImages": ["<URL of a picture>"]}, "seed": SEED}


def local_url(host: str, port: int) -> str:
    """The URL that reaches a listening socket from this machine."""
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _describe_weights(entry: ModelEntry) -> str:
    if entry.embedded:
        return "embedded demonstration model: same architecture, not the 20B; for flat shapes and short words"
    return entry.weights
