"""Small models files that the tests write."""

from pathlib import Path

ROW = """
[[models]]
air = "{air}"
slugs = ["{slug}"]
name = "Mine"
version = "1"
architecture = "qwen_image"
mode = "text_to_image"
weights = "{weights}"
steps = 4
true_cfg_scale = 1.0
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(text, encoding="utf-8")
    return path


def row(air: str = "mine:1@1", slug: str = "mine", weights: str = "owner/name") -> str:
    return ROW.format(air=air, slug=slug, weights=weights)


def lora(kind: str, weights: str = "owner/repository/fast.safetensors") -> str:
    return f"\n[[{kind}]]\nair = 'hub:1@1'\nname = 'Fast'\nweights = '{weights}'\n"
