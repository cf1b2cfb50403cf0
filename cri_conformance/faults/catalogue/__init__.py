# SPDX-License-Identifier: Apache-2.0
"""All seeded faults, one module for each family of clauses."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache

from cri_conformance.contract.clause import Level
from cri_conformance.contract.register import Register, register
from cri_conformance.faults.fault import Fault


class CatalogueError(ValueError):
    """A fault that can't count, in one line that says why."""


@cache
def faults() -> dict[str, Fault]:
    """Every fault by its id. Raises CatalogueError."""
    found: list[Fault] = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        try:
            found += importlib.import_module(f"{__name__}.{module.name}").FAULTS
        except ValueError as error:  # an operator was given a place that there is not
            raise CatalogueError(f"catalogue/{module.name}.py: {error}") from error
    return checked(found, register())


def checked(found: Iterable[Fault], contract: Register) -> dict[str, Fault]:
    """Faults by id, after a look at their ids and clauses. Raises CatalogueError."""
    catalogue: dict[str, Fault] = {}
    for fault in found:
        if fault.id in catalogue:
            raise CatalogueError(
                f"two faults are called {fault.id}: seed one fault for both clauses "
                "(fault([…], …)) or give one of them a name="
            )
        if not (fault.clauses or fault.misbehaves) or not _plain(fault.id):
            raise CatalogueError(f"{fault.id!r}: a fault has a clause, and a plain ASCII id")
        for clause in (*fault.clauses, *fault.also):
            if clause not in contract:
                raise CatalogueError(f"{fault.id}: the contract has no clause {clause}")
        for clause in fault.clauses:
            if contract[clause].level is Level.MAY:
                raise CatalogueError(f"{fault.id}: {clause} is a MAY, which nothing can break")
        catalogue[fault.id] = fault
    return catalogue


def _plain(fault_id: str) -> bool:
    # It travels as gRPC metadata, where @ parts it from the session.
    return bool(fault_id) and fault_id.isascii() and fault_id.isprintable() and "@" not in fault_id
