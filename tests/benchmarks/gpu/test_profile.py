import pytest
import torch

from benchmarks.gpu.profile import by_class, kernel_class, profile_by_class


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvjet_sm90_tst_256x128_64x4", "products"),
        ("sm90_xmma_gemm_bf16", "products"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop", "attention"),
        ("pytorch_flash::flash_fwd_kernel", "attention"),
        ("void at::native::vectorized_layer_norm_kernel", "norms"),
        ("void at::native::vectorized_elementwise_kernel<8, gelu>", "elementwise"),
        ("Memcpy DtoD (Device -> Device)", "copies"),
        ("triton_per_fused__to_copy_abs_amax_native_layer_norm_3", "compiled, with a reduction"),
        ("triton_poi_fused__to_copy_cat_mul_7", "compiled, elementwise"),
        ("heads_kernel", "norms"),
        ("something new", "other"),
    ],
)
def test_a_kernel_has_a_class(name: str, expected: str) -> None:
    assert kernel_class(name) == expected


def test_seconds_add_up_by_class_the_largest_first() -> None:
    assert list(by_class([("memcpy", 1e6), ("gemm", 2e6), ("nvjet", 1e6)]).items()) == [("products", 3), ("copies", 1)]


def test_a_product_is_found_in_a_profile() -> None:
    matrix = torch.randn(64, 64)
    found = profile_by_class(lambda: matrix @ matrix, torch.device("cpu"))
    assert found["by_class"]["products"] > 0
    assert any("mm" in name for name in found["longest"])
