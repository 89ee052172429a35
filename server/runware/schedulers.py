"""The scheduler names of the wire, and what each one runs here.

A table and nothing else. A listed name without an entry in `SAMPLERS` is known but has no effect yet, and is refused
by name rather than replaced in silence.
"""

from pipelines.request import Sampler

_FAMILIES = {
    "": "DDIM DDIMScheduler DDPMScheduler DEISMultistepScheduler Default DPMSolverMultistepInverse "
    "DPMSolverMultistepScheduler DPMSolverSinglestepScheduler EDMDPMSolverMultistepScheduler EDMEulerScheduler "
    "EulerAncestralDiscreteScheduler EulerDiscreteScheduler FlowMatchEulerDiscreteScheduler HeunDiscreteScheduler "
    "IPNDMScheduler KDPM2AncestralDiscreteScheduler KDPM2DiscreteScheduler LCM LCMScheduler LMSDiscreteScheduler "
    "PNDMScheduler TCDScheduler",
    "DPM++": "|Beta|Exponential|Karras|Uniform|Uniform Beta|Uniform Exponential|Uniform Karras",
    "DPM++ 2M": "|Beta|Exponential|Karras|Uniform",
    "DPM++ 2M SDE": "|Beta|Exponential|Karras|Uniform",
    "DPM++ 3M": "|Beta|Exponential|Karras|Uniform",
    "DPM++ 3M SDE": "Uniform",
    "DPM++ SDE": "|Beta|Exponential|Karras",
    "Euler": "|a|Beta|Exponential|Karras",
    "Heun": "|Karras",
    "IPNDM": "Uniform|Uniform Beta|Uniform Exponential|Uniform Karras",
    "LMS": "|Karras",
    "UniPC": "|Karras|Uniform|Uniform Beta|Uniform Exponential|Uniform Karras",
    "UniPC 2M": "|Karras|Uniform",
    "UniPC 3M": "|Karras|Uniform",
}

# The 75 names of the vendor's list, in its spelling; they are compared with letter case ignored.
SCHEDULERS: tuple[str, ...] = tuple(
    sorted(
        [
            *_FAMILIES[""].split(),
            *(
                f"{family} {variant}".strip()
                for family, variants in _FAMILIES.items()
                if family
                for variant in variants.split("|")
            ),
        ],
        key=str.lower,
    )
)

SAMPLERS: dict[str, Sampler] = {
    "Default": Sampler(),
    "Euler": Sampler("euler", "shifted"),
    "EulerDiscreteScheduler": Sampler("euler", "shifted"),
    "FlowMatchEulerDiscreteScheduler": Sampler("euler", "shifted"),
    "Euler Karras": Sampler("euler", "karras"),
    "DPM++ 2M": Sampler("dpmpp_2m", "shifted"),
    "DPMSolverMultistepScheduler": Sampler("dpmpp_2m", "shifted"),
    "DPM++ 2M Karras": Sampler("dpmpp_2m", "karras"),
}

_BY_LOWER_CASE = {name.lower(): name for name in SCHEDULERS}


def scheduler_name(value: str) -> str | None:
    """The listed spelling of a name, or None when it is not on the list."""
    return _BY_LOWER_CASE.get(value.strip().lower())
