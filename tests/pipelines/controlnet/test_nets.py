from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipelines.catalog.catalog import Mode
from pipelines.controlnet.nets import prepare_controls
from pipelines.controlnet.residuals import Control
from pipelines.editing.canvas import WHOLE, RelativeBox
from pipelines.errors import ControlError
from pipelines.images import PictureReader
from pipelines.models.checkpoint import LoadedModel
from pipelines.render import advance, prepare
from pipelines.request import ControlUse, RenderRequest, Sampler, SolverName
from tests.control import save_controlnet
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


def prepared(model: LoadedModel, *uses: ControlUse, box: RelativeBox = WHOLE) -> tuple[Control, ...]:
    return prepare_controls(uses, WIDTH, HEIGHT, 3, model, PictureReader(), box)


class TestEffect:
    @pytest.mark.parametrize("change", CHANGES, ids=str)
    def test_every_part_of_a_use_shows(self, model: LoadedModel, folder: Path, change: dict[str, Any]) -> None:
        plain, changed = drawn(model, use(folder)), drawn(model, use(folder, **change))
        assert changed.isfinite().all()
        assert not torch.equal(plain, changed)
        assert not torch.equal(drawn(model), changed)

    @pytest.mark.parametrize("change", [{"weight": 0.0}, {"start": 3}, {"start": 2, "end": 2}], ids=str)
    def test_what_cannot_act_is_not_even_loaded(self, model: LoadedModel, folder: Path, change: dict[str, Any]) -> None:
        missing = replace(use(folder, **change), weights=str(folder / "missing"))
        assert begun(model, missing).controls == ()
        assert torch.equal(drawn(model, missing), drawn(model))

    def test_the_part_that_is_drawn_uses_its_part_of_the_control_image(self, model: LoadedModel, folder: Path) -> None:
        with Image.open(folder / "rings.png") as rings:
            rings.crop((20, 10, 50, 30)).save(folder / "part.png")
        half = (20 / 60, 10 / 40, 50 / 60, 30 / 40)
        of_part, cut, of_all = (
            prepare_controls([use(folder, image=image)], WIDTH, HEIGHT, 3, model, PictureReader(), box)[
                0
            ].control_latents
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
        expected = prepare_controls(
            [use(folder)], WIDTH, HEIGHT, 3, model, PictureReader(), painted.canvas.relative_box
        )
        assert torch.equal(painted.controls[0].control_latents, expected[0].control_latents)

    def test_different_nets_at_once(self, model: LoadedModel, folder: Path) -> None:
        two, three = use(folder, 2), use(folder, 3, "slope", weight=0.7)
        both = drawn(model, two, three)
        for alone in ((two,), (three,), ()):
            assert not torch.equal(both, drawn(model, *alone))

    def test_one_net_with_two_control_images(self, model: LoadedModel, folder: Path) -> None:
        one, other = use(folder), use(folder, image="slope")
        assert not torch.equal(drawn(model, one, other), drawn(model, one))

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
        assert state.controls[0].control_latents.shape == (1, 16, 64) == state.latents.shape
        assert ended(state).isfinite().all()

    def test_it_is_seen_as_it_is_shown(self, model: LoadedModel, folder: Path, tmp_path: Path) -> None:
        plain = use(folder, image="slope")
        exif = Image.Exif()
        exif[0x0112] = 3
        with Image.open(plain.control_image.path) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "turned.png", exif=exif)
        turned = replace(plain, control_image=replace(plain.control_image, path=tmp_path / "turned.png"))
        one, other = (begun(model, use).controls[0].control_latents for use in (plain, turned))
        assert torch.equal(one, other)


class TestSharing:
    def test_taking_turns_equals_alone(self, model: LoadedModel, folder: Path) -> None:
        setups = [(use(folder, 2),), (use(folder, 3, "slope", start=1, mode="prompt"),), ()]
        alone = [drawn(model, *controls) for controls in setups]
        states = [begun(model, *controls) for controls in setups]
        while states[0].step < states[0].total:
            advance(states)
        for state, latents in zip(states, alone, strict=True):
            assert torch.equal(state.latents, latents)

    def test_an_abandoned_render_leaves_nothing(self, model: LoadedModel, folder: Path) -> None:
        before = drawn(model)
        advance([begun(model, use(folder, 3))])
        assert torch.equal(drawn(model), before)

    def test_it_draws_without_changing_the_net(self, model: LoadedModel, folder: Path) -> None:
        assert torch.equal(drawn(model, use(folder)), drawn(model, use(folder)))


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
            ({"extra_condition_channels": 4}, "made for inpainting"),
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
