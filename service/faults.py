"""What is wrong with a setting, in words for whoever wrote it."""

from __future__ import annotations

from pydantic import ValidationError


def explain(source: str, error: ValidationError) -> str:
    """A line for each fault: the source, the setting's name, what to do about it."""
    lines = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"]) or "settings"
        match fault["type"]:
            case "missing":
                hint = "must be given; conf/iqgate.toml shows how"
            case "extra_forbidden":
                hint = "is not a setting; conf/iqgate.toml lists them all"
            case "value_error" if isinstance(fault["input"], dict):
                hint = str(fault["ctx"]["error"])
            case _:
                hint = f"{fault['msg']} (got {fault['input']!r})"
        lines.append(f"{source}: {name}: {hint}")
    return "\n".join(lines)
