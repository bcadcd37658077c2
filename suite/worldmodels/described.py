"""Parts of a model as JSON, so that a stored one names what it is made of, not code."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from suite.checkpoints import unpack
from suite.storage import IntegrityError, read_directory


class Vocabulary:
    """The frozen dataclasses that may be written down and read again, by their names.

    Use it in what stores a model: nothing that a file names is imported, a class that
    is not in here cannot be made.

    Args:
        kinds: The classes; their fields are JSON, tuples, or classes from here.
    """

    def __init__(self, kinds: Iterable[type]):
        self.kinds = {kind.__name__: kind for kind in kinds}

    def document(self, part: Any) -> Any:
        """A part as JSON.

        Raises:
            ValueError: If it is of a class that is not known here.
        """
        if part is None or isinstance(part, (bool, int, float, str)):
            return part
        if isinstance(part, (tuple, list)):
            return [self.document(each) for each in part]
        name = type(part).__name__
        if self.kinds.get(name) is not type(part):
            raise ValueError(
                f"a model with a part of another module cannot be saved, got {part!r}; "
                f"ours are {', '.join(self.kinds)}"
            )
        fields = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        return {"kind": name} | {key: self.document(v) for key, v in fields.items()}

    def described(self, document: Any) -> Any:
        """The part that a document is of.

        Raises:
            KeyError: If it names a kind that is not known here.
            TypeError: If a field is missing or not known.
            ValueError: If a part refuses what its fields say.
        """
        if not isinstance(document, dict):
            return document
        kind = self.kinds[document["kind"]]
        rest = {n: self.described(v) for n, v in document.items() if n != "kind"}
        return kind(**rest)


def stored_tree(folder: str | Path, schema: int, what: str) -> dict[str, Any]:
    """What a model's directory holds, verified.

    Args:
        folder: The directory.
        schema: Which version of it is understood.
        what: It should hold, for the message.

    Raises:
        IntegrityError: If it is not what was written, or of another version.
    """
    tree = unpack(read_directory(folder), Path(folder))
    if not isinstance(tree, dict) or tree.get("schema") != schema:
        raise IntegrityError(f"{folder} holds no {what} of this version")
    return tree
