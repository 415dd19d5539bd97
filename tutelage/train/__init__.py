"""The one training loop and what it stands on. The package itself can be called: `tutelage.train("sft", …)` trains.

Python binds a subpackage to its name in the parent as soon as anything inside is imported, so `tutelage.train` cannot
be a function for long; it is this package, whose call is `tutelage.train.api.train_from_python`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.train.api import Run


class _CallablePackage(ModuleType):
    def __call__(self, method: str, **options: Any) -> Run:
        from tutelage.train.api import train_from_python

        return train_from_python(method, **options)


sys.modules[__name__].__class__ = _CallablePackage
