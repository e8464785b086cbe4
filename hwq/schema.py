"""What is wrong with a file's fields, in one line of plain words."""

import re

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """TEMPORARY, replaced by the merge."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{field} is missing"
    message = first["msg"].removeprefix("Value error, ")
    bound = re.sub(r"^\w+ should", "must", message)
    return f"{field} {bound}, not {first['input']!r:.60}"
