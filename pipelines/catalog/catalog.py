"""The catalogue: the AIR identifiers that are served, their weights and their defaults.

`models_file` reads it. The API process validates model names with it; the worker loads the weights that it names. Knows
no weights format, and imports no torch.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import ConfigDict, Field

from pipelines.catalog.component_files import COMPONENTS, ComponentFiles
from pipelines.catalog.own_lora import OwnLora, made_for
from pipelines.catalog.schedules import UNCHANGED, LoraSchedule, SigmaSchedule
from pipelines.catalog.vocabulary import Vocabulary, load_vocabulary
from pipelines.limits import MAX_ADAPTER_WEIGHT, MAX_STEPS, MAX_TRUE_CFG_SCALE
from pipelines.request import LoraUse, Sampler

Mode = Literal["text_to_image", "edit", "edit_plus"]
Architecture = Literal["qwen_image", "qwen_image_edit"]
Area = Annotated[int, Field(gt=0)]

BUILT_IN = Path(__file__).with_name("models.toml")
EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).with_name("embedded")
# The LoRAs and the ControlNet that come with the embedded checkpoint, relative to its folder.
OUTLINES = Path("loras", "outlines.safetensors")
LIGHTNING = Path("loras", "lightning.safetensors")
EDGES = Path("controlnets", "edges")
# What it was trained on and for how long, relative to its folder too.
VOCABULARY, TRAINING = Path("vocabulary.toml"), Path("training.json")
# Qwen-Image and Qwen-Image-Edit share one transformer class and its sizes, so a LoRA of one fits the other.
LORA_ARCHITECTURES: tuple[str, ...] = get_args(Architecture)
# The keys of a model that name files of its own.
OWN_FILES = (*COMPONENTS, "text_encoder_mmproj")
_FIRST_AREA = 128 * 128  # pixels of the training images of embedded weights that do not say

# The fewest and the most reference images of each mode. Qwen-Image-Edit-2509 was trained with up to three.
REFERENCES: dict[Mode, tuple[int, int]] = {"text_to_image": (0, 0), "edit": (1, 1), "edit_plus": (1, 3)}
IN_CONTEXT_LORA = re.compile(r"in-context-control|union_diffsynth_lora", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One served model. Areas are in pixels; references are scaled to an area with their aspect kept.

    The VAE encodes references at `reference_area`, and the vision tower at `condition_area`; the two differ for
    `edit_plus` only. `output_area` is the size of an edit without width and height. The defaults are diffusers'
    constants. `native_area` is for weights that were trained at one size: they render at that size, and the image is
    scaled afterwards. `profile` is the name of a TeaCache profile. `vocabulary` is the file of the words that small
    weights were trained on.
    `schedule` is for weights that are distilled themselves.
    `transformer`, `text_encoder` and `vae` are files or folders that replace those of `weights`. `text_encoder_mmproj`
    is the vision tower of a text encoder in GGUF, where it does not lie beside it.
    `loras` act in every task of the model, besides those that a task names.
    `names` are the model's names in each dialect. Rows of several modes may share a name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    air: str
    name: str
    version: str
    architecture: Architecture
    mode: Mode
    weights: str
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    true_cfg_scale: Annotated[float, Field(ge=0, le=MAX_TRUE_CFG_SCALE, allow_inf_nan=False)]
    slugs: tuple[str, ...] = ()
    output_area: Area = 1024 * 1024
    reference_area: Area = 1024 * 1024
    condition_area: Area = 384 * 384
    native_area: Area | None = None
    profile: str | None = None
    vocabulary: str | None = None
    schedule: SigmaSchedule = UNCHANGED
    transformer: str | None = None
    text_encoder: str | None = None
    vae: str | None = None
    text_encoder_mmproj: str | None = None
    loras: tuple[OwnLora, ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def files(self) -> ComponentFiles:
        """Where its components come from."""
        return ComponentFiles(self.weights, self.transformer, self.text_encoder, self.vae, self.text_encoder_mmproj)

    @property
    def embedded(self) -> bool:
        """Whether the small checkpoint that needs no download replaces the real weights."""
        return self.weights == EMBEDDED

    @property
    def known_words(self) -> Vocabulary | None:
        """The words that its weights were trained on, None if they read everything."""
        return None if self.vocabulary is None else load_vocabulary(Path(self.vocabulary))

    @property
    def own_loras(self) -> tuple[LoraUse, ...]:
        """Its LoRAs, to be applied after those of a request."""
        return tuple(lora.use for lora in self.loras)

    @property
    def made_for(self) -> LoraSchedule:
        """What its own LoRAs were made for."""
        return made_for(self.loras)

    @property
    def sampler(self) -> Sampler:
        """The model's own sampler."""
        return Sampler(shift=self.schedule.shift, terminal=self.schedule.terminal)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA or a ControlNet that requests can name.

    `weights` of a LoRA is a safetensors file. `weights` of a ControlNet is a folder in the diffusers layout or a hub
    name. `weight` is the strength for requests that give none.
    `schedule` is what a LoRA was made for, if it is distilled; None if it is not. An `in_context` LoRA makes a
    text-to-image model follow a control image, which is given as its reference.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    air: str
    name: str
    weights: str
    version: str = "1.0"
    architecture: str = "qwen_image"
    weight: Annotated[float, Field(ge=-MAX_ADAPTER_WEIGHT, le=MAX_ADAPTER_WEIGHT, allow_inf_nan=False)] = 1.0
    slugs: tuple[str, ...] = ()
    schedule: LoraSchedule | None = None
    in_context: bool = False


@dataclass(frozen=True, slots=True)
class Catalog:
    """The served models and adapters, in the order of the file."""

    entries: tuple[ModelEntry, ...]
    loras: tuple[Adapter, ...] = ()
    controlnets: tuple[Adapter, ...] = ()

    def find(self, name: str) -> ModelEntry | None:
        """The model of an AIR identifier or slug, letter case ignored."""
        return _find(name, self.entries)

    def named(self, dialect: str, name: str) -> tuple[ModelEntry, ...]:
        """The models with a dialect's name, else the one with an AIR identifier or slug. Letter case is ignored.

        A name may stand for several: its task says which mode is meant.
        """
        wanted = name.strip().lower()
        named = [row for row in self.entries if wanted in map(str.lower, row.names.get(dialect, ()))]
        return tuple(named) or tuple(row for row in (self.find(name),) if row is not None)

    def find_lora(self, name: str) -> Adapter | None:
        """The LoRA of an AIR identifier or slug, letter case ignored."""
        return _find(name, self.loras)

    def find_controlnet(self, name: str) -> Adapter | None:
        """The ControlNet of an AIR identifier or slug, letter case ignored."""
        return _find(name, self.controlnets)

    def with_embedded_weights(self) -> "Catalog":
        """This catalogue with the embedded checkpoint for every identifier, and with its LoRA and ControlNet."""
        embedded: dict[str, Any] = {"weights": EMBEDDED, "profile": None, "schedule": UNCHANGED, "loras": ()}
        embedded |= dict.fromkeys(OWN_FILES)
        entries = tuple(replace(entry, **embedded) for entry in self.entries)
        return with_embedded_abilities(replace(self, entries=entries))


def reference_limits(entry: ModelEntry, loras: Iterable[Adapter]) -> tuple[int, int]:
    """The fewest and the most reference images of a model with these LoRAs."""
    own = any(IN_CONTEXT_LORA.search(lora.weights) for lora in entry.loras)
    if entry.mode == "text_to_image" and (own or any(lora.in_context for lora in loras)):
        return 1, 1
    return REFERENCES[entry.mode]


def choose_by_references(entries: Sequence[ModelEntry], references: int) -> ModelEntry:
    """The first of some models with one name that takes this number of reference images, else the first of all."""
    for entry in entries:
        least, most = reference_limits(entry, ())
        if least <= references <= most:
            return entry
    return entries[0]


Row = TypeVar("Row", ModelEntry, Adapter)
# Distilled, as those of lightx2v are: training/trainers/lightning.py.
FOUR_STEPS = LoraSchedule(shift=3.0, terminal=0.0, steps=4, true_cfg_scale=1.0)
_EMBEDDED_LORAS = (
    Adapter("ownware:1@1", "Outlines", str(EMBEDDED_FOLDER / OUTLINES), slugs=("outlines",)),
    Adapter(
        "ownware:3@1",
        "Lightning, 4 steps",
        str(EMBEDDED_FOLDER / LIGHTNING),
        slugs=("lightning",),
        schedule=FOUR_STEPS,
    ),
)
_EMBEDDED_CONTROLNETS = (Adapter("ownware:2@1", "Edges", str(EMBEDDED_FOLDER / EDGES), slugs=("edges",)),)


def with_embedded_abilities(catalog: Catalog) -> Catalog:
    """The catalogue with all that the embedded checkpoint has: its size, its words, its LoRAs and its ControlNet.

    They belong to the weights, so rows of the built-in and of any other models file have them alike.
    """
    if not any(entry.embedded for entry in catalog.entries):
        return catalog
    own: dict[str, Any] = dict.fromkeys(
        ("native_area", "reference_area", "condition_area"), trained_area(EMBEDDED_FOLDER)
    )
    own["vocabulary"] = str(EMBEDDED_FOLDER / VOCABULARY)
    return replace(
        catalog,
        entries=tuple(replace(entry, **own) if entry.embedded else entry for entry in catalog.entries),
        loras=(*catalog.loras, *_without_taken(_EMBEDDED_LORAS, catalog)),
        controlnets=(*catalog.controlnets, *_without_taken(_EMBEDDED_CONTROLNETS, catalog)),
    )


@cache
def trained_area(folder: Path) -> int:
    """The pixels of the images that a checkpoint of the embedded kind was trained on last."""
    facts = folder / TRAINING
    return json.loads(facts.read_text(encoding="utf-8")).get("area", _FIRST_AREA) if facts.is_file() else _FIRST_AREA


def _without_taken(rows: tuple[Adapter, ...], catalog: Catalog) -> Iterator[Adapter]:
    """The rows whose names the models file does not use."""
    taken = {name for row in (*catalog.entries, *catalog.loras, *catalog.controlnets) for name in names_of(row)}
    return (row for row in rows if taken.isdisjoint(names_of(row)))


def names_of(row: ModelEntry | Adapter) -> tuple[str, ...]:
    """The names of a row that may not be used twice."""
    return (row.air.lower(), *row.slugs)


def _find(name: str, rows: tuple[Row, ...]) -> Row | None:
    wanted = name.strip().lower()
    return next((row for row in rows if wanted == row.air.lower() or wanted in row.slugs), None)
