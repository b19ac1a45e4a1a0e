"""Make data/prices.json and the models of data/hosts.json from genai-prices.

Run ``make prices``. What genai-prices lacks or has wrong stands in data/overlay.json,
each row with its source and day; a price there holds only where genai-prices has none.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from genai_prices.data import providers
from genai_prices.types import StartDateConstraint

from kimikit.money import catalogue
from kimikit.money.prices import PriceRow

DATA = Path(__file__).parents[2] / "kimikit" / "data"
BY_ID = {provider.id: provider for provider in providers}
AMOUNTS = ("input", "output", "cached_input", "cache_write", "cache_write_1h")
AS_LISTED_AT = {"moonshot-cn": "moonshot"}
"""Hosts with the models of another and prices in another currency."""
ROUTED = "the router's upstream sets the price; this is the dearest known"
GOES = "the upstream chosen sets the price: usage.cost of the answer wins"
ORDER = ("served", "unknown", "retired")


def clauses(clause: Any) -> list[str]:
    """Return the names that a clause of genai-prices equals."""
    parts = getattr(clause, "or_", None) or [clause]
    return [part.equals for part in parts if hasattr(part, "equals")]


def names(info: Any) -> list[str]:
    """Return what a host calls a model, its own spelling where that is known."""
    found = clauses(info.match) or [info.id]
    own = [info.id] if info.id.lower() in map(str.lower, found) else []
    return own + [name for name in found if name.lower() != info.id.lower()]


class Maker:
    """Joins what genai-prices and the overlay know, host by host."""

    def __init__(self, day: str) -> None:
        overlay = json.loads((DATA / "overlay.json").read_text("utf-8"))
        self.day = day
        self.source = f"{catalogue.PACKAGE} {catalogue.installed()}"
        self.families = overlay["families"]
        self.overlay = {
            (row["host"], row["model"].lower()): row for row in overlay["rows"]
        }
        for row in overlay["rows"]:
            assert row["source"], row
            dt.date.fromisoformat(row["as_of"])

    def family(self, model: str) -> dict[str, Any]:
        """Return the family of a host's model id; Fireworks writes ``k2p6``."""
        name = re.sub(r"(?<=k\d)p(?=\d)", ".", model.lower().rpartition("/")[2])
        known = (f for f in self.families if re.match(f["pattern"], name))
        return next(known, {})

    def window(self, given: int | None, family: dict[str, Any]) -> int:
        """Return a window in tokens; a rounded figure gives way to the exact one."""
        exact = family.get("context", 0)
        if not given or (exact and abs(given - exact) < 0.05 * exact):
            return exact
        return given

    def listed(self, host: str) -> list[dict[str, Any]]:
        """Return all that is known of a host's Kimi models, one dict a price."""
        provider = BY_ID.get(catalogue.PROVIDERS.get(host, host))
        found = [
            row
            for info in (provider.models if provider else ())
            for row in self.read(host, info)
        ]
        if host == catalogue.ROUTER:
            found = self.routed(host)
        mine = {key: row for key, row in self.overlay.items() if key[0] == host}
        rows = []
        for row in found:
            own = mine.get((host, row["model"].lower()), {})
            rows.append({**row, **{k: v for k, v in own.items() if k not in AMOUNTS}})
            if own:
                both = {"source": f"{row['source']}; {own['source']}"}
                rows[-1] |= {**both, "as_of": row["as_of"]}
        seen = {row["model"].lower() for row in rows}
        for (_, name), own in mine.items():
            if name not in seen:
                family = self.family(own["model"])
                context = self.window(own.get("context"), family)
                rows.append({"state": "served", **own, "context": context})
        return rows

    def read(self, host: str, info: Any) -> list[dict[str, Any]]:
        """Return the rows of one model of genai-prices, if it is a Kimi."""
        family = self.family(info.id)
        if not family:
            return []
        dated = info.prices if isinstance(info.prices, list) else [None]
        note = GOES if host == "openrouter" else info.price_comments or ""
        rows = []
        for alias, name in enumerate(names(info)):
            for each in dated:
                start = getattr(each, "constraint", None)
                if start is not None and not isinstance(start, StartDateConstraint):
                    raise SystemExit(f"{host} {name}: prices of hours are not read")
                price = catalogue.as_price(getattr(each, "prices", info.prices), "")
                if price is None:
                    continue
                rows.append(
                    {
                        "host": host,
                        "model": name,
                        "since": start.start_date.isoformat() if start else "",
                        **{name: getattr(price, name) for name in AMOUNTS},
                        "context": self.window(info.context_window, family),
                        "state": "retired" if info.deprecated else "served",
                        "source": self.source,
                        "as_of": self.day,
                        "note": note,
                        "alias": bool(alias),
                    }
                )
        return rows

    def routed(self, host: str) -> list[dict[str, Any]]:
        """Return a router's rows: one by upstream, and one for whichever it takes."""
        by_model: dict[str, list[dict[str, Any]]] = {}
        rows = []
        for provider in providers:
            router, _, via = provider.id.partition("_")
            if router != host:
                continue
            for info in provider.models:
                for row in self.read(host, info)[:1]:
                    rows.append(
                        {**row, "model": f"{row['model']}:{via}", "alias": True}
                    )
                    by_model.setdefault(row["model"], []).append(row)
        for some in by_model.values():
            dearest = {
                name: max((row[name] for row in some if row[name]), default=None)
                for name in ("input", "output")
            }
            rows.append({**some[0], **dearest, "cached_input": None, "note": ROUTED})
        return rows

    def rank(self, row: dict[str, Any]) -> tuple[Any, ...]:
        """Return what a host's models are sorted by; the first is its default.

        Served ones first, K2 Instruct before all others, then the newest family, and
        of those the cheaper; batches and other variants after what they are of.
        """
        family = self.family(row["model"])
        instruct = ("kimi-k2-instruct", "kimi-k2-instruct-0905")
        name = family.get("name", "")
        return (
            ORDER.index(row["state"]),
            instruct.index(name) if name in instruct else len(instruct),
            -int(family.get("released", "0").replace("-", "")),
            ":" in row["model"],
            Decimal(row.get("input") or 0) + Decimal(row.get("output") or 0),
            row["model"],
            row.get("since", ""),
        )

    def prices(self, hosts: list[str]) -> list[dict[str, Any]]:
        """Return the rows of data/prices.json."""
        rows = []
        for host in hosts:
            priced = [row for row in self.listed(host) if row.get("input") is not None]
            for row in sorted(priced, key=self.rank):
                fields = PriceRow.__struct_fields__
                rows.append(
                    {
                        name: str(row[name]) if name in AMOUNTS else row[name]
                        for name in fields
                        if row.get(name) not in (None, "", 0)
                    }
                )
        return rows

    def models(self, host: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the models of a host of data/hosts.json."""
        latest = {
            row["model"]: row
            for row in sorted(
                self.listed(AS_LISTED_AT.get(host["name"], host["name"])),
                key=lambda row: row.get("since", ""),
            )
            if not row.get("alias") and ":free" not in row["model"]
        }
        listed = []
        for row in sorted(latest.values(), key=self.rank):
            family = self.family(row["model"])
            if not family:
                sys.exit(f"{row['model']} is of no family: add one to overlay.json.")
            pinned = "thinking_limits" in host.get("quirks", ())
            warmth = family.get("temperature")
            if pinned and family["released"] >= "2026":
                heat = {"fixed_temperature": 1.0}
            else:
                heat = {} if warmth is None else {"temperature": warmth}
            listed.append(
                {
                    "id": row["model"],
                    "state": row["state"],
                    "family": family["name"],
                    **heat,
                    "context": row["context"],
                    "source": row["source"],
                    "as_of": row["as_of"],
                }
            )
        return listed


def lines(rows: list[dict[str, Any]], indent: str) -> str:
    """Return a list of dicts as JSON, one a line."""
    texts = (indent + json.dumps(row, ensure_ascii=False) for row in rows)
    return "[\n" + ",\n".join(texts) + f"\n{indent[2:]}]"


def made(day: str | None = None) -> dict[str, str]:
    """Return both files' new texts by name.

    Args:
        day: The day that genai-prices was read; without one that of the present table
            if it was made from the same version, else today.
    """
    table = json.loads((DATA / "prices.json").read_text("utf-8"))
    hosts = json.loads((DATA / "hosts.json").read_text("utf-8"))
    version = catalogue.installed()
    same = isinstance(table, dict) and table["genai_prices"] == version
    day = day or (table["as_of"] if same else dt.date.today().isoformat())
    maker = Maker(day)
    rows = maker.prices([host["name"] for host in hosts])
    head = f'{{\n  "genai_prices": "{version}",\n  "as_of": "{day}",\n  "rows": '
    parts = []
    for host in hosts:
        if models := maker.models(host):
            host["models"] = models
        fields = [
            f'    "{name}": '
            + (
                lines(value, " " * 6)
                if name == "models"
                else json.dumps(value, ensure_ascii=False)
            )
            for name, value in host.items()
        ]
        parts.append("  {\n" + ",\n".join(fields) + "\n  }")
    return {
        "prices.json": head + lines(rows, " " * 4) + "\n}\n",
        "hosts.json": "[\n" + ",\n".join(parts) + "\n]\n",
    }


if __name__ == "__main__":
    for name, text in made().items():
        (DATA / name).write_text(text, "utf-8")
        print(f"{DATA / name}: {text.count(chr(10))} lines")
