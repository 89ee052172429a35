from pipelines.editing.drift.found_drift import FoundDrift


def test_it_is_told_in_words() -> None:
    found = FoundDrift(3.1, -0.82, 1.0131, moved_back=True)
    assert str(found) == "+3.10 pixels to the right, -0.82 down, 1.0131 times as large"
