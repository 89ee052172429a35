from pipelines.catalog.component_files import COMPONENTS, ComponentFiles


def test_what_has_files_of_its_own() -> None:
    whole = ComponentFiles("owner/name")
    assert whole.replaced == ()
    assert str(whole) == "owner/name"
    mixed = ComponentFiles("owner/name", transformer="q4.gguf", vae="vae.safetensors")
    assert mixed.replaced == ("transformer", "vae")
    assert [mixed.own(component) for component in COMPONENTS] == ["q4.gguf", None, "vae.safetensors"]
    assert str(mixed) == "owner/name, transformer q4.gguf, vae vae.safetensors"
    named = ComponentFiles("owner/name", text_encoder="q4.gguf", text_encoder_mmproj="tower.gguf")
    assert str(named) == "owner/name, text_encoder q4.gguf, mmproj tower.gguf"
