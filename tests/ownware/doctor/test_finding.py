from ownware.doctor.finding import Finding


def test_one_line_whatever_the_text() -> None:
    assert str(Finding("stops", "port", "8000: in use\nand more")) == "stops  port         8000: in use"
    assert str(Finding("ok", "API keys", "")) == "ok     API keys     "
