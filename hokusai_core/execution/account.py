"""Account: what a budget has spent, and what calls under way have reserved of it; and its ceilings."""

from __future__ import annotations

from typing import Any, Self

from attrs import asdict, define, field, frozen

from hokusai_core.money import shown_dollars
from hokusai_core.results import Usage

__all__ = ["Account", "Amount", "Ceilings"]


@define
class Amount:
    """Calls, and the most that they may cost.

    Args:
        calls: number of calls.
        cost: picodollars.
        since: seconds since the epoch of the first of them.
        lost: whether nothing tells if the process that has reserved them is alive; they then count as spent.
    """

    calls: int = 0
    cost: int = 0
    since: float = 0.0
    lost: bool = False

    def add(self, other: Amount) -> None:
        """Add another amount."""
        self.calls += other.calls
        self.cost += other.cost


@define
class Account:
    """What is spent and what is reserved. Money is in picodollars.

    Args:
        usage: calls and tokens that were charged.
        cost: money that was charged, ``uncertain`` included.
        uncertain: the part of it that calls may have cost whose bill is not known.
        unpriced: a model whose calls were charged without a price; "" for none.
        since: when the first call was reserved, by the clock of the ledger; None if none was.
        reserved: process -> what its calls under way have reserved.
        dead: what processes had reserved that have died since. It counts as spent.
        released: what was given back of it.
        ceilings: those of the budget that was last made with the account, as ``Ceilings.to_dict`` returns them.
    """

    usage: Usage = field(factory=Usage)
    cost: int = 0
    uncertain: int = 0
    unpriced: str = ""
    since: float | None = None
    reserved: dict[str, Amount] = field(factory=dict)
    dead: Amount = field(factory=Amount)
    released: Amount = field(factory=Amount)
    ceilings: dict[str, float | None] = field(factory=dict)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Return the account that ``encode`` has written.

        Raises:
            ValueError: it holds something else.
        """
        import orjson  # for files; help of commands does without

        try:
            data: dict[str, Any] = orjson.loads(payload)
            data["usage"] = Usage(*data["usage"])
            data["reserved"] = {process: Amount(*amount) for process, amount in data["reserved"].items()}
            data["dead"], data["released"] = Amount(*data["dead"]), Amount(*data["released"])
            return cls(**data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no account of a budget ({error})") from None

    def encode(self) -> bytes:
        """Return the account as JSON."""
        import orjson  # for files; help of commands does without

        usage = self.usage
        return orjson.dumps(
            {
                "usage": [
                    usage.input_tokens,
                    usage.output_tokens,
                    usage.calls,
                    usage.cached_tokens,
                    usage.reasoning_tokens,
                ],
                "cost": self.cost,
                "uncertain": self.uncertain,
                "unpriced": self.unpriced,
                "since": self.since,
                "reserved": {
                    name: [item.calls, item.cost, item.since, item.lost] for name, item in self.reserved.items()
                },
                "dead": [self.dead.calls, self.dead.cost],
                "released": [self.released.calls, self.released.cost],
                "ceilings": self.ceilings,
            }
        )

    @property
    def calls(self) -> int:
        """Calls that were made, or are under way."""
        return self.usage.calls + self.dead.calls + sum(item.calls for item in self.reserved.values())

    @property
    def spent(self) -> int:
        """Money that is spent: what was charged, and what processes had reserved that are dead or lost."""
        return self.cost + self.dead.cost + sum(item.cost for item in self.reserved.values() if item.lost)

    @property
    def under_way(self) -> int:
        """Money that calls under way have reserved."""
        return sum(item.cost for item in self.reserved.values() if not item.lost)

    def reserve(self, process: str, calls: int, cost: int, now: float) -> None:
        """Take calls out of the account before they are made."""
        held = self.reserved.get(process)
        if held is None:
            self.reserved[process] = Amount(calls, cost, now)
        else:
            held.calls += calls
            held.cost += cost

    def give_back(self, process: str, calls: int, cost: int) -> None:
        """Take back what ``reserve`` took. What was released before is not taken back again."""
        held = self.reserved.get(process)
        if held is None:
            return
        held.calls, held.cost = max(0, held.calls - calls), max(0, held.cost - cost)
        if not held.calls and not held.cost:
            del self.reserved[process]

    def charge(self, usage: Usage, cost: int, *, uncertain: bool) -> None:
        """Charge what calls have used.

        Args:
            usage: their calls and tokens.
            cost: their cost; where that is not known, the most that it may be.
            uncertain: whether it is not known.
        """
        self.usage += usage
        self.cost += cost
        self.uncertain += cost if uncertain else 0

    def presume(self, process: str, calls: int, cost: int) -> None:
        """Charge calls that were given up at the most that they may cost, until it is known what they did."""
        self.give_back(process, calls, cost)
        self.charge(Usage(calls=calls), cost, uncertain=True)

    def retract(self, calls: int, cost: int) -> None:
        """Take back what ``presume`` has charged."""
        self.charge(Usage(calls=-calls), -cost, uncertain=True)

    def lose(self, process: str) -> None:
        """Note that nothing tells whether a process is alive."""
        self.reserved[process].lost = True

    def bury(self, process: str) -> None:
        """Note that a process has died: what it had reserved is spent."""
        self.dead.add(self.reserved.pop(process))

    def release(self) -> Amount:
        """Give back what the dead had reserved, and return it."""
        given, self.dead = self.dead, Amount()
        self.released.add(given)
        return given


@frozen
class Ceilings:
    """What a budget may come to; None for no ceiling.

    Args:
        calls: calls.
        tokens: tokens of prompts and answers together.
        cost: picodollars.
        seconds: seconds from the first reservation.
    """

    calls: int | None = None
    tokens: int | None = None
    cost: int | None = None
    seconds: float | None = None

    def reached(self, account: Account, now: float) -> str | None:
        """Return which ceiling is reached, in words; None for none.

        Args:
            account: what is spent.
            now: the time, by the clock of the account.
        """
        if self.calls is not None and account.calls >= self.calls:
            return f"all {self.calls} calls are made"
        if self.tokens is not None and account.usage.total_tokens >= self.tokens:
            return f"{account.usage.total_tokens} of {self.tokens} tokens are used"
        if self.cost is not None and account.spent >= self.cost:
            return f"{shown_dollars(account.spent)} of {shown_dollars(self.cost)} is spent{_dead(account)}"
        if self.seconds is not None and account.since is not None and now - account.since >= self.seconds:
            return f"{self.seconds:g} seconds have passed"
        return None

    def refusal(self, account: Account, calls: int, cost: int) -> str | None:
        """Return why calls may not be made although no ceiling is reached yet, in words.

        Args:
            account: what is spent and reserved.
            calls: how many.
            cost: the most that they may cost.

        Returns:
            None if they may be made now; "" if they may be made once calls under way turn out to cost less than they
            have reserved.
        """
        if self.calls is not None and account.calls + calls > self.calls:
            return f"{self.calls - account.calls} of {self.calls} calls are left, and {calls} were asked for at once"
        if self.cost is None:
            return None
        left = self.cost - account.spent
        if cost > left:
            return (
                f"{shown_dollars(left)} of {shown_dollars(self.cost)} is left{_dead(account)}, and the next call may "
                f"cost up to {shown_dollars(cost)}"
            )
        return "" if cost > left - account.under_way else None

    def to_dict(self) -> dict[str, float | None]:
        """Return the ceilings as a JSON-able dict."""
        return asdict(self)


def _dead(account: Account) -> str:
    if not account.dead.cost:
        return ""
    return (
        f" ({shown_dollars(account.dead.cost)} of it was reserved by processes that have died; hokusai budget release)"
    )
