"""Plans the models of a catalogue on a device: their sizes, their usual requests, and the options of the user.

Looks at names, sizes and configurations of files, and reads no weights. Imports no torch.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from pipelines.catalog.catalog import REFERENCES, ModelEntry
from pipelines.catalog.hub.cache import local_folder
from pipelines.models.plan import ComponentPlan, Precision, WeightsPlan
from pipelines.models.planning.cards import CPU, Card, Host
from pipelines.models.planning.planner import Planner, Wish, Wishes
from pipelines.models.planning.sizes import QWEN_IMAGE, WEIGHT_BYTES, ModelSizes, Packed, folder_sizes, precise_ends
from pipelines.models.planning.workload import Workload
from pipelines.request import RenderRequest

# Bytes of a weight by what names of files say: the sizes of published files over the number of parameters.
_TAGS = {
    "fp8": 1.0,
    "q2_k": 0.37,
    "q3_k_s": 0.44,
    "q3_k": 0.48,
    "q4": 0.64,
    "q5": 0.74,
    "q6_k": 0.83,
    "q8_0": 1.08,
}
_OWN_SIDE = 1328  # pixels: the square that Qwen-Image's authors recommend
_LEAST_BF16 = 1.5  # bytes of a weight: a file with fewer is quantized


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the user sets: GPU memory and host memory in bytes, None for what is there, and wishes.

    `size` in pixels and `references` are those of the largest request that the plan leaves room for; None leaves them
    to the model.
    """

    vram: int | None = None
    host_memory: int | None = None
    size: tuple[int, int] | None = None
    references: int | None = None
    wishes: Wishes = field(default_factory=Wishes)

    def limit(self, card: Card) -> Card:
        """The card with the memory that may be used."""
        return card if self.vram is None or card == CPU else replace(card, memory=self.vram)


def plan_entry(
    entry: ModelEntry, card: Card, host: Host, options: PlanOptions, workload: Workload | None = None
) -> WeightsPlan:
    """The plan of a model on a card or on the CPU. Raises `PlanError` where it does not fit the card."""
    sizes, workload = entry_sizes(entry), workload or usual_workload(entry, options)
    if card.generation == "cpu":
        return _cpu_plan(sizes, options.wishes)
    return Planner(sizes, card, host, workload, options.wishes).plan()


def usual_workload(entry: ModelEntry, options: PlanOptions) -> Workload:
    """The largest request that a model is planned for: that of the user, else Qwen-Image's own size or a usual edit."""
    side = round((entry.native_area or entry.output_area) ** 0.5)
    size = side, side
    if entry.mode == "text_to_image" and entry.native_area is None:
        size = _OWN_SIDE, _OWN_SIDE
    if entry.native_area is None:
        size = options.size or size
    least, most = REFERENCES[entry.mode]
    references = least if options.references is None else min(most, max(least, options.references))
    return Workload(*size, references, entry.reference_area, guided=entry.true_cfg_scale > 1)


def workload_of(request: RenderRequest, entry: ModelEntry) -> Workload:
    """What a request asks of the device. Its images are rendered one after the other."""
    width, height = request.width, request.height
    if entry.native_area is not None:
        width = height = round(entry.native_area**0.5)
    return Workload(
        width,
        height,
        references=len(request.references),
        reference_area=entry.reference_area,
        controls=len(request.controls),
        steps=request.executed_steps,
        guided=request.true_cfg_scale > 1,
    )


def entry_sizes(entry: ModelEntry) -> ModelSizes:
    """The sizes of a model's components. Those of Qwen-Image where the weights are not here yet."""
    files = entry.files
    folder = local_folder(files.weights, files.replaced)
    sizes = QWEN_IMAGE if folder is None else folder_sizes(folder)
    model, encoder = sizes.transformer, sizes.text_encoder
    if files.transformer is not None:
        parameters = model.blocks * (model.block + model.modulation) + model.rest
        model = replace(model, packed=stored_precision(files.transformer, parameters))
    if files.text_encoder is not None:
        # Files hold the output layer too, which is as large as the embeddings. Only GGUF has no vision tower.
        vision = 0 if files.text_encoder.lower().endswith(".gguf") else encoder.vision
        parameters = encoder.layers * encoder.layer + 2 * encoder.embeddings + vision
        encoder = replace(encoder, packed=stored_precision(files.text_encoder, parameters))
    return replace(sizes, transformer=model, text_encoder=encoder)


def stored_precision(name: str, parameters: int) -> Packed | None:
    """What a file of this many parameters holds, by its size, or by its name if it is not here. None for bfloat16."""
    path = Path(name)
    gguf = path.suffix.lower() == ".gguf"
    if path.is_file():
        weight = path.stat().st_size / parameters
    else:
        tag = next((tag for tag in _TAGS if tag in path.name.lower()), None)
        weight = _TAGS[tag] if tag else WEIGHT_BYTES["bf16"]
    if gguf and weight < _LEAST_BF16:
        return Packed("gguf", weight)
    return Packed("fp8", WEIGHT_BYTES["fp8"]) if weight < _LEAST_BF16 else None


def _cpu_plan(sizes: ModelSizes, wishes: Wishes) -> WeightsPlan:
    """Everything in host memory. A CPU calculates in float32 unless the user wishes something else."""
    transformer, encoder = sizes.transformer, sizes.text_encoder
    blocks = transformer.blocks * (transformer.block + transformer.modulation)
    ends = 0 if wishes.encoder_precision == "auto" else precise_ends(wishes.encoder_precision, encoder.layers)
    rounded, others = (encoder.layers - 2 * ends) * encoder.layer, encoder.embeddings + encoder.vision
    parts = (
        _cpu_component(wishes.precision, blocks, transformer.rest),
        _cpu_component(wishes.encoder_precision, rounded, encoder.layers * encoder.layer - rounded + others),
        ComponentPlan("fp32", 2 * sizes.vae_bytes),
    )
    size = sum(part.resident_bytes for part in parts)
    return replace(WeightsPlan(*parts), host_bytes=size, reasons=("A CPU keeps everything in host memory.",))


def _cpu_component(wish: Wish, quantized: int, others: int) -> ComponentPlan:
    precision: Precision = "fp32" if wish == "auto" else wish
    size = quantized * WEIGHT_BYTES[precision] + others * WEIGHT_BYTES["bf16" if precision == "bf16" else "fp32"]
    return ComponentPlan(precision, int(size))
