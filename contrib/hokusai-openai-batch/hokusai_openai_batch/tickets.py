"""Tickets: which rows were submitted in which batch of the service, as notes in the journal say."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define, field

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import JobNotes, jsonable

__all__ = ["Ticket", "Tickets"]

_KIND: Final = "openai-batch"


@define(eq=False)
class Ticket:
    """One batch of the service.

    Args:
        token: the label by which the service knows it too.
        keys: keys of its rows, in the order of its requests.
        at: when it was going to be submitted, as ``time.time()`` tells it.
        batch_id: its id at the service; "" while that is not known.
        lm: the language model that it is for, as the job has it.
    """

    token: str
    keys: Sequence[str]
    at: float
    batch_id: str = ""
    lm: Any = None
    places: dict[str, int] = field(init=False)

    @places.default
    def _places(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.keys)}


class Tickets:
    """The tickets of one journal. Each change is on the disk before anything is done that it is about.

    A ticket is noted before its batch is submitted, again with the id that the service gave, and again when its answers
    are in the journal. A process that is killed in between leaves a ticket from which the next one goes on.

    Args:
        notes: the notes of the journal.
        lm: the language model of the batch, as the job has it.

    Raises:
        ConfigurationError: a batch for another model is under way.
    """

    def __init__(self, notes: JobNotes, lm: Any) -> None:
        self._notes, self._lm = notes, jsonable(lm)
        self._open: dict[str, Ticket] = {}
        for note in notes.read():
            if note.get("kind") == _KIND:
                self._take(note)
        other = [ticket for ticket in self._open.values() if ticket.lm != self._lm]
        if other:
            raise ConfigurationError(
                f"backend openai-batch: the journal has a batch under way for {other[0].lm} "
                f"({other[0].batch_id or 'its id is not known yet'}), and this run asks {self._lm}; finish it with "
                "that model, or give another journal"
            )

    @property
    def open(self) -> list[Ticket]:
        """The tickets whose answers are not all in the journal, the oldest first."""
        return list(self._open.values())

    def begin(self, keys: Sequence[str]) -> Ticket:
        """Note that rows are going to be submitted, and return their ticket."""
        ticket = Ticket(secrets.token_hex(12), tuple(keys), time.time(), lm=self._lm)
        self._write("submitting", ticket, keys=list(keys), at=ticket.at, lm=self._lm)
        self._open[ticket.token] = ticket
        return ticket

    def submitted(self, ticket: Ticket, batch_id: str) -> None:
        """Note the id of a batch."""
        ticket.batch_id = batch_id
        self._write("submitted", ticket, batch=batch_id)

    def drop(self, ticket: Ticket) -> None:
        """Note that the service has no such batch."""
        self._close("dropped", ticket)

    def collected(self, ticket: Ticket) -> None:
        """Note that nothing is to be had of a batch any more."""
        self._close("collected", ticket)

    def _close(self, state: str, ticket: Ticket) -> None:
        if self._open.pop(ticket.token, None) is not None:
            self._write(state, ticket)

    def _write(self, state: str, ticket: Ticket, **facts: Any) -> None:
        self._notes.write({"kind": _KIND, "state": state, "token": ticket.token, **facts})

    def _take(self, note: Mapping[str, Any]) -> None:
        token, state = str(note.get("token")), note.get("state")
        if state == "submitting":
            self._open[token] = Ticket(token, tuple(map(str, note["keys"])), float(note["at"]))
            self._open[token].lm = note.get("lm")
        elif token in self._open and state == "submitted":
            self._open[token].batch_id = str(note["batch"])
        elif state in ("dropped", "collected"):
            self._open.pop(token, None)
