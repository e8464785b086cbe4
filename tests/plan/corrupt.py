"""Plans with one wrong address, stride or transfer."""

import re

from hwq.plan.memory import MEMORIES

FIELDS = {
    "base": r"\bbase=(\d+)",
    "bases": r"\bbases=\(([\d, ]+)\)",
    "quantum": r"\bquantum=(\d+)",
    "offset": r"View\(offset=(\d+)",
    "axes": r"\baxes=(\(.*?\)),?\)",
    "stage bits": r"Stage\(memory='\w+', quantum=\d+, bases=\([\d, ]+\), bits=(\d+)",
    "sums": r"\bsums_base=(\d+)",
    "memory": r"\bmemory='(\w+)'",
    "early": r"\bearly=(True|False)",
    "waits": r"\bwaits=(True|False)",
}
STEPS = (1, -1, 8, -8, 64, 256, -256, 512, 4096)


def corrupted(text, rng):
    """Return the text with one value changed, and what was changed."""
    field = rng.choice(list(FIELDS))
    places = [match.span(1) for match in re.finditer(FIELDS[field], text)]
    start, stop = rng.choice(places)
    value = text[start:stop]
    if field in ("early", "waits"):
        new = str(value == "False")
    elif field == "memory":
        new = rng.choice([memory for memory in MEMORIES if memory != value])
    else:
        numbers = list(re.finditer(r"\d+", value))
        number = rng.choice(numbers)
        changed = int(number.group()) + rng.choice(STEPS)
        new = value[: number.start()] + str(changed) + value[number.end() :]
    line = text.count("\n", 0, start) + 1
    return text[:start] + new + text[stop:], f"line {line}: {field}: {value} -> {new}"
