"""Against the example of the Standard Webhooks specification."""

import base64
import hashlib
import hmac

import pytest

from server.delivery.signatures import digest, message_headers, secret_key, standard_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'


def test_the_published_example() -> None:
    headers = standard_headers(secret_key(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_prefix_may_be_left_out() -> None:
    assert secret_key(SECRET) == secret_key(SECRET.removeprefix("whsec_"))


def test_a_digest_is_over_id_time_and_body() -> None:
    expected = hmac.new(b"key", b"id.7." + BODY, hashlib.sha256).digest()
    assert digest(b"key", "id", 7, BODY) == expected
    assert message_headers("id", 7) == {"webhook-id": "id", "webhook-timestamp": "7"}


@pytest.mark.parametrize("secret", ["", "whsec_", "no base64!", base64.b64encode(b"x" * 23).decode(), "é" * 40])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"must (be base64|have 24 to 64 bytes)"):
        secret_key(secret)


def test_a_secret_may_have_64_bytes_and_no_more() -> None:
    assert len(secret_key(base64.b64encode(b"x" * 64).decode())) == 64
    with pytest.raises(ValueError, match="24 to 64"):
        secret_key(base64.b64encode(b"x" * 65).decode())
