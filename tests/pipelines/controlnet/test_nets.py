from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from PIL import Image

from pipelines.catalog.catalog import Mode, ModelEntry, load_catalog
from pipelines.controlnet.nets import RESIDENT, Residuals, prepare_controls, residuals, softened
from pipelines.editing.canvas import WHOLE
from pipelines.errors import ControlError
from pipelines.models.loader import Checkpoint
from pipelines.render import RenderState, advance, prepare
from pipelines.request import ControlUse, Reference, RenderRequest, Sampler, SolverName
from tests.control import deeper, save_controlnet

WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> Checkpoint:
    """Five blocks, so that nets of two and of three layers spread over them unevenly."""
    return replace(deeper(checkpoint, 5), controlnets=OrderedDict())


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "zero_cond_t"])
def any_model(request: pytest.FixtureRequest, model: Checkpoint) -> Checkpoint:
    """Also the kind whose reference tokens are modulated at time zero."""
    return replace(deeper(model, 5, zero_cond_t=request.param), controlnets=OrderedDict())


@pytest.fixture(scope="module")
def folder(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("controlnets")
    for layers in (1, 2, 3):
        save_controlnet(checkpoint, folder / str(layers), layers, seed=layers)
    Image.radial_gradient("L").resize((60, 40)).convert("RGB").save(folder / "rings.png")
    Image.linear_gradient("L").resize((30, 70)).convert("RGB").save(folder / "slope.png")
    return folder


def picture(folder: Path, name: str) -> Reference:
    with Image.open(folder / f"{name}.png") as image:
        return Reference(folder / f"{name}.png", name, *image.size)


def use(folder: Path, layers: int = 2, guide: str = "rings", **changes: Any) -> ControlUse:
    plain = ControlUse(f"net {layers}", str(folder / str(layers)), picture(folder, guide))
    return replace(plain, **changes)


def entry(mode: Mode) -> ModelEntry:
    found = next(e for e in load_catalog().entries if e.mode == mode)
    return replace(found, reference_area=64 * 64, condition_area=64 * 64)


def begun(model: Checkpoint, *controls: ControlUse, mode: Mode = "text_to_image", **changes: Any) -> RenderState:
    request = RenderRequest("", "a red circle", None, WIDTH, HEIGHT, 3, Sampler(), 4.0, 7, controls=controls)
    return prepare(replace(request, **changes), 0, model, entry(mode))


def ended(state: RenderState) -> torch.Tensor:
    while state.step < state.total:
        advance([state])
    return state.latents


def drawn(model: Checkpoint, *controls: ControlUse, **options: Any) -> torch.Tensor:
    return ended(begun(model, *controls, **options))


class Recording(torch.nn.Module):
    """A transformer that keeps what ControlNets add to its blocks, forward by forward."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.config = transformer.config
        self.added: list[list[torch.Tensor] | None] = []

    def forward(self, **inputs: Any) -> Any:
        self.added.append(inputs["controlnet_block_samples"])
        return self.transformer(**inputs)


def recorded(model: Checkpoint, *controls: ControlUse, **options: Any) -> list[list[torch.Tensor] | None]:
    recording = Recording(model.transformer)
    drawn(replace(model, transformer=cast("Any", recording)), *controls, **options)
    return recording.added


CHANGES: list[dict[str, Any]] = [
    {"guide": "slope"},
    {"weight": 0.5},
    {"weight": -1.0},
    {"layers": 3},
    {"start": 1},
    {"end": 2},
    {"mode": "prompt"},
    {"mode": "controlnet"},
]


class TestEffect:
    @pytest.mark.parametrize("change", CHANGES, ids=str)
    def test_every_part_of_a_use_shows(self, model: Checkpoint, folder: Path, change: dict[str, Any]) -> None:
        plain, changed = drawn(model, use(folder)), drawn(model, use(folder, **change))
        assert changed.isfinite().all()
        assert not torch.equal(plain, changed)
        assert not torch.equal(drawn(model), changed)

    @pytest.mark.parametrize("change", [{"weight": 0.0}, {"start": 3}, {"start": 2, "end": 2}], ids=str)
    def test_what_cannot_act_is_not_even_loaded(self, model: Checkpoint, folder: Path, change: dict[str, Any]) -> None:
        missing = replace(use(folder, **change), weights=str(folder / "missing"))
        assert begun(model, missing).controls == ()
        assert torch.equal(drawn(model, missing), drawn(model))

    def test_of_a_part_the_guides_part_counts(self, model: Checkpoint, folder: Path) -> None:
        with Image.open(folder / "rings.png") as rings:
            rings.crop((20, 10, 50, 30)).save(folder / "part.png")
        half = (20 / 60, 10 / 40, 50 / 60, 30 / 40)
        of_part, cut, of_all = (
            prepare_controls([use(folder, guide=guide)], WIDTH, HEIGHT, 3, model, part)[0].control_latents
            for guide, part in (("rings", half), ("part", WHOLE), ("rings", WHOLE))
        )
        # At the edges of a part, resampling sees what lies beyond.
        assert (of_part - cut).abs().mean() < 0.1 * (of_part - of_all).abs().mean()

    def test_a_mask_with_a_margin_is_drawn_with_the_guides_part(self, model: Checkpoint, folder: Path) -> None:
        mask = Image.new("L", (60, 40))
        mask.paste(255, (25, 15, 45, 25))
        mask.save(folder / "mask.png")
        painted = begun(
            model, use(folder), seed_image=picture(folder, "rings"), mask=picture(folder, "mask"), mask_margin=2
        )
        assert painted.canvas is not None
        assert painted.canvas.part != WHOLE
        expected = prepare_controls([use(folder)], WIDTH, HEIGHT, 3, model, painted.canvas.part)
        assert torch.equal(painted.controls[0].control_latents, expected[0].control_latents)

    def test_different_nets_at_once(self, model: Checkpoint, folder: Path) -> None:
        two, three = use(folder, 2), use(folder, 3, "slope", weight=0.7)
        both = drawn(model, two, three)
        for alone in ((two,), (three,), ()):
            assert not torch.equal(both, drawn(model, *alone))

    def test_one_net_with_two_guides(self, model: Checkpoint, folder: Path) -> None:
        one, other = use(folder), use(folder, guide="slope")
        assert not torch.equal(drawn(model, one, other), drawn(model, one))
        assert len(model.controlnets) <= RESIDENT

    @pytest.mark.parametrize(("mode", "count"), [("text_to_image", 0), ("edit", 1), ("edit_plus", 2)])
    def test_every_kind_of_model(self, any_model: Checkpoint, folder: Path, mode: Mode, count: int) -> None:
        references = (picture(folder, "slope"), picture(folder, "rings"))[:count]
        controlled, plain = (
            drawn(any_model, *controls, mode=mode, references=references) for controls in ((use(folder),), ())
        )
        assert controlled.shape == plain.shape
        assert not torch.equal(controlled, plain)

    @pytest.mark.parametrize("solver", ["euler", "dpmpp_2m"])
    def test_every_solver(self, model: Checkpoint, folder: Path, solver: SolverName) -> None:
        sampler = Sampler(solver)
        assert not torch.equal(drawn(model, use(folder), sampler=sampler), drawn(model, sampler=sampler))


class TestModes:
    def test_balanced_adds_the_same_to_both_branches(self, model: Checkpoint, folder: Path) -> None:
        cond, uncond = recorded(model, use(folder), steps=1)
        assert cond is uncond is not None

    def test_controlnet_adds_to_the_conditional_branch_only(self, model: Checkpoint, folder: Path) -> None:
        (balanced, _), (cond, uncond) = (
            recorded(model, use(folder, mode=mode), steps=1) for mode in ("balanced", "controlnet")
        )
        assert uncond is None
        assert same(cond, balanced)

    def test_without_guidance_controlnet_is_balanced(self, model: Checkpoint, folder: Path) -> None:
        modes = (use(folder, mode="balanced"), use(folder, mode="controlnet"))
        assert torch.equal(*(drawn(model, use, true_cfg_scale=1.0) for use in modes))

    def test_prompt_weakens_the_first_blocks_most(self, model: Checkpoint, folder: Path) -> None:
        (balanced, _), (cond, uncond) = (
            recorded(model, use(folder, 3, mode=mode), steps=1) for mode in ("balanced", "prompt")
        )
        assert cond is uncond
        assert cond is not None
        assert balanced is not None
        ratios = [float((soft / full).mean()) for soft, full in zip(cond, balanced, strict=True)]
        assert ratios == pytest.approx([0.1, 0.1, 10**-0.5, 10**-0.5, 1.0], rel=1e-4)

    def test_the_softening_of_thirteen_residuals_is_the_first_controlnets(self) -> None:
        softly = [float(sample) for sample in softened([torch.ones(1)] * 13)]
        assert softly == pytest.approx([0.825 ** (12 - i) for i in range(13)], rel=0.006)

    def test_mixed_modes_are_told_apart(self, model: Checkpoint, folder: Path) -> None:
        mixed = (use(folder, 2), use(folder, 3, mode="controlnet"))
        cond, uncond = recorded(model, *mixed, steps=1)
        assert same(cond, recorded(model, use(folder, 2), use(folder, 3), steps=1)[0])
        assert same(uncond, recorded(model, use(folder, 2), steps=1)[0])


class TestResiduals:
    def test_runs_of_equal_length_and_their_sum(self, model: Checkpoint, folder: Path) -> None:
        two, three, both = (
            recorded(model, *controls, steps=1)[0]
            for controls in (
                (use(folder, 2),),
                (use(folder, 3, "slope"),),
                (use(folder, 2), use(folder, 3, "slope")),
            )
        )
        assert two is not None
        assert three is not None
        assert both is not None
        assert [id(sample) for sample in two] == [id(two[0])] * 3 + [id(two[3])] * 2
        assert [id(sample) for sample in three] == [id(three[0])] * 2 + [id(three[2])] * 2 + [id(three[4])]
        for a, b, total in zip(two, three, both, strict=True):
            assert torch.equal(a + b, total)

    def test_reference_tokens_get_nothing(self, model: Checkpoint, folder: Path) -> None:
        references = (picture(folder, "slope"),)
        added, _ = recorded(model, use(folder), mode="edit", references=references, steps=1)
        assert added is not None
        own = WIDTH // 16 * HEIGHT // 16
        for sample in added:
            assert sample[:, own:].shape[1] > 0
            assert not sample[:, own:].any()
            assert sample[:, :own].any()

    def test_no_more_residuals_than_blocks_are_used(self, checkpoint: Checkpoint, folder: Path) -> None:
        shallow = replace(deeper(checkpoint, 2), controlnets=OrderedDict())
        added, _ = recorded(shallow, use(folder, 3), steps=1)
        assert added is not None
        assert len(added) == 2
        assert not torch.equal(added[0], added[1])

    def test_without_controls_there_are_none(self) -> None:
        nothing = torch.zeros(0)
        none = residuals((), 0, sample=nothing, timestep=nothing, embeds=nothing, shape=(1, 1, 1), blocks=5, appended=0)
        assert none == Residuals(None, None)

    @pytest.mark.parametrize(("start", "end"), [(0, 1), (1, 3), (2, 50)])
    def test_a_net_is_added_inside_its_window_only(self, model: Checkpoint, folder: Path, start: int, end: int) -> None:
        added = recorded(model, use(folder, start=start, end=end), steps=4)
        acting = [step for step in range(4) if added[2 * step] is not None]
        assert acting == list(range(start, min(end, 4)))


class TestGuide:
    def test_it_is_scaled_to_the_size_that_is_drawn(self, model: Checkpoint, folder: Path) -> None:
        small = replace(entry("text_to_image"), native_area=64 * 64)
        request = RenderRequest("", "a", None, 256, 256, 1, Sampler(), 1.0, 0, controls=(use(folder),))
        state = prepare(request, 0, model, small)
        assert state.controls[0].control_latents.shape == (1, 16, 64) == state.latents.shape
        assert ended(state).isfinite().all()

    def test_it_is_seen_as_it_is_shown(self, model: Checkpoint, folder: Path, tmp_path: Path) -> None:
        plain = use(folder, guide="slope")
        exif = Image.Exif()
        exif[0x0112] = 3
        with Image.open(plain.control_image.path) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "turned.png", exif=exif)
        turned = replace(plain, control_image=replace(plain.control_image, path=tmp_path / "turned.png"))
        one, other = (begun(model, use).controls[0].control_latents for use in (plain, turned))
        assert torch.equal(one, other)


class TestSharing:
    def test_taking_turns_equals_alone(self, model: Checkpoint, folder: Path) -> None:
        setups = [(use(folder, 2),), (use(folder, 3, "slope", start=1, mode="prompt"),), ()]
        alone = [drawn(model, *controls) for controls in setups]
        states = [begun(model, *controls) for controls in setups]
        while states[0].step < states[0].total:
            advance(states)
        for state, latents in zip(states, alone, strict=True):
            assert torch.equal(state.latents, latents)

    def test_an_abandoned_render_leaves_nothing(self, model: Checkpoint, folder: Path) -> None:
        before = drawn(model)
        advance([begun(model, use(folder, 3))])
        assert torch.equal(drawn(model), before)

    def test_it_draws_without_changing_the_net(self, model: Checkpoint, folder: Path) -> None:
        assert torch.equal(drawn(model, use(folder)), drawn(model, use(folder)))


class TestLoading:
    def test_only_the_most_recently_used_stay(self, model: Checkpoint, folder: Path) -> None:
        def load(*layers: int) -> None:
            prepare_controls([use(folder, count) for count in layers], WIDTH, HEIGHT, 3, model)

        load(1, 2)
        kept = model.controlnets[str(folder / "1")]
        load(1, 3)
        assert list(model.controlnets) == [str(folder / "1"), str(folder / "3")]
        assert model.controlnets[str(folder / "1")] is kept

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
        self, model: Checkpoint, folder: Path, tmp_path: Path, changes: dict[str, Any], reason: str
    ) -> None:
        weights = save_controlnet(model, tmp_path / "net", 1, seed=1, **changes)
        with pytest.raises(ControlError, match=f"ControlNet 'odd': .*{reason}") as caught:
            begun(model, replace(use(folder), weight=0), replace(use(folder), name="odd", weights=weights))
        assert caught.value.path == "controls[1]"

    @pytest.mark.parametrize("damage", ["missing folder", "empty folder", "cut file", "missing weights", "other model"])
    def test_broken_folders(self, model: Checkpoint, weights: Path, folder: Path, tmp_path: Path, damage: str) -> None:
        broken = tmp_path / "net"
        if damage == "empty folder":
            broken.mkdir()
        elif damage == "other model":
            broken = weights / "transformer"
        elif damage != "missing folder":
            save_controlnet(model, broken, 2, seed=1)
            file = broken / "diffusion_pytorch_model.safetensors"
            if damage == "cut file":
                file.write_bytes(file.read_bytes()[:1000])
            else:
                config = broken / "config.json"
                config.write_text(config.read_text().replace('"num_layers": 2', '"num_layers": 4'))
        with pytest.raises(ControlError, match="ControlNet 'broken': Weights '"):
            begun(model, replace(use(folder), name="broken", weights=str(broken)))


def same(one: list[torch.Tensor] | None, other: list[torch.Tensor] | None) -> bool:
    return one is not None and other is not None and all(map(torch.equal, one, other))
