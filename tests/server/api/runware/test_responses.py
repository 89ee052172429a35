from server.api.runware.responses import Answer, TaskRef, acknowledgement, error_object, http_body, refusal
from server.api.runware.sockets.websocket import frame
from server.errors import InvalidParameter, NotFound, Unauthorized

ORIGIN = TaskRef("imageInference", "83e5a68e-074f-4bea-8e26-a6723ae9b2da")


def test_an_error_object_omits_what_does_not_apply() -> None:
    assert error_object(NotFound("gone"), TaskRef()) == {"code": "routeNotFound", "message": "gone"}
    error = InvalidParameter("lora[0].weight", "no", details={"min": -4})
    assert error_object(error, ORIGIN, documentation="d") == {
        "code": "invalidLora",
        "message": "no",
        "parameter": "lora[0].weight",
        "min": -4,
        "documentation": "d",
        **ORIGIN.keys,
    }


def test_an_acknowledgement_has_nothing_but_its_task() -> None:
    assert acknowledgement(ORIGIN).data == (ORIGIN.keys,)


def test_http_bodies() -> None:
    good, bad = Answer(data=({"a": 1},)), refusal([Unauthorized("no"), NotFound("gone")], TaskRef())
    assert http_body([good]) == (200, {"data": [{"a": 1}]})
    status, body = http_body([good, bad])
    assert (status, set(body)) == (200, {"data", "errors"})
    status, body = http_body([bad])
    assert (status, body["error"], len(body["errors"])) == (401, body["errors"][0], 2)
    later = Answer(errors=({"code": "inferenceError", "status": "error"},))
    assert http_body([later]) == (200, {"data": [], "errors": [{"code": "inferenceError", "status": "error"}]})


def test_a_frame_is_never_empty_handed() -> None:
    assert frame(Answer(data=({"a": "é"},))) == {"data": [{"a": "é"}]}
    assert frame(refusal([NotFound("1"), NotFound("2")], TaskRef())) == {
        "errors": [{"code": "routeNotFound", "message": "1"}]
    }
