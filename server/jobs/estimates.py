"""How long a request takes on this server: learnt seconds of a step, by model, references and length of the sequence.

Pure arithmetic on requests. Knows no clock, no disk and no worker.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf, isfinite, log2

from pipelines.models.planning.workload import Workload
from pipelines.request import RenderRequest, SolverName

# Solvers that evaluate the model twice in a step. A test compares them with the solvers themselves.
TWO_EVALUATIONS: frozenset[SolverName] = frozenset({"heun", "kdpm2", "kdpm2_a", "dpmpp_sde"})
# Seconds of a token in a forward, for a model that has rendered nothing yet. The embedded model on two CPU cores takes
# this long (0.215 s for 20 guided steps at 256², benchmarks/results/pipeline-cpu.jsonl), and the 20B model takes longer
# on every card. So no task is refused for a guess.
ASSUMED_TOKEN_SECONDS = 0.215 / 20 / (2 * 512)
# A quarter of an octave: within a group, seconds are proportional to tokens to a few percent.
_GROUPS_PER_OCTAVE = 4
# How much a new measurement counts. Ten of them forget a slower start of the device.
_WEIGHT = 0.3
# A single measurement may include a compilation, a loading or a busy machine.
_LARGEST_RISE = 2.0


@dataclass(frozen=True, slots=True)
class Group:
    """Requests whose steps take about equally long. `size` grows by 4 when the tokens of a step double."""

    model: str
    references: int
    size: int

    @property
    def tokens(self) -> int:
        """About how many tokens pass through the model in a step."""
        return round(2 ** (self.size / _GROUPS_PER_OCTAVE))


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a token in a computed step, and seconds of an image beside its steps."""

    token: float
    rest: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One finished image: seconds of a computed step, and of everything else up to its file."""

    step: float
    rest: float


class Estimates:
    """What was learnt about each group of requests."""

    def __init__(self, paces: Iterable[tuple[Group, Pace]] = ()) -> None:
        self._paces = dict(paces)

    def learn(self, request: RenderRequest, measured: Measured) -> tuple[Group, Pace] | None:
        """Learn from an image. Returns what is now known about its group, None if the measurement is unusable."""
        step, rest = measured.step, measured.rest
        if not (isfinite(step) and isfinite(rest) and step > 0 and rest >= 0):
            return None
        group, new = group_of(request), Pace(step / step_tokens(request), rest)
        if old := self._paces.get(group):
            new = Pace(_mixed(old.token, new.token), _mixed(old.rest, new.rest))
        self._paces[group] = new
        return group, new

    def learnt(self) -> Iterator[tuple[Group, float]]:
        """Each known group with the seconds of one computed step, the smaller ones first."""
        for group in sorted(self._paces, key=lambda each: (each.model, each.references, each.size)):
            yield group, self._paces[group].token * group.tokens

    def knows(self, request: RenderRequest) -> bool:
        """Whether an image of about this size was rendered with this model and as many references."""
        return group_of(request) in self._paces

    def step_seconds(self, request: RenderRequest) -> float:
        """Seconds of one computed step."""
        return self._pace(request).token * step_tokens(request)

    def rest_seconds(self, request: RenderRequest) -> float:
        """Seconds of an image beside its steps: text encoder, VAE, file."""
        return self._pace(request).rest

    def seconds(self, request: RenderRequest) -> float:
        """Seconds of all images of a request, if every step is computed."""
        return self.remaining_seconds(request, 0, 0)

    def remaining_seconds(self, request: RenderRequest, index: int, step: int) -> float:
        """Seconds that are left when `step` steps of image `index` are done."""
        pace, step_seconds = self._pace(request), self.step_seconds(request)
        image = request.executed_steps * step_seconds + pace.rest + _face_seconds(request, step_seconds)
        return max(0.0, (request.count - index) * image - step * step_seconds)

    def _pace(self, request: RenderRequest) -> Pace:
        """The pace of the request's group, else of the nearest one of its model, else an assumed one."""
        group = group_of(request)
        if found := self._paces.get(group):
            return found
        near = [(_distance(group, known), pace) for known, pace in self._paces.items()]
        distance, pace = min(near, key=lambda each: each[0], default=(inf, None))
        return pace if pace is not None and distance < inf else Pace(ASSUMED_TOKEN_SECONDS, 0.0)


def step_tokens(request: RenderRequest) -> int:
    """The tokens that pass through the model in one computed step, over all its forwards."""
    work = Workload(request.width, request.height, references=len(request.references))
    evaluations = 2 if request.sampler.solver in TWO_EVALUATIONS else 1
    return work.tokens * evaluations * (2 if request.true_cfg_scale > 1 else 1)


def group_of(request: RenderRequest) -> Group:
    """The group of a request."""
    size = round(_GROUPS_PER_OCTAVE * log2(step_tokens(request)))
    return Group(request.model.lower(), len(request.references), size)


def _face_seconds(request: RenderRequest, step_seconds: float) -> float:
    """Seconds of the refinement of one face: how many there are is known at the end only."""
    return 0.0 if request.faces is None else request.faces.steps * request.faces.strength * step_seconds


def _distance(group: Group, known: Group) -> float:
    """How far apart two groups are. Another model tells nothing."""
    if group.model != known.model:
        return inf
    return abs(group.size - known.size) + _GROUPS_PER_OCTAVE * abs(group.references - known.references)


def _mixed(old: float, new: float) -> float:
    """An old value moved towards a new one. A value of 0 says nothing about the size of the next."""
    limit = _LARGEST_RISE * old if old > 0 else new
    return old + _WEIGHT * (min(new, limit) - old)
