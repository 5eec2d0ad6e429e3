"""Files that people edit, read as frozen models: policies, allocations, and whatever else is declared in YAML.

Belongs here: the model's base, plain YAML, and reading with every wrong field named. Doesn't: what is declared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class Frozen(BaseModel):
    """A value that is not changed after loading and has no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)

# The longest file of the sample desk has 13,000 characters and its deepest value stands five levels down.
_LONGEST = 1_000_000
_DEEPEST = 40


class _PlainLoader(yaml.SafeLoader):
    """YAML of plain values, each written where it stands, each key once."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node of the document."""
        # Nine lines of aliases to aliases stand for a thousand million values.
        if self.check_event(yaml.AliasEvent):
            raise self._refusal("an alias; write the value out")
        if self._depth == _DEEPEST:
            raise self._refusal(f"a value below {_DEEPEST} levels")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return the mapping that begins here."""
        node = super().compose_mapping_node(anchor)
        keys = set()
        for key, _ in node.value:
            # PyYAML takes the last and says nothing: of two limits the reader may have seen the other.
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in keys:
                raise self._refusal(f"the key {key.value!r} twice in one mapping", key.start_mark)
            keys.add((key.tag, str(key.value)))
        return node

    def _refusal(self, what: str, mark: yaml.Mark | None = None) -> yaml.YAMLError:
        return yaml.composer.ComposerError(None, None, f"found {what}", mark or self.peek_event().start_mark)


def parse_yaml(text: str) -> Any:
    """Return the plain values that a YAML text says.

    Raises
    ------
    yaml.YAMLError
        For all that is not plain YAML: tags of Python objects, aliases, a repeated key, a number or time that is none,
        values nested deeper than 40 levels, a million characters.
    """
    if len(text) > _LONGEST:
        raise yaml.YAMLError(f"{len(text):,} characters; {_LONGEST:,} are allowed")
    try:
        return yaml.load(text, _PlainLoader)  # noqa: S506 - it is a SafeLoader
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        # PyYAML lets through what Python says of `2024-13-45`, `!!bool x` or an integer of 5,000 digits.
        raise yaml.YAMLError(f"a value is not of its type: {error}") from error


def read_declared(path: Path, model: type[Model], error: type[ValueError]) -> Model:
    """Return a YAML file as its model; what is wrong with it is raised as ``error``, every field listed."""
    try:
        return model.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
    except OSError as found:
        raise error(f"{path}: cannot be read: {found.strerror}") from found
    except (yaml.YAMLError, UnicodeDecodeError) as found:
        raise error(f"{path.name}: not readable as YAML: {found}") from found
    except ValidationError as found:
        lines = (f"{path.name}: {'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in found.errors())
        raise error("\n".join(lines)) from found
