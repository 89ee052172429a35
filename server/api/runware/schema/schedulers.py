"""The 75 scheduler names of the wire, with the solver and the schedule of each.

The vendor's documentation of the names is short. A name without an order means the usual
second order of the method. `docs/reference/schedulers.md` shows the table to users.
"""

from pipelines.request import Sampler, ScheduleName, SolverName

_SCHEDULES: dict[str, ScheduleName] = {
    "": "shifted",  # the model's own
    "Karras": "karras",
    "Exponential": "exponential",
    "Beta": "beta",
    # Equal steps of sigma, without the model's shift. The others respace those.
    "Uniform": "uniform",
    "Uniform Karras": "uniform_karras",
    "Uniform Exponential": "uniform_exponential",
    "Uniform Beta": "uniform_beta",
}

# The name of a family is followed by the name of a schedule.
_FAMILIES: dict[str, tuple[SolverName, str]] = {
    "DPM++": ("dpmpp_2m", "|Beta|Exponential|Karras|Uniform|Uniform Beta|Uniform Exponential|Uniform Karras"),
    "DPM++ 2M": ("dpmpp_2m", "|Beta|Exponential|Karras|Uniform"),
    "DPM++ 2M SDE": ("dpmpp_2m_sde", "|Beta|Exponential|Karras|Uniform"),
    "DPM++ 3M": ("dpmpp_3m", "|Beta|Exponential|Karras|Uniform"),
    "DPM++ 3M SDE": ("dpmpp_3m_sde", "Uniform"),
    "DPM++ SDE": ("dpmpp_sde", "|Beta|Exponential|Karras"),
    "Euler": ("euler", "|Beta|Exponential|Karras"),
    "Heun": ("heun", "|Karras"),
    "IPNDM": ("ipndm", "Uniform|Uniform Beta|Uniform Exponential|Uniform Karras"),
    "LMS": ("lms", "|Karras"),
    "UniPC": ("unipc_2", "|Karras|Uniform|Uniform Beta|Uniform Exponential|Uniform Karras"),
    "UniPC 2M": ("unipc_2", "|Karras|Uniform"),
    "UniPC 3M": ("unipc_3", "|Karras|Uniform"),
}

_SINGLE: dict[str, Sampler] = {
    "Default": Sampler(),  # the scheduler that the models are published with
    "DDIM": Sampler("euler"),  # deterministic DDIM of a rectified flow is Euler's step
    "DDIMScheduler": Sampler("euler"),
    "DDPMScheduler": Sampler("ddpm"),  # the posterior of the flow's forward process
    "DEISMultistepScheduler": Sampler("deis"),
    "DPMSolverMultistepInverse": Sampler("dpmpp_2m"),  # the original turns a picture into noise; here it runs forwards
    "DPMSolverMultistepScheduler": Sampler("dpmpp_2m"),
    "DPMSolverSinglestepScheduler": Sampler("dpmpp_2s"),
    # EDM's preconditioning does not apply to a flow. Its schedule is Karras'.
    "EDMDPMSolverMultistepScheduler": Sampler("dpmpp_2m", "karras"),
    "EDMEulerScheduler": Sampler("euler", "karras"),
    "Euler a": Sampler("euler_a"),
    "EulerAncestralDiscreteScheduler": Sampler("euler_a"),
    "EulerDiscreteScheduler": Sampler("euler"),
    "FlowMatchEulerDiscreteScheduler": Sampler("euler"),
    "HeunDiscreteScheduler": Sampler("heun"),
    "IPNDMScheduler": Sampler("ipndm"),
    "KDPM2AncestralDiscreteScheduler": Sampler("kdpm2_a"),
    "KDPM2DiscreteScheduler": Sampler("kdpm2"),
    "LCM": Sampler("lcm"),
    "LCMScheduler": Sampler("lcm"),
    "LMSDiscreteScheduler": Sampler("lms"),
    "PNDMScheduler": Sampler("pndm"),
    "TCDScheduler": Sampler("tcd"),
}

_COMBINED = {
    f"{family} {schedule}".strip(): Sampler(solver, _SCHEDULES[schedule])
    for family, (solver, schedules) in _FAMILIES.items()
    for schedule in schedules.split("|")
}

# The names of the vendor's list, in its spelling. Letter case is ignored.
SAMPLERS: dict[str, Sampler] = dict(sorted({**_SINGLE, **_COMBINED}.items(), key=lambda item: item[0].lower()))
SCHEDULERS: tuple[str, ...] = tuple(SAMPLERS)

# Names without an exact counterpart on a flow model → the listed name that runs instead.
NEAREST: dict[str, str] = {
    "DPMSolverMultistepInverse": "DPM++ 2M",
    "EDMDPMSolverMultistepScheduler": "DPM++ 2M Karras",
    "EDMEulerScheduler": "Euler Karras",
}

_BY_LOWER_CASE = {name.lower(): name for name in SCHEDULERS}


def scheduler_name(value: str) -> str | None:
    """The listed spelling of a name, or None if it is not listed."""
    return _BY_LOWER_CASE.get(value.strip().lower())
