"""Files that people edit, read as frozen models: policies, allocations, and whatever else is declared in YAML.

Belongs here: the model's base, and reading with every wrong field named. Doesn't: what is declared.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class Frozen(BaseModel):
    """A value that is not changed after loading and has no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def read_declared(path: Path, model: type[Model], error: type[ValueError]) -> Model:
    """Return a YAML file as its model; what is wrong with it is raised as ``error``, every field listed."""
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as found:
        raise error(f"{path}: cannot be read: {found.strerror}") from found
    except (yaml.YAMLError, UnicodeDecodeError) as found:
        raise error(f"{path.name}: not readable as YAML: {found}") from found
    except ValidationError as found:
        lines = (f"{path.name}: {'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in found.errors())
        raise error("\n".join(lines)) from found
