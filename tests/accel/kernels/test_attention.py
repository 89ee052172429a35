import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends, current_flash_attention_impl
from torch.nn.functional import scaled_dot_product_attention

from accel.kernels import attention as module
from accel.kernels.attention import (
    TORCH,
    AttentionChoice,
    AttentionUnavailable,
    attention_kernel,
    candidates,
    choose_attention,
)


def takes(milliseconds: float) -> Callable[[], float]:
    return lambda: milliseconds


def fails(error: Exception) -> Callable[[], float]:
    def measure() -> float:
        raise error

    return measure


def test_a_cpu_keeps_the_choice_of_torch() -> None:
    assert choose_attention(torch.device("cpu"), torch.float32) == AttentionChoice(TORCH)


def test_the_fastest_kernel_is_chosen_and_all_are_listed() -> None:
    choice = module._fastest({"cudnn": takes(1.5), "flash": takes(1.0), "efficient": takes(2.0)}, "cuDNN is hidden")
    assert choice.kernel == "flash"
    assert choice.milliseconds == {"cudnn": 1.5, "flash": 1.0, "efficient": 2.0}
    assert choice.warning is None


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), ImportError("flash_attn"), ValueError("unknown")])
def test_a_kernel_that_does_not_run_is_left_out(error: Exception) -> None:
    choice = module._fastest({"flash FA3": fails(error), "flash": takes(1.0), "cudnn": takes(3.0)}, None)
    assert (choice.kernel, set(choice.milliseconds)) == ("flash", {"flash", "cudnn"})


def test_a_missing_cudnn_kernel_is_reported_where_it_should_be_there() -> None:
    kernels = {"cudnn": fails(RuntimeError("no kernel")), "flash": takes(1.0)}
    assert module._fastest(kernels, "cuDNN is hidden").warning == "cuDNN is hidden"
    assert module._fastest(kernels, None).warning is None


def test_a_device_without_fast_kernels_is_reported() -> None:
    choice = module._fastest({"cudnn": fails(RuntimeError("no kernel"))}, None)
    assert choice.kernel == TORCH
    assert choice.warning


@pytest.mark.parametrize(("capability", "warned"), [((9, 0), True), ((12, 0), True), ((8, 9), False)])
def test_cudnn_is_expected_from_hopper_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], warned: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert bool(module._cudnn_problem(torch.device("cuda:0"))) == warned


def test_the_candidates_are_torch_kernels_and_its_flash_packages() -> None:
    assert candidates()[:3] == ("cudnn", "flash", "efficient")
    assert "flash FA3" in candidates()


def test_the_kernel_comes_first_inside_the_block_only() -> None:
    before = _cur_sdpa_kernel_backends(with_priority=True)
    with attention_kernel("efficient"):
        assert _cur_sdpa_kernel_backends(with_priority=True)[0] is SDPBackend.EFFICIENT_ATTENTION
    assert _cur_sdpa_kernel_backends(with_priority=True) == before


def test_threads_that_prefer_a_kernel_share_it() -> None:
    before = _cur_sdpa_kernel_backends(with_priority=True)
    inside, leave = threading.Event(), threading.Event()

    def prefer() -> None:
        with attention_kernel("efficient"):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=prefer)
    with attention_kernel("efficient"):
        thread.start()
        assert inside.wait(10)
    assert _cur_sdpa_kernel_backends(with_priority=True)[0] is SDPBackend.EFFICIENT_ATTENTION  # of the thread
    leave.set()
    thread.join(10)
    assert _cur_sdpa_kernel_backends(with_priority=True) == before


def test_the_choice_of_torch_changes_nothing() -> None:
    before = _cur_sdpa_kernel_backends(with_priority=True)
    with attention_kernel(TORCH):
        assert _cur_sdpa_kernel_backends(with_priority=True) == before


def test_an_input_that_the_kernel_does_not_take_goes_to_another() -> None:
    query = torch.randn(1, 2, 8, 16)
    mask = torch.zeros(1, 2, 8, 8)
    with attention_kernel("cudnn"):  # does not run on a CPU
        found = scaled_dot_product_attention(query, query, query, attn_mask=mask)
    assert torch.allclose(found, scaled_dot_product_attention(query, query, query), atol=1e-6)


def test_a_flash_package_is_active_inside_the_block_only(monkeypatch: pytest.MonkeyPatch) -> None:
    active: list[str | None] = []
    monkeypatch.setattr(module, "activate_flash_attention_impl", active.append)
    monkeypatch.setattr(module, "restore_flash_attention_impl", lambda: active.append(None))
    with attention_kernel("flash FA3"):
        assert active == ["FA3"]
    assert active == ["FA3", None]
    with pytest.raises(ZeroDivisionError), attention_kernel("flash FA4"):
        raise ZeroDivisionError
    assert active == ["FA3", None, "FA4", None]
    assert current_flash_attention_impl() is None


def test_a_gpu_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(kernel: str, run: Callable[[], float]) -> float:
        measured.append(kernel)
        return float(len(measured))

    monkeypatch.setattr(module, "_measured", measure)
    monkeypatch.setattr(module, "_cudnn_problem", lambda device: None)
    monkeypatch.setattr(torch, "randn", lambda *shape, **options: SimpleNamespace(transpose=lambda *axes: None))
    choose_attention.cache_clear()
    device = torch.device("cuda:0")
    assert choose_attention(device, torch.bfloat16) is choose_attention(device, torch.bfloat16)
    choose_attention.cache_clear()
    assert measured == list(candidates())


@pytest.mark.parametrize("kernel", ["math", "flash"])
def test_a_kernel_that_runs_can_be_asked_for(kernel: str) -> None:
    assert choose_attention(torch.device("cpu"), torch.float32, kernel) == AttentionChoice(kernel)
    assert choose_attention(torch.device("cpu"), torch.float32, TORCH) == AttentionChoice(TORCH)


@pytest.mark.filterwarnings("ignore:.*flash_attn:UserWarning")
@pytest.mark.parametrize(
    ("kernel", "reason"), [("cudnn", "torch has no such kernel there"), ("flash FA3", "No module named 'flash_attn")]
)
def test_a_kernel_that_does_not_run_is_refused_with_those_that_do(kernel: str, reason: str) -> None:
    with pytest.raises(AttentionUnavailable) as refused:
        choose_attention(torch.device("cpu"), torch.float32, kernel)
    assert str(refused.value).startswith(f"attention '{kernel}' does not run on cpu in float32 ({reason}")
    assert str(refused.value).endswith("; these do: flash, math")


def test_the_measurement_sets_the_kernel_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[SDPBackend]] = []

    def run() -> float:
        seen.append(_cur_sdpa_kernel_backends())
        return 1.0

    assert module._measured("flash", run) == 1.0
    assert seen == [[SDPBackend.FLASH_ATTENTION]]


def test_the_time_is_the_least_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, *(value for repeat in range(module.REPEATS) for value in (0.0, 0.001 * (repeat + 1)))])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert module._milliseconds(lambda: None, torch.device("cuda:0")) == pytest.approx(1.0)
