import pytest

from pipelines.errors import SizeError
from pipelines.models.plan import WeightsPlan, resident_plan
from pipelines.models.planning.admission import Admission, LearntPeaks
from pipelines.models.planning.cards import GIB, Host, find_card
from pipelines.models.planning.planner import Planner, Wishes
from pipelines.models.planning.sizes import QWEN_IMAGE
from pipelines.models.planning.workload import Workload

PLANNED = Workload()
SMALL, LARGE = Workload(512, 512), Workload(2048, 2048)
MEMORY = 24 * GIB


@pytest.fixture
def plan() -> WeightsPlan:
    card = find_card("RTX 4090")
    assert card is not None
    return Planner(QWEN_IMAGE, card, Host(64 * GIB), PLANNED, Wishes()).plan()


@pytest.fixture
def admission(plan: WeightsPlan) -> Admission:
    return Admission(plan, PLANNED, MEMORY)


def test_what_was_planned_is_taken(admission: Admission, plan: WeightsPlan) -> None:
    admission.check(PLANNED)
    admission.check(SMALL)
    assert admission.expected_peak(PLANNED) == plan.peak_bytes


def test_what_cannot_fit_is_refused_with_what_it_takes(admission: Admission) -> None:
    message = r"2048×2048 takes about 2\d\.\d GiB of GPU memory, and 24\.0 GiB may be used\. Use a smaller size"
    with pytest.raises(SizeError, match=message) as caught:
        admission.check(LARGE)
    assert caught.value.path == "width"
    assert str(caught.value).endswith("or start with --plan-size 2048x2048, which leaves more room.")


def test_the_options_that_leave_room_for_an_edit_are_named(admission: Admission) -> None:
    with pytest.raises(SizeError, match=r"start with --plan-size 2048x2048 --plan-references 3, which"):
        admission.check(Workload(2048, 2048, references=3))


def test_measured_peaks_correct_the_computed_ones(admission: Admission) -> None:
    admission.record(SMALL, 2 * SMALL.denoise_bytes)
    with pytest.raises(SizeError):
        admission.check(PLANNED)


def test_small_measured_peaks_let_larger_requests_pass(admission: Admission) -> None:
    larger = Workload(1152, 1152)
    with pytest.raises(SizeError):
        admission.check(larger)
    admission.record(PLANNED, PLANNED.denoise_bytes // 3)
    admission.check(larger)
    admission.record(PLANNED, 0)  # the highest one counts
    admission.check(larger)
    with pytest.raises(SizeError):  # and it stays near the computed one
        admission.check(LARGE)


def test_larger_requests_than_one_that_ran_out_are_refused_until_it_succeeds(admission: Admission) -> None:
    admission.record_failure(SMALL)
    admission.check(SMALL)
    with pytest.raises(SizeError, match="takes more GPU memory than a request that has just run out of it"):
        admission.check(PLANNED)
    admission.record(SMALL, SMALL.denoise_bytes)
    admission.record_failure(PLANNED)
    admission.check(SMALL)


def test_what_was_learnt_outlives_the_weights(admission: Admission, plan: WeightsPlan) -> None:
    learnt = LearntPeaks()
    first, again = (Admission(plan, PLANNED, MEMORY, learnt) for _ in range(2))
    first.record(SMALL, int(1.5 * SMALL.denoise_bytes))
    assert again.expected_peak(SMALL) > admission.expected_peak(SMALL)
    first.record_failure(Workload(128, 128))
    with pytest.raises(SizeError, match="just run out"):
        again.check(SMALL)


def test_a_device_without_memory_of_its_own_takes_everything() -> None:
    admission = Admission(resident_plan("fp32"), PLANNED, 0)
    admission.check(LARGE)
    admission.record_failure(SMALL)
    admission.check(LARGE)


def test_renders_that_take_turns_fit_together_with_what_they_keep(plan: WeightsPlan) -> None:
    needed = Admission(plan, PLANNED, 0).expected_peak(PLANNED) + SMALL.kept_bytes
    assert 0 < SMALL.kept_bytes < SMALL.denoise_bytes / 2
    for memory, fits in ((needed, True), (needed - 1, False), (0, True)):
        assert Admission(plan, PLANNED, memory).fits_together([SMALL, PLANNED]) is fits


def test_a_decoder_fits_beside_a_render(plan: WeightsPlan) -> None:
    needed = Admission(plan, PLANNED, 0).expected_peak(PLANNED) + SMALL.decode_bytes
    for memory, fits in ((needed, True), (needed - 1, False), (0, True)):
        assert Admission(plan, PLANNED, memory).fits_beside(PLANNED, SMALL.decode_bytes) is fits
