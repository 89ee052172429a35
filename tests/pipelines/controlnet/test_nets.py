from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.catalog.catalog import Mode
from pipelines.controlnet.nets import prepare_controls
from pipelines.controlnet.residuals import Control
from pipelines.editing.canvas import WHOLE, RelativeBox
from pipelines.errors import ControlError
from pipelines.models.checkpoint import LoadedModel
from pipelines.pictures.reader import PictureReader
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance
from pipelines.request import ControlUse, RenderRequest, Sampler, SolverName
from tests.control import save_blockwise, save_controlnet
from tests.pipelines.controlnet.renders import HEIGHT, WIDTH, begun, drawn, ended, entry, picture, use

CHANGES: list[dict[str, Any]] = [
    {"image": "slope"},
    {"weight": 0.5},
    {"weight": -1.0},
    {"layers": 3},
    {"start": 1},
    {"end": 2},
    {"mode": "prompt"},
    {"mode": "controlnet"},
]


def prepared(
    model: LoadedModel, *uses: ControlUse, box: RelativeBox = WHOLE, mask: np.ndarray | None = None
) -> tuple[Control, ...]:
    return cast("tuple[Control, ...]", prepare_controls(uses, WIDTH, HEIGHT, 3, model, PictureReader(), box, mask))


@pytest.fixture(scope="module")
def uncontrolled(model: LoadedModel) -> torch.Tensor:
    return drawn(model)


@pytest.fixture(scope="module")
def controlled(model: LoadedModel, folder: Path) -> torch.Tensor:
    """Drawn with the net of two layers."""
    return drawn(model, use(folder))


class TestEffect:
    @pytest.mark.parametrize("change", CHANGES, ids=str)
    def test_every_part_of_a_use_shows(
        self,
        model: LoadedModel,
        folder: Path,
        uncontrolled: torch.Tensor,
        controlled: torch.Tensor,
        change: dict[str, Any],
    ) -> None:
        changed = drawn(model, use(folder, **change))
        assert changed.isfinite().all()
        assert not torch.equal(controlled, changed)
        assert not torch.equal(uncontrolled, changed)

    @pytest.mark.parametrize("change", [{"weight": 0.0}, {"start": 3}, {"start": 2, "end": 2}], ids=str)
    def test_what_cannot_act_is_not_even_loaded(
        self, model: LoadedModel, folder: Path, uncontrolled: torch.Tensor, change: dict[str, Any]
    ) -> None:
        missing = replace(use(folder, **change), weights=str(folder / "missing"))
        assert begun(model, missing).controls == ()
        assert torch.equal(drawn(model, missing), uncontrolled)

    def test_the_part_that_is_drawn_uses_its_part_of_the_control_image(self, model: LoadedModel, folder: Path) -> None:
        with Image.open(folder / "rings.png") as rings:
            rings.crop((20, 10, 50, 30)).save(folder / "part.png")
        half = (20 / 60, 10 / 40, 50 / 60, 30 / 40)
        of_part, cut, of_all = (
            prepared(model, use(folder, image=image), box=box)[0].control_latents
            for image, box in (("rings", half), ("part", WHOLE), ("rings", WHOLE))
        )
        # At the edges of the box, resampling sees pixels beyond it.
        assert (of_part - cut).abs().mean() < 0.1 * (of_part - of_all).abs().mean()

    def test_a_mask_with_a_margin_uses_the_box_of_the_canvas(self, model: LoadedModel, folder: Path) -> None:
        mask = Image.new("L", (60, 40))
        mask.paste(255, (25, 15, 45, 25))
        mask.save(folder / "mask.png")
        painted = begun(
            model, use(folder), seed_image=picture(folder, "rings"), mask=picture(folder, "mask"), mask_margin=2
        )
        assert painted.canvas is not None
        assert painted.canvas.relative_box != WHOLE
        (expected,) = prepared(model, use(folder), box=painted.canvas.relative_box)
        (control,) = painted.controls
        assert isinstance(control, Control)
        assert torch.equal(control.control_latents, expected.control_latents)

    def test_different_nets_at_once(
        self, model: LoadedModel, folder: Path, uncontrolled: torch.Tensor, controlled: torch.Tensor
    ) -> None:
        three = use(folder, 3, "slope", weight=0.7)
        both = drawn(model, use(folder), three)
        for alone in (controlled, drawn(model, three), uncontrolled):
            assert not torch.equal(both, alone)

    def test_one_net_with_two_control_images(self, model: LoadedModel, folder: Path, controlled: torch.Tensor) -> None:
        assert not torch.equal(drawn(model, use(folder), use(folder, image="slope")), controlled)

    @pytest.mark.parametrize(("mode", "count"), [("text_to_image", 0), ("edit", 1), ("edit_plus", 2)])
    def test_every_kind_of_model(self, any_model: LoadedModel, folder: Path, mode: Mode, count: int) -> None:
        references = (picture(folder, "slope"), picture(folder, "rings"))[:count]
        controlled, plain = (
            drawn(any_model, *controls, mode=mode, references=references) for controls in ((use(folder),), ())
        )
        assert controlled.shape == plain.shape
        assert not torch.equal(controlled, plain)

    @pytest.mark.parametrize("solver", ["euler", "dpmpp_2m"])
    def test_every_solver(self, model: LoadedModel, folder: Path, solver: SolverName) -> None:
        sampler = Sampler(solver)
        assert not torch.equal(drawn(model, use(folder), sampler=sampler), drawn(model, sampler=sampler))


class TestControlImage:
    def test_it_is_scaled_to_the_size_that_is_drawn(self, model: LoadedModel, folder: Path) -> None:
        small = replace(entry("text_to_image"), native_area=64 * 64)
        request = RenderRequest("", "a", None, 256, 256, 1, Sampler(), 1.0, 0, controls=(use(folder),))
        state = prepare(request, 0, model, small)
        (control,) = state.controls
        assert isinstance(control, Control)
        assert control.control_latents.shape == (1, 16, 64) == state.latents.shape
        assert ended(state).isfinite().all()

    def test_it_is_seen_as_it_is_shown(self, model: LoadedModel, folder: Path, tmp_path: Path) -> None:
        plain = use(folder, image="slope")
        exif = Image.Exif()
        exif[0x0112] = 3
        with Image.open(plain.control_image.path) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "turned.png", exif=exif)
        turned = replace(plain, control_image=replace(plain.control_image, path=tmp_path / "turned.png"))
        one, other = (prepared(model, use)[0].control_latents for use in (plain, turned))
        assert torch.equal(one, other)


@pytest.fixture(scope="module", params=["instantx", "blockwise"])
def inpainting(
    request: pytest.FixtureRequest, model: LoadedModel, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> ControlUse:
    """A net that reads a mask."""
    made = tmp_path_factory.mktemp("inpainting")
    if request.param == "instantx":
        weights = save_controlnet(model.checkpoint, made, 2, seed=1, extra_condition_channels=4)
    else:
        weights = save_blockwise(model.checkpoint, made / "net.safetensors", seed=1, extra=4)
    return replace(use(folder), name="inpainting", weights=weights)


class TestInpainting:
    @pytest.fixture
    def painted(self, folder: Path) -> dict[str, Any]:
        """A seed image with a mask that is white on the left half."""
        mask = Image.new("L", (WIDTH, HEIGHT))
        mask.paste(255, (0, 0, WIDTH // 2, HEIGHT))
        mask.save(folder / "left.png")
        return {"seed_image": picture(folder, "slope"), "mask": picture(folder, "left")}

    def test_the_mask_shows(self, model: LoadedModel, inpainting: ControlUse, painted: dict[str, Any]) -> None:
        one = drawn(model, inpainting, **painted)
        assert one.isfinite().all()
        assert not torch.equal(one, drawn(model, **painted))
        other = prepared(model, inpainting, mask=np.zeros((HEIGHT, WIDTH), np.float32))
        state = begun(model, inpainting, **painted)
        state.controls = other
        assert not torch.equal(one, ended(state))

    def test_what_is_masked_is_not_seen(
        self, model: LoadedModel, folder: Path, painted: dict[str, Any], tmp_path: Path
    ) -> None:
        net = use(folder)
        weights = save_controlnet(model.checkpoint, tmp_path / "net", 2, seed=1, extra_condition_channels=4)
        with Image.open(folder / "rings.png") as rings:
            changed = rings.resize((WIDTH, HEIGHT))
        changed.paste((200, 30, 90), (0, 0, WIDTH // 2, HEIGHT))
        changed.save(folder / "changed.png")
        with Image.open(folder / "rings.png") as rings:
            rings.resize((WIDTH, HEIGHT)).save(folder / "same.png")
        one, other = (
            begun(model, replace(net, weights=weights, control_image=picture(folder, name)), **painted).controls[0]
            for name in ("same", "changed")
        )
        assert isinstance(one, Control)
        assert isinstance(other, Control)
        assert torch.equal(one.control_latents, other.control_latents)
        kept = one.control_latents[0, :, 64:].reshape(HEIGHT // 16, WIDTH // 16, 4)
        assert not kept[:, : WIDTH // 32].any()
        assert (kept[:, WIDTH // 32 :] == 1).all()

    def test_a_margin_cuts_the_mask_too(
        self, model: LoadedModel, inpainting: ControlUse, painted: dict[str, Any], folder: Path
    ) -> None:
        mask = Image.new("L", (WIDTH, HEIGHT))
        mask.paste(255, (16, 16, 32, 32))
        mask.save(folder / "spot.png")
        changed: dict[str, Any] = {**painted, "mask": picture(folder, "spot"), "mask_margin": 2}
        state = begun(model, inpainting, **changed)
        assert state.canvas is not None
        assert state.canvas.relative_box != WHOLE
        assert ended(state).isfinite().all()

    def test_a_seed_image_without_a_mask(self, model: LoadedModel, inpainting: ControlUse, folder: Path) -> None:
        with pytest.raises(ControlError, match="made for inpainting and needs a mask"):
            begun(model, inpainting, seed_image=picture(folder, "slope"))


class TestSharing:
    def test_taking_turns_equals_alone(self, model: LoadedModel, folder: Path) -> None:
        setups = [(use(folder, 2),), (use(folder, 3, "slope", start=1, mode="prompt"),), ()]
        alone = [drawn(model, *controls) for controls in setups]
        states = [begun(model, *controls) for controls in setups]
        while states[0].step < states[0].total:
            advance(states)
        for state, latents in zip(states, alone, strict=True):
            assert torch.equal(state.latents, latents)

    def test_an_abandoned_render_leaves_nothing(
        self, model: LoadedModel, folder: Path, uncontrolled: torch.Tensor
    ) -> None:
        advance([begun(model, use(folder, 3))])
        assert torch.equal(drawn(model), uncontrolled)

    def test_it_draws_without_changing_the_net(
        self, model: LoadedModel, folder: Path, controlled: torch.Tensor
    ) -> None:
        assert torch.equal(drawn(model, use(folder)), controlled)


class TestLoading:
    def test_only_the_most_recently_used_stay(self, model: LoadedModel, folder: Path) -> None:
        def load(*layers: int) -> None:
            prepared(model, *(use(folder, count) for count in layers))

        load(1, 2)
        kept, _ = model.memory.values("controlnet")
        load(1, 3)
        assert [net.config["num_layers"] for net in model.memory.values("controlnet")] == [1, 3]
        assert model.memory.values("controlnet")[0] is kept

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"num_attention_heads": 3}, "num_attention_heads is 3, the model's is 2"),
            ({"joint_attention_dim": 48}, "joint_attention_dim is 48"),
            ({"in_channels": 32}, "in_channels is 32"),
            ({"patch_size": 4}, "patch_size is 4"),
            ({"extra_condition_channels": 4}, "made for inpainting and needs a mask: give a seed image with one"),
            ({"extra_condition_channels": 8}, "reads 8 channels beside the image's; a mask has 4"),
            ({"num_layers": 0}, "no layers"),
        ],
        ids=str,
    )
    def test_nets_that_do_not_fit(
        self, model: LoadedModel, folder: Path, tmp_path: Path, changes: dict[str, Any], reason: str
    ) -> None:
        weights = save_controlnet(model.checkpoint, tmp_path / "net", 1, seed=1, **changes)
        with pytest.raises(ControlError, match=f"ControlNet 'odd': .*{reason}") as caught:
            begun(model, replace(use(folder), weight=0), replace(use(folder), name="odd", weights=weights))
        assert caught.value.path == "controls[1]"

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"width": 48}, "its width is 48, the model's is 32"),
            ({"depth": 4}, "it has 4 blocks, the model has 5"),
            ({"extra": 4}, "made for inpainting and needs a mask"),
            ({"extra": 1}, "reads 1 channels beside the image's; a mask has 4"),
        ],
        ids=str,
    )
    def test_blockwise_nets_that_do_not_fit(
        self, model: LoadedModel, folder: Path, tmp_path: Path, changes: dict[str, Any], reason: str
    ) -> None:
        weights = save_blockwise(model.checkpoint, tmp_path / "net.safetensors", seed=1, **changes)
        with pytest.raises(ControlError, match=f"ControlNet 'odd': .*{reason}") as caught:
            begun(model, replace(use(folder), name="odd", weights=weights))
        assert caught.value.path == "controls[0]"

    @pytest.mark.parametrize("damage", ["missing folder", "empty folder", "cut file", "missing weights", "other model"])
    def test_broken_folders(self, model: LoadedModel, weights: Path, folder: Path, tmp_path: Path, damage: str) -> None:
        broken = tmp_path / "net"
        if damage == "empty folder":
            broken.mkdir()
        elif damage == "other model":
            broken = weights / "transformer"
        elif damage != "missing folder":
            save_controlnet(model.checkpoint, broken, 2, seed=1)
            file = broken / "diffusion_pytorch_model.safetensors"
            if damage == "cut file":
                file.write_bytes(file.read_bytes()[:1000])
            else:
                config = broken / "config.json"
                config.write_text(config.read_text().replace('"num_layers": 2', '"num_layers": 4'))
        with pytest.raises(ControlError, match="ControlNet 'broken': Weights '"):
            begun(model, replace(use(folder), name="broken", weights=str(broken)))
