"""The typed client of the JSON API: `Client(url, token)`, for scripts on any machine.

    from tutelage.client import Client

    with Client("http://127.0.0.1:8300", "tut_…") as client:
        task = client.queue.next("helpful")

What it gives back are the record's own dataclasses; what it raises is the tree of `tutelage.errors`. A request that
failed on the way is sent again, and carries a key by which the server does nothing twice.

Leaves out: the server (`tutelage.api`).
"""

from __future__ import annotations

from tutelage.client.main import Client, accept_invitation

__all__ = ["Client", "accept_invitation"]
