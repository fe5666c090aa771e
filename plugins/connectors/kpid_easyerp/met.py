"""Which records of a list were met, in 18 to 36 bytes each: lists may be long, and what a read holds must not grow with them."""

from __future__ import annotations

from array import array

_FIRST = 1 << 10
_FULL = 2 / 3
"""A table that is fuller has long ways to a free place."""


class Met:
    """Records by id, and as of which change.

    Kept are numbers made of the texts. The chance that any two of a million records share one is one in
    forty million; one of them would then be taken for the other.
    """

    def __init__(self) -> None:
        self._ids = array("q", bytes(8 * _FIRST))
        self._changes = array("i", bytes(4 * _FIRST))
        self._count = 0

    def __len__(self) -> int:
        """How many records."""
        return self._count

    def is_new(self, native_id: str, change: str | None) -> bool:
        """Whether a record was not met yet as it is now; from now on it was."""
        key, told = hash(native_id) or 1, hash(change) & 0x7FFFFFFF
        place = self._place(key)
        is_known = self._ids[place] == key
        is_same = is_known and self._changes[place] == told
        self._ids[place], self._changes[place] = key, told
        if not is_known:
            self._count += 1
            if self._count > len(self._ids) * _FULL:
                self._grow()
        return not is_same

    def _place(self, key: int) -> int:
        """Where a key is, or would be."""
        ids, last = self._ids, len(self._ids) - 1
        place = key & last
        while ids[place] not in (0, key):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        old = zip(self._ids, self._changes, strict=True)
        size = 2 * len(self._ids)
        self._ids, self._changes = array("q", bytes(8 * size)), array("i", bytes(4 * size))
        for key, change in old:
            if key:
                place = self._place(key)
                self._ids[place], self._changes[place] = key, change
