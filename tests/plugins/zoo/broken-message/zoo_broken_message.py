"""Raises an exception whose message cannot be had."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this works")


raise Unspeakable
