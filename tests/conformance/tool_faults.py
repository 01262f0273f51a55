"""Tools of authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from hokusai_core.testing.tools import ToolConformance


class People:
    """A tool that is right."""

    description = "Return how many people live in a city."
    version = "1"
    fork_safe = True

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {
            "type": "object",
            "properties": {"city": {"type": "string"}, "years": {"type": "array", "items": {"type": "integer"}}},
            "required": ["city"],
        }

    def call(self, city: str, years: list[int] | None = None) -> Any:
        return {"city": city, "people": [2_100_000 + year for year in years or [0]]}


class SaysNothing(People):
    description = " "


class HasNoVersion(People):
    version = ""


class VersionIsANumber(People):
    version = 1  # type: ignore[assignment]  # that is the fault


class SchemaHasNoType(People):
    def __init__(self) -> None:
        super().__init__()
        del self.parameters["type"]


class SchemaIsAText(People):
    def __init__(self) -> None:
        super().__init__()
        self.parameters = str(self.parameters)  # type: ignore[assignment]  # that is the fault


class SchemaNamesTypes(People):
    def __init__(self) -> None:
        super().__init__()
        self.parameters["properties"] = {"city": str, "years": list}


class SchemaForgetsAnArgument(People):
    def __init__(self) -> None:
        super().__init__()
        del self.parameters["properties"]["years"]


class SchemaRequiresWhatItDoesNotDescribe(People):
    def __init__(self) -> None:
        super().__init__()
        self.parameters["required"] = ["city", "country"]


class SchemaDescribesWhatIsNotTaken(People):
    def __init__(self) -> None:
        super().__init__()
        self.parameters["properties"]["country"] = {"type": "string"}


class RequiresMoreThanItSays(People):
    def call(self, city: str, years: list[int]) -> Any:  # type: ignore[override]  # that is the fault
        return super().call(city, years)


class PositionOnly(People):
    def call(self, city: str, /, years: list[int] | None = None) -> Any:  # type: ignore[override]  # that is the fault
        return super().call(city, years)


class ReturnsAnObject(People):
    def call(self, city: str, years: list[int] | None = None) -> Any:
        return object()


class ReturnsTheTextOfAnObject(People):
    def call(self, city: str, years: list[int] | None = None) -> Any:
        return {"city": city, "people": str(object())}


class ReturnsAGenerator(People):
    def call(self, city: str, years: list[int] | None = None) -> Any:
        return (year for year in years or [0])


class SortsItsArgument(People):
    def call(self, city: str, years: list[int] | None = None) -> Any:
        (years or []).sort()
        return super().call(city, years)


class ReturnsItsOwnList(People):
    def __init__(self) -> None:
        super().__init__()
        self.people = [2_100_000]

    def call(self, city: str, years: list[int] | None = None) -> Any:
        return self.people


class CountsItsCalls(People):
    def call(self, city: str, years: list[int] | None = None) -> Any:
        self.description += "."
        return super().call(city, years)


class NotForThreads(People):
    city = ""

    def call(self, city: str, years: list[int] | None = None) -> Any:
        assert not self.city, "one call at a time"
        self.city = city
        time.sleep(0.0005)
        self.city = ""
        return super().call(city, years)


class MixesCalls(People):
    """Each call adds to a list that all share."""

    def __init__(self) -> None:
        super().__init__()
        self.people: list[int] = []

    def call(self, city: str, years: list[int] | None = None) -> Any:
        self.people.clear()
        for year in years or [0]:
            self.people.append(2_100_000 + year)
            time.sleep(0)
        return {"city": city, "people": list(self.people)}


class BlocksTheLoop(People):
    async def call(self, city: str, years: list[int] | None = None) -> Any:
        time.sleep(0.0005)  # noqa: ASYNC251  # that is the fault
        return super().call(city, years)


class HoldsTheLoopUp(People):
    async def call(self, city: str, years: list[int] | None = None) -> Any:
        until = time.perf_counter() + 0.6 * (len(asyncio.all_tasks()) > 1)
        while time.perf_counter() < until:
            pass
        return super().call(city, years)


class Chatty(People):
    def call(self, city: str, years: list[int] | None = None) -> Any:
        os.write(2, b"called\n")
        return super().call(city, years)


class OnlyForItsProcess(People):
    def __init__(self) -> None:
        super().__init__()
        self.process = os.getpid()

    def call(self, city: str, years: list[int] | None = None) -> Any:
        assert os.getpid() == self.process, "a connection of another process"
        return super().call(city, years)


class NotTheArguments(People):
    def call(self, **arguments: Any) -> Any:  # type: ignore[override]  # that is the fault
        return super().call(arguments["town"])


class HasNoCall:
    description, version = People.description, People.version

    def __init__(self) -> None:
        self.parameters = People().parameters


class SaysItIsNotForForks(People):
    fork_safe = False


class Suite(ToolConformance):
    arguments: ClassVar[Mapping[str, Any]] = {"city": "Paris", "years": [3, 1, 2]}

    @pytest.fixture
    def tool(self, planted: Any) -> Any:
        return planted()


GOOD = People
FAULTS = [
    SaysNothing, HasNoVersion, VersionIsANumber, SchemaHasNoType, SchemaIsAText, SchemaNamesTypes,
    SchemaForgetsAnArgument, SchemaRequiresWhatItDoesNotDescribe, SchemaDescribesWhatIsNotTaken,
    RequiresMoreThanItSays, PositionOnly, ReturnsAnObject, ReturnsTheTextOfAnObject, ReturnsAGenerator,
    SortsItsArgument, ReturnsItsOwnList, CountsItsCalls, NotForThreads, MixesCalls, BlocksTheLoop, HoldsTheLoopUp,
    Chatty, OnlyForItsProcess, NotTheArguments, HasNoCall, SaysItIsNotForForks,
]  # fmt: skip
