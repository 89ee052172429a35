import contextvars

from server.caller import caller_address


def test_outside_of_a_request_there_is_no_caller() -> None:
    assert contextvars.Context().run(caller_address.get) == ""
