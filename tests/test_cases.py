from tests.cases import choose_cases


def test_few_cases_are_all_run() -> None:
    assert list(choose_cases(["a", "b", "b", "b"], 3)) == [0, 1, 2, 3]


def test_of_many_some_are_run_evenly_spread() -> None:
    assert list(choose_cases(["a"] * 9, 4)) == [2, 4, 6, 8]


def test_other_tests_may_be_between_them() -> None:
    assert list(choose_cases(["a", "b", "a", "a", "b", "a"], 2)) == [1, 2, 4, 5]
