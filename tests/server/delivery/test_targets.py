from pydantic import TypeAdapter

from server.delivery.targets import Upload, Webhook


def test_they_are_stored_as_json_and_read_again() -> None:
    webhook = Webhook("https://a.example/hook", "http://box:8000", (1.0, 2.5), each_result=True)
    kept = TypeAdapter(Webhook | None)
    assert kept.validate_json(kept.dump_json(webhook)) == webhook
    assert kept.validate_json("null") is None
    upload = TypeAdapter(Upload | None)
    assert upload.validate_json(upload.dump_json(Upload("https://a.example/put"))) == Upload("https://a.example/put")
