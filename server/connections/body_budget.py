"""The bytes of all bodies and frames that are being received at a time. Knows no protocol."""

from collections import Counter

from server.errors import ServiceUnavailable


class BodyBudget:
    """`total` bytes for all callers together, and half of them for each address."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._each = total // 2
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """The bytes that are held now."""
        return self._held.total()

    def hold(self, caller: str) -> "Hold":
        """A part of the budget for one body. Nothing is held yet."""
        return Hold(self, caller)

    def change(self, caller: str, difference: int) -> None:
        """Hold more or fewer bytes. Raises `ServiceUnavailable`, and changes nothing, if there is no room."""
        if difference > 0 and not (
            self.held + difference <= self._total and self._held[caller] + difference <= self._each
        ):
            message = "The server is receiving as many bytes as it has room for. Send the request again later."
            raise ServiceUnavailable(message)
        self._held[caller] += difference
        if not self._held[caller]:
            del self._held[caller]


class Hold:
    """The bytes of one body or connection."""

    def __init__(self, budget: BodyBudget, caller: str) -> None:
        self._budget = budget
        self._caller = caller
        self._bytes = 0

    def set(self, count: int) -> None:
        """Hold `count` bytes from now on. Raises `ServiceUnavailable` if there is no room."""
        self._budget.change(self._caller, count - self._bytes)
        self._bytes = count

    def add(self, count: int) -> None:
        """Hold more bytes. Raises `ServiceUnavailable` if there is no room."""
        self.set(self._bytes + count)
