"""The store of keys."""

import base64
from typing import Final, TypeAlias

from aioconsulconnect.testing.go_json.values import Object, number
from aioconsulconnect.testing.state.store import Store

State: TypeAlias = tuple[dict[str, Object], dict[str, int]]
_TABLE: Final = "kv"


class KeyTable:
    """The keys of one cluster and their values, without the locks of sessions."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._rows: dict[str, Object] = {}
        self._graves: dict[str, int] = {}
        """The index of the deletion of each key that is gone."""

    def state(self) -> State:
        """Copy the keys for a snapshot."""
        return dict(self._rows), dict(self._graves)

    def load(self, state: State) -> None:
        """Restore the keys of a snapshot."""
        rows, graves = state
        self._rows, self._graves = dict(rows), dict(graves)

    def get(self, key: str) -> Object | None:
        """The row of a key; None where there is none."""
        return self._rows.get(key)

    def below(self, prefix: str) -> list[Object]:
        """The rows of the keys that begin with `prefix`, in the order of the bytes of their keys."""
        return [self._rows[key] for key in sorted(self._rows, key=str.encode) if key.startswith(prefix)]

    def index(self, prefix: str = "") -> int:
        """The index of the last write below `prefix`; that of the whole table where there was none."""
        written = [number(row, "ModifyIndex") for row in self.below(prefix)]
        written += [index for key, index in self._graves.items() if key.startswith(prefix)]
        return max(written) if prefix and written else self.store.touched(_TABLE)

    def put(self, key: str, value: bytes, flags: int) -> None:
        """Write a `key` with a `value` and `flags`; what is there already is not written."""
        before = self._rows.get(key)
        row: Object = {
            "LockIndex": 0,
            "Key": key,
            "Flags": flags,
            "Value": base64.b64encode(value).decode() or None,
        }
        if before is not None and {**before, **row} == before:
            return
        index = self.store.write(_TABLE, f"{_TABLE}/{key}")
        self._rows[key] = {**row, "CreateIndex": before["CreateIndex"] if before else index, "ModifyIndex": index}

    def delete(self, *keys: str) -> None:
        """Delete keys at one index; where none of them is there, nothing is written."""
        gone = [key for key in keys if self._rows.pop(key, None) is not None]
        if gone:
            index = self.store.write(_TABLE, *(f"{_TABLE}/{key}" for key in gone))
            self._graves.update(dict.fromkeys(gone, index))
