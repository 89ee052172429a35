"""Who a request came from, for what is shared in turn: the address, without a port. Knows no protocol.

A context variable, because the parts that share something stand far below the parts that know the connection.
"""

from contextvars import ContextVar

# Empty outside of a request. Behind a reverse proxy all requests have the proxy's address.
caller_address: ContextVar[str] = ContextVar("caller_address", default="")
