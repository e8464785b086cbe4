"""What is wrong with a file's fields, in one line of plain words."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

# pydantic's kinds of complaint -> what a value must be, with the names of its bounds
_MUST: Final[Mapping[str, str]] = {
    "int_type": "be a whole number",
    "int_from_float": "be a whole number",
    "int_parsing": "be a whole number",
    "int_parsing_size": "be a whole number of fewer digits",
    "float_type": "be a number",
    "finite_number": "be a finite number",
    "string_type": "be text",
    "string_unicode": "be text",
    "bool_type": "be true or false",
    "none_required": "be null",
    "list_type": "be a list",
    "tuple_type": "be a list",
    "dict_type": "be a table of fields",
    "model_type": "be a table of fields",
    "model_attributes_type": "be a table of fields",
    "literal_error": "be {expected}",
    "greater_than": "be above {gt}",
    "greater_than_equal": "be at least {ge}",
    "less_than": "be below {lt}",
    "less_than_equal": "be at most {le}",
    "too_short": "have at least {min_length} items",
    "too_long": "have at most {max_length} items",
    "string_too_short": "have at least {min_length} characters",
    "string_too_long": "have at most {max_length} characters",
    "string_pattern_mismatch": "match {pattern}",
    "invalid_key": "have names of text",
}


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the most telling of the complaints: field, bound and value.

    Parameters
    ----------
    error : ValidationError
        What pydantic says of a file's content.
    model : type of BaseModel
        What the content was to be.
    """
    complaints = error.errors(include_url=False)
    # a misspelt key also leaves one missing
    first = min(complaints, key=lambda complaint: complaint["type"] != "extra_forbidden")
    location, kind = first["loc"], first["type"]
    field = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        siblings = _fields_at(model, location[:-1])
        hint = nearest(str(location[-1]), siblings) or f"; known: {', '.join(siblings)}"
        return f"unknown key {field!r}{hint}"
    if kind == "missing":
        return f"{field} is missing"
    if kind == "value_error":
        message = first["msg"].removeprefix("Value error, ")
        joint = " " if message.startswith("must") else "."
        return f"{field}{joint}{message}" if field else message
    must = _MUST.get(kind, f"be valid ({kind})").format(**first.get("ctx", {}))
    return f"{field} must {must}, not {_short(first['input'])}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for a name that is nearly a known one, else nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a number of more than 40 digits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _fields_at(model: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            annotation: Any = model.model_fields[part].annotation
            candidates = (annotation, *get_args(annotation))
            model = next(filter(_is_model, candidates), model)
    return list(model.model_fields)


def _is_model(item: object) -> bool:
    return isinstance(item, type) and issubclass(item, BaseModel)
