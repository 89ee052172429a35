"""The Lightning example of docs/how-to/lora.md runs on the sigmas that Lightning was made for."""

import json
import re
from pathlib import Path

import pytest
import torch

from pipelines.catalog.catalog import BUILT_IN
from pipelines.catalog.models_file import load_catalog
from pipelines.sampling.sigmas import flow_sigmas, scheduler_config
from server.api.access.client import Client
from server.api.runware.schema.tasks import ImageInference
from server.api.runware.translate.spec import to_spec
from tests.docs.pages import ROOT, blocks, text_of

PAGE = ROOT / "docs" / "how-to" / "lora.md"
TASK = next(json.loads(code)[0] for code in blocks(PAGE, "json") if "lightning" in code)
TABLE = {int(row[0]): row[1] for row in re.findall(r"^\| (\d) \| (1, 0\.9[^|]*) \|$", text_of(PAGE), re.MULTILINE)}
# The configuration of Qwen-Image's scheduler.
BASE = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192}
BASE |= {"base_image_seq_len": 256, "shift_terminal": 0.02}


@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("row", ["as printed", "without a schedule"])
def test_the_example_is_exact(tmp_path: Path, steps: int, row: str) -> None:
    toml = next(code for code in blocks(PAGE, "toml") if "lightning" in code)
    toml = toml.replace("8steps", f"{steps}steps").replace("steps = 8", f"steps = {steps}")
    if row != "as printed":
        toml = re.sub(r"^schedule = .*\n", "", toml, flags=re.MULTILINE)
    path = tmp_path / "my-models.toml"
    path.write_text(BUILT_IN.read_text(encoding="utf-8") + toml, encoding="utf-8")
    catalog = load_catalog(path)
    printed = TASK | {"taskUUID": "83e5a68e-074f-4bea-8e26-a6723ae9b2da", "lora": [{"model": "lightning"}]}
    task = ImageInference.model_validate(printed)
    spec = to_spec(task, catalog.entries[0], catalog, Client("", "", listens=False), "documented")
    assert (spec.steps, spec.true_cfg_scale, spec.warnings) == (steps, 1.0, ())
    assert spec.width is not None
    assert spec.height is not None
    config = scheduler_config(BASE, spec.sampler)
    tokens = spec.width * spec.height // 256
    sigmas = flow_sigmas(spec.steps, tokens, config, spec.sampler.schedule)
    assert ", ".join(f"{sigma:.3f}".rstrip("0").rstrip(".") for sigma in sigmas.tolist()) == TABLE[steps]
    assert torch.equal(sigmas, torch.sort(sigmas, descending=True).values)
