"""Which cases of the parametrized tests `make test` runs. Knows names of tests only."""

from collections import Counter
from collections.abc import Iterator, Sequence


def choose_cases(tests: Sequence[str], most: int) -> Iterator[int]:
    """The places of the cases to run in a list that has the test of each case.

    Of each test there are at most `most`, evenly spread, with the last one.
    """
    seen, total = Counter[str](), Counter(tests)
    for place, test in enumerate(tests):
        before, seen[test] = seen[test], seen[test] + 1
        if total[test] <= most or seen[test] * most // total[test] > before * most // total[test]:
            yield place
