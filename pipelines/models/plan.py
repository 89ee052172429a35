"""What goes where: the precision and the place of each component of a model on one device.

It is made before anything is loaded. The loader and `accel.weights` carry it out. Imports no torch.
"""

from dataclasses import dataclass
from typing import Literal

# `packed` keeps what a quantized file holds, and dequantizes each layer when it is used: the same values as bf16.
Precision = Literal["fp32", "bf16", "fp8", "int8", "nf4", "packed"]
# Precisions that use the values of the file as they are. The others round them again.
EXACT: tuple[Precision, ...] = ("fp32", "bf16", "packed")


@dataclass(frozen=True, slots=True)
class ComponentPlan:
    """The precision of one component, and its bytes on the card and in host memory.

    `resident_bytes` stay on the card. `streamed_bytes` wait in pinned host memory, and are copied each time they are
    used: those of the transformer once a step, those of the text encoder once for each new prompt. `streamed_blocks`
    is how many blocks of the transformer these are.
    """

    precision: Precision
    resident_bytes: int = 0
    streamed_bytes: int = 0
    streamed_blocks: int = 0


@dataclass(frozen=True, slots=True)
class WeightsPlan:
    """What is loaded, in which precision, and where it stays.

    With `tables` the modulation layers are evaluated once for each sigma list, and leave the card. `peak_bytes` is the
    most that the card holds with the planned workload, and `host_bytes` what stays in host memory. `adapter_bytes` is
    the room on the card for LoRAs, None for no limit. `graph_bytes` is that for captured graphs. `seconds_per_step` is
    computed from bandwidths and arithmetic; None where the device's speed is unknown. `reasons` say in sentences why
    the plan is as it is.
    """

    transformer: ComponentPlan
    text_encoder: ComponentPlan
    vae: ComponentPlan
    tables: bool = False
    peak_bytes: int = 0
    host_bytes: int = 0
    adapter_bytes: int | None = None
    graph_bytes: int = 0
    seconds_per_step: float | None = None
    reasons: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every component uses the values of its file as they are."""
        return all(part.precision in EXACT for part in (self.transformer, self.text_encoder, self.vae))


def resident_plan(precision: Precision) -> WeightsPlan:
    """Everything on the device in one precision: the plan of a CPU, in fp32, and of a card with room for all."""
    component = ComponentPlan(precision)
    return WeightsPlan(component, component, component)
