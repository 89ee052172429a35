import json
import shutil
from pathlib import Path

import pytest
from torch import nn

from pipelines.catalog.component_files import ComponentFiles
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.encoder.waiting_encoder import LoadedEncoder
from pipelines.models.loading import kept_components
from pipelines.models.loading.kept_components import SHARED, KeptComponents, component_identity, shared_identities
from pipelines.models.plan import resident_plan
from tests.pipelines.models.formats.components.test_text_encoder import LANGUAGE, VISION
from tests.pipelines.models.formats.encoders import save_language_gguf, save_mmproj


@pytest.fixture
def copies(weights: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of the same weights."""
    one, other = (Path(shutil.copytree(weights, tmp_path / name)) for name in ("one", "other"))
    return one, other


def change_config(folder: Path, key: str, value: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


class TestIdentity:
    def test_equal_contents_are_the_same_wherever_they_lie(self, copies: tuple[Path, Path]) -> None:
        for component in SHARED:
            one, other = (component_identity(ComponentFiles(str(folder)), component) for folder in copies)
            assert one == other is not None

    def test_who_wrote_a_configuration_has_no_effect(self, copies: tuple[Path, Path]) -> None:
        one, other = copies
        change_config(other / "text_encoder", "transformers_version", "4.0.0")
        assert component_identity(ComponentFiles(str(one)), "text_encoder") == component_identity(
            ComponentFiles(str(other)), "text_encoder"
        )
        change_config(other / "text_encoder", "image_token_id", 7)
        assert component_identity(ComponentFiles(str(one)), "text_encoder") != component_identity(
            ComponentFiles(str(other)), "text_encoder"
        )

    def test_a_file_of_its_own_counts(self, copies: tuple[Path, Path], tmp_path: Path) -> None:
        folder = copies[0]
        file = Path(shutil.copy(folder / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "vae.safetensors"))
        own = ComponentFiles(str(folder), vae=str(file))
        before = component_identity(own, "vae")
        other_folder = component_identity(ComponentFiles(str(folder), vae=str(copies[1])), "vae")
        assert other_folder == component_identity(ComponentFiles(str(folder)), "vae") != before
        file.write_bytes(file.read_bytes() + b"0")
        assert component_identity(own, "vae") not in (None, before)

    def test_a_vision_tower_beside_a_gguf_file_counts(self, copies: tuple[Path, Path], tmp_path: Path) -> None:
        save_language_gguf(LANGUAGE, tmp_path / "q4.gguf")
        files = ComponentFiles(str(copies[0]), text_encoder=str(tmp_path / "q4.gguf"))
        blind = component_identity(files, "text_encoder")
        save_mmproj(VISION, tmp_path / "Q4-MMPROJ-F16.gguf")
        assert component_identity(files, "text_encoder") not in (None, blind)

    def test_what_is_not_here_has_none(self, copies: tuple[Path, Path]) -> None:
        assert component_identity(ComponentFiles("owner/not-here"), "vae") is None
        assert component_identity(ComponentFiles(str(copies[0]), vae="owner/repository/vae.safetensors"), "vae") is None
        shutil.rmtree(copies[0] / "vae")
        assert component_identity(ComponentFiles(str(copies[0])), "vae") is None


class TestKeeping:
    def test_the_same_component_is_loaded_once(self) -> None:
        kept = KeptComponents()
        one = kept.get("vae", "a", lambda: nn.Linear(1, 1))
        assert kept.get("vae", "a", lambda: nn.Linear(1, 1)) is one
        assert kept.get("vae", "b", lambda: nn.Linear(1, 1)) is not one
        assert kept.get("text_encoder", "b", lambda: nn.Linear(1, 1)) is not kept.get("vae", "b", nn.Identity)

    def test_nothing_is_kept_without_an_identity(self) -> None:
        kept = KeptComponents()
        one = kept.get("vae", None, lambda: nn.Linear(1, 1))
        assert kept.get("vae", None, lambda: nn.Linear(1, 1)) is not one

    def test_others_are_dropped_before_the_next_model_is_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        freed: list[int] = []
        monkeypatch.setattr(kept_components, "free_memory", lambda: freed.append(1))
        kept = KeptComponents()
        vae = kept.get("vae", "a", lambda: nn.Linear(1, 1))
        encoder = kept.get("text_encoder", "b", lambda: nn.Linear(1, 1))
        kept.drop_others({"vae": "a", "text_encoder": "b"})
        assert freed == []
        kept.drop_others({"vae": "a", "text_encoder": "c"})
        assert freed == [1]
        assert kept.get("vae", "a", nn.Identity) is vae
        assert kept.get("text_encoder", "b", lambda: nn.Linear(1, 1)) is not encoder

    def test_its_networks_are_told(self, checkpoint: Checkpoint) -> None:
        kept = KeptComponents()
        assert kept.networks == ()
        vae = kept.get("vae", "a", lambda: nn.Linear(3, 4))
        encoder = kept.get("text_encoder", "a", lambda: LoadedEncoder(checkpoint.text_encoder))
        assert kept.networks == (vae, encoder.network)


def test_what_a_plan_does_to_a_component_identifies_it_too(copies: tuple[Path, Path]) -> None:
    files = ComponentFiles(str(copies[0]))
    fp32, bf16 = (shared_identities(files, "float32", resident_plan(each)) for each in ("fp32", "bf16"))
    assert fp32 == shared_identities(ComponentFiles(str(copies[1])), "float32", resident_plan("fp32"))
    assert all(fp32[component] != bf16[component] for component in SHARED)
    assert shared_identities(ComponentFiles("owner/not-here"), "float32", resident_plan("fp32")) == dict.fromkeys(
        SHARED
    )
