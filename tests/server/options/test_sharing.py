from server.options.sharing import ALONE, Sharing


def test_a_worker_shares_nothing_unless_it_is_told_to() -> None:
    assert Sharing() == ALONE
    assert not ALONE.overlap
