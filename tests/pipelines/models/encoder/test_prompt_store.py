import os
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs

from pipelines.models.encoder.prompt_store import EncodedPrompt, ModelPrompts, PromptStore, content_key

CPU = torch.device("cpu")


def encoding(seed: int, dtype: torch.dtype = torch.float32) -> EncodedPrompt:
    return EncodedPrompt(torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(seed)).to(dtype), seed)


def never() -> EncodedPrompt:
    raise AssertionError("encoded again")


def key(seed: int) -> str:
    return content_key([str(seed).encode()])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return PromptStore(tmp_path / "prompts", 10**6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_encoding_comes_back_bit_for_bit(store: PromptStore, dtype: torch.dtype) -> None:
    made = store.get(key(1), CPU, lambda: encoding(1, dtype))
    found = PromptStore(store.folder, store.budget).get(key(1), CPU, never)
    assert torch.equal(found.embeds, made.embeds)
    assert found.embeds.dtype == dtype
    assert found.dropped == 1


def test_another_key_has_another_encoding(store: PromptStore) -> None:
    for seed in (1, 2):
        store.get(key(seed), CPU, lambda seed=seed: encoding(seed))
    assert torch.equal(store.get(key(2), CPU, never).embeds, encoding(2).embeds)


def test_the_least_recently_used_leaves(store: PromptStore) -> None:
    store.get(key(1), CPU, lambda: encoding(1))
    (file,) = files(store.folder)
    small = PromptStore(store.folder, 3 * file.stat().st_size)
    for seed in (2, 3):
        small.get(key(seed), CPU, lambda seed=seed: encoding(seed))
    for age, path in enumerate(sorted(files(store.folder), key=lambda path: path.stem != key(1))):
        os.utime(path, (1000 + age, 1000 + age))
    small.get(key(1), CPU, never)
    small.get(key(4), CPU, lambda: encoding(4))
    assert len(files(store.folder)) == 3
    small.get(key(1), CPU, never)


def test_an_encoding_above_the_budget_is_not_kept(store: PromptStore) -> None:
    tiny = PromptStore(store.folder, 10)
    assert torch.equal(tiny.get(key(1), CPU, lambda: encoding(1)).embeds, encoding(1).embeds)
    assert not files(store.folder)


def test_a_damaged_file_is_replaced(store: PromptStore) -> None:
    store.get(key(1), CPU, lambda: encoding(1))
    (file,) = files(store.folder)
    whole = file.read_bytes()
    for damaged in (whole[:-3], b"", b"{}"):
        file.write_bytes(damaged)
        with capture_logs() as logs:
            assert torch.equal(store.get(key(1), CPU, lambda: encoding(1)).embeds, encoding(1).embeds)
        assert "is made again" in logs[0]["event"]
        assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_leaves_a_warning(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("a file")
    with capture_logs() as logs:
        made = PromptStore(tmp_path / "prompts", 10**6).get(key(1), CPU, lambda: encoding(1))
    assert torch.equal(made.embeds, encoding(1).embeds)
    assert logs[-1]["event"] == "a prompt encoding is not kept"


def test_an_old_draft_is_deleted_and_a_new_one_is_not(store: PromptStore) -> None:
    store.get(key(1), CPU, lambda: encoding(1))
    (file,) = files(store.folder)
    old, new = (file.with_name(f".{name}.safetensors.draft") for name in ("old", "new"))
    old.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    new.write_bytes(b"half")
    store.get(key(2), CPU, lambda: encoding(2))
    assert not old.exists()
    assert new.exists()


def test_two_encoders_have_encodings_of_their_own(store: PromptStore) -> None:
    one, other = ModelPrompts(store, "one"), ModelPrompts(store, "other")
    one.get([b"a"], CPU, lambda: encoding(1))
    assert torch.equal(one.get([b"a"], CPU, never).embeds, encoding(1).embeds)
    assert torch.equal(other.get([b"a"], CPU, lambda: encoding(2)).embeds, encoding(2).embeds)


def test_the_parts_of_a_key_do_not_run_together() -> None:
    assert content_key([b"ab", b"c"]) != content_key([b"a", b"bc"])
