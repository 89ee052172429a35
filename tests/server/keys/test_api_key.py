from dataclasses import replace

import pytest

from server.keys.api_key import NO_LIMITS, PREFIX_LENGTH, ApiKey, hash_secret, new_owner, new_secret

KEY = ApiKey("alice", "owner", "ow_abcdef", NO_LIMITS, created=100.0)


@pytest.mark.parametrize(
    ("key", "state", "words"),
    [
        (KEY, "active", None),
        (replace(KEY, expires=201.0), "active", None),
        (replace(KEY, expires=200.0), "expired", "expired"),
        (replace(KEY, revoked=200.0), "revoked", "revoked"),
        (replace(KEY, expires=150.0, revoked=180.0), "revoked", "revoked"),
    ],
)
def test_what_is_accepted_at_a_time(key: ApiKey, state: str, words: str | None) -> None:
    refusal = key.refusal(200.0)
    assert (key.state(200.0), refusal is None) == (state, words is None)
    assert words is None or words in str(refusal)


def test_secrets_are_long_and_differ() -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len({secret[PREFIX_LENGTH:] for secret in secrets}) == len({new_owner() for _ in range(20)}) == 20
    assert all(secret.startswith("ow_") and len(secret) >= 46 for secret in secrets)


def test_a_hash_tells_nothing_of_its_secret() -> None:
    secret = new_secret()
    assert hash_secret(secret.encode()) == hash_secret(secret.encode())
    assert secret[3:12] not in hash_secret(secret.encode())
