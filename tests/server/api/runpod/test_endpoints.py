from pipelines.catalog.catalog import Catalog
from server.api.runpod.dialect import DIALECT
from server.api.runpod.endpoints import ENDPOINTS, SQUARE, endpoint_of


def test_every_endpoint_has_a_model(catalog: Catalog) -> None:
    models = {name: [entry.mode for entry in catalog.named(DIALECT, name)] for name in ENDPOINTS}
    assert models == {
        "qwen-image-edit": ["edit", "edit_plus"],
        "qwen-image-edit-2511": ["edit_plus"],
        "qwen-image-edit-2511-lora": ["edit_plus"],
        "qwen-image-t2i": ["text_to_image"],
        "qwen-image-t2i-lora": ["text_to_image"],
    }


def test_another_endpoint_takes_a_size_and_has_none_of_its_own() -> None:
    assert endpoint_of("qwen-image-2512").takes_size
    assert endpoint_of("qwen-image-2512").default_size is None
    assert endpoint_of("Qwen-Image-T2I").default_size == SQUARE
