"""Proposals as people read them: a page of figures, and rules ready for `policy.toml`."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.limits import INDEPENDENT_NEEDED, AlarmRate
from models.proposal import SHOWN_SHARES, Budget, Proposal

PROVISIONAL = (
    f"fewer than {INDEPENDENT_NEEDED} independent acquisitions: no alarm in {INDEPENDENT_NEEDED} "
    "bounds the rate at 2 %"
)


def page(found: Sequence[Proposal], budget: Budget) -> str:
    """Every proposal, in words and figures, for an alarm budget."""
    if not found:
        return "No acquisition has been judged by a rule of the policy and a bundle served here."
    lines = []
    for scanner in dict.fromkeys(one.scanner for one in found):
        lines += [scanner, ""]
        for one in found:
            if one.scanner == scanner:
                lines += [f"  {line}" for line in _block(one, budget)] + [""]
    return "\n".join(lines).rstrip()


def _block(one: Proposal, budget: Budget) -> Iterable[str]:
    yield (
        f"rule {one.rule} ({one.modality}): {one.statistic}, {one.bundle} {one.bundle_version} "
        f"({one.bundle_digest[:12]})"
    )
    days = "1 day" if one.days == 1 else f"{one.days} days"
    pace = "" if one.per_day is None else f" on {days}, {one.per_day:.1f} a day"
    yield f"  acquisitions   {one.acquisitions} of {one.studies} studies{pace}"
    shares = "  ".join(f"{100 * share:>3g} %" for share in SHOWN_SHARES)
    values = "  ".join(f"{one.quantiles[share]:>5.2f}" for share in SHOWN_SHARES)
    yield f"  distribution   {shares}   (worst first)"
    yield f"                 {values}"
    for number, (name, count, median) in enumerate(one.protocols):
        yield f"  {'' if number else 'protocols':<15}{name}: {count}, median {median:.2f}"
    worst = [f"{value:.2f}  {series}" for value, series in one.worst]
    for number, line in enumerate(worst):
        yield f"  {'' if number else 'look at first':<15}{line}"
    yield f"  limit now      {one.meets:g}: {_rate(one.current, one.per_day)}"
    if one.limit is None or one.expected is None:
        yield "  proposed       none: the days of acquisition are not known; give a share instead"
    else:
        low, high = ("not bounded" if end is None else f"{end:.2f}" for end in one.interval)
        yield (
            f"  proposed       {one.limit:.2f} for {budget}; "
            f"95 % interval of the limit {low} to {high}"
        )
        yield f"                 {_rate(one.expected, one.per_day)}"
        if (one.meets - one.limit) * (-1 if one.more_is_worse else 1) > 0:
            yield "                 more lenient than the limit now: look at the worst first"
    if one.provisional:
        yield f"  PROVISIONAL    {PROVISIONAL}"


def _rate(rate: AlarmRate, per_day: float | None) -> str:
    low, high = rate.interval
    alarms = "1 alarm" if rate.alarms == 1 else f"{rate.alarms} alarms"
    words = (
        f"{alarms} in {rate.acquisitions} = {100 * rate.share:.1f} % "
        f"(95 % {100 * low:.1f} to {100 * high:.1f} %)"
    )
    if per_day is None:
        return words
    mean, (least, most) = rate.per_day(per_day)
    return f"{words}, {mean:.2f} per scanner and day ({least:.2f} to {most:.2f})"


def rules(found: Iterable[Proposal], policy: Mapping[str, Any], budget: Budget) -> str:
    """Rules with the proposed limits, as TOML: the policy's own with the scanner named.

    policy: the tables of `policy.toml`. They belong above the rules they were made from, for the
    first rule that applies decides.
    """
    tables = {table["name"]: table for table in policy["rule"]}
    parts = []
    for one in found:
        if one.limit is None or one.rule not in tables:
            continue
        table = dict(tables[one.rule])
        scanner = glob.escape(one.scanner)
        if table.get("scanner") != scanner:
            table["name"] = f"{one.rule}-{_slug(one.scanner)}"
        table = {"name": table.pop("name"), "modality": table.pop("modality")} | table
        table |= {"scanner": scanner, "meets": one.limit}
        notes = [
            f"from {one.acquisitions} acquisitions of {one.studies} studies, {budget}"
            + (": PROVISIONAL" if one.provisional else "")
        ]
        beyond = table.get("unusable")
        if beyond is not None and (beyond > one.limit) != one.more_is_worse:
            notes.append(f"unusable = {beyond:g} no longer lies beyond meets, and is left out")
            del table["unusable"]
        parts.append(
            "\n".join(
                [
                    "[[rule]]",
                    *(f"# {note}" for note in notes),
                    *(f"{key} = {_toml(value)}" for key, value in table.items()),
                ]
            )
        )
    return "\n\n".join(parts)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _toml(value: Any) -> str:
    match value:
        case Mapping():
            return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case _:
            # a string of JSON is one of TOML, and so are its numbers
            return json.dumps(value, ensure_ascii=False)
