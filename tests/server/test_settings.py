from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from pipelines.models.residency.options import PromptFolder
from server.options.sharing import ALONE, Sharing
from server.settings import CLIENT_KEY, Settings, unknown_variables


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"OWNWARE_{name.upper()}", raising=False)


def test_defaults() -> None:
    settings = CliApp.run(Settings, cli_args=[])
    assert (settings.host, settings.port, settings.api_keys) == ("127.0.0.1", 8000, ())
    assert settings.data_dir == Path.home() / ".ownware"
    assert not settings.allow_private_urls


def test_each_option_is_a_flag_and_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "host": ("0.0.0.0", "::"),
        "port": ("9000", "9001"),
        "data_dir": ("/a", "/b"),
        "open": ("true", "true"),
        "api_keys": ("a, b", "c"),
        "public_url": ("https://a.example/", "http://b.example"),
        "cors_origins": ("https://a.example/, http://b.example:3000", "*"),
        "allowed_hosts": ("box, box.lan", "*"),
        "page": ("false", "true"),
        "metrics": ("key", "public"),
        "metrics_port": ("9090", "9091"),
        "allow_private_urls": ("true", "true"),
        "models": ("/a.toml", "/b.toml"),
        "weights": ("embedded", "catalog"),
        "devices": ("cpu", "cuda:0,cuda:1"),
        "dialects": ("runware", "all"),
        "vram": ("12.5", "auto"),
        "precision": ("fp8", "bf16"),
        "encoder_precision": ("nf4", "int8"),
        "plan_size": ("2048x1024", "auto"),
        "plan_references": ("3", "0"),
        "exact_factor": ("1", "2"),
        "streamed_blocks": ("6", "auto"),
        "modulation_tables": ("on", "off"),
        "face_refinement": ("true", "true"),
        "lora_dir": ("/a", "/b"),
        "profile_dir": ("/a", "/b"),
        "result_ttl": ("60", "61"),
        "unknown_parameters": ("ignore", "error"),
        "unsupported_parameters": ("warn", "error"),
        "gone_clients": ("finish", "cancel"),
        "hang_seconds": ("1.5", "2"),
        "load_timeout": ("1.5", "2"),
        "max_queue": ("1", "2"),
        "max_task_seconds": ("1.5", "2"),
        "max_queue_seconds": ("60", "1.5"),
        "max_key_queue": ("1", "2"),
        "max_key_queue_seconds": ("60", "1.5"),
        "max_body_mb": ("1", "2"),
        "max_image_megapixels": ("1", "2"),
        "min_free_mb": ("1", "0"),
        "fetch_timeout": ("1.5", "2"),
        "max_lora_mb": ("1", "2"),
        "prompt_cache_mb": ("0", "1"),
        "lora_timeout": ("1.5", "2"),
        "compile": ("auto", "off"),
        "exactness": ("relaxed", "strict"),
        "fused_heads": ("on", "off"),
        "overlap": ("off", "auto"),
        "open_tasks": ("1", "8"),
        "batching": ("off", "auto"),
        "attention": ("math", "fa3"),
        "batched_cfg": ("auto", "on"),
        "graphs": ("auto", "off"),
        "warm_words": ("6,16-18", ""),
        "threshold_direction": ("library", "documented"),
        "safety_default": ("true", "true"),
        "safety_action": ("block", "flag"),
        "webhook_secret": ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx"),
        "webhook_delays": ("1,2.5", "3"),
        "webhook_timeout": ("1.5", "2"),
        "upload_timeout": ("1.5", "2"),
        "log_level": ("debug", "error"),
        "log_format": ("json", "text"),
        "tracing": ("true", "true"),
    }
    assert set(values) == set(Settings.model_fields)
    for name, (variable, _) in values.items():
        monkeypatch.setenv(f"OWNWARE_{name.upper()}", variable)
    from_variables = CliApp.run(Settings, cli_args=[])
    assert from_variables.api_keys == ("a", "b")
    assert from_variables.cors_origins == ("https://a.example", "http://b.example:3000")
    assert from_variables.allowed_hosts == ("box", "box.lan")
    assert from_variables.public_url == "https://a.example"
    flags = [f"--{name.replace('_', '-')}={flag}" for name, (_, flag) in values.items() if flag != "true"]
    from_flags = CliApp.run(Settings, cli_args=[*flags, "--allow-private-urls", "--face-refinement"])
    assert from_flags.api_keys == ("c",)
    assert from_flags.devices == ("cuda:0", "cuda:1")
    differing = [name for name in values if getattr(from_flags, name) != getattr(from_variables, name)]
    assert differing == [name for name, (_, flag) in values.items() if flag != "true"]


def test_the_packages_of_flash_attention_have_short_names() -> None:
    names = {name: Settings(attention=name).model_options.attention for name in ("fa3", "cudnn", "auto")}
    assert names == {"fa3": "flash FA3", "cudnn": "cudnn", "auto": "auto"}


def test_a_list_is_text_or_a_list() -> None:
    assert Settings.model_validate({"devices": ["cuda:0, cuda:1", "cpu"]}).devices == ("cuda:0", "cuda:1", "cpu")
    with pytest.raises(ValidationError):
        Settings.model_validate({"devices": 5})


def test_a_variable_that_is_no_option() -> None:
    (message,) = unknown_variables({"OWNWARE_PROT": "1", "OWNWARE_PORT": "1", "PATH": ""})
    assert message == "OWNWARE_PROT is no option of ownware; did you mean OWNWARE_PORT?"
    assert unknown_variables({"OWNWARE_XYZZY": "1"}) == ["OWNWARE_XYZZY is no option of ownware"]
    assert unknown_variables({CLIENT_KEY: "a key of the commands"}) == []


def test_prompt_encodings_are_kept_in_the_data_folder(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).model_options.prompts == PromptFolder(tmp_path / "prompts", 2_000_000_000)
    assert Settings(data_dir=tmp_path, prompt_cache_mb=0).model_options.prompts is None


def test_what_waits_in_host_memory_is_the_plans_unless_it_is_said() -> None:
    options = Settings().model_options
    assert (options.streamed_blocks, options.tables) == (None, None)
    options = Settings(streamed_blocks=6, modulation_tables="on").model_options
    assert (options.streamed_blocks, options.tables) == (6, True)
    assert Settings(modulation_tables="off").model_options.tables is False


def test_how_a_device_is_shared() -> None:
    file = Settings().data_dir / "batching.json"
    for options, batched, measured in (
        (Settings(), False, None),
        (Settings(batched_cfg="on"), True, None),
        (Settings(batched_cfg="auto"), False, file),
    ):
        assert (options.model_options.batched_cfg, options.model_options.branch_gains) == (batched, measured)
    assert Settings().sharing == Sharing(overlap=True, renders=2, batching=file)
    assert Settings(overlap="off", open_tasks=1, batching="off").sharing == ALONE
