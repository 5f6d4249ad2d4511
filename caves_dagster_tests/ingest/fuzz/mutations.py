"""What is done to a valid event: to its fields, to its text, to its bytes. Most of it makes it invalid."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

Event = dict[str, Any]


class Raw(str):
    """JSON text, written as it is."""


# --- writing


def write(draw: Random, item: Any) -> str:
    """JSON text, spelt in one of the many ways: spaces, escapes, the order of keys."""
    if isinstance(item, Raw):
        return str(item)
    if isinstance(item, dict):
        pairs = list(item.items())
        if draw.random() < 0.1:
            draw.shuffle(pairs)
        space = draw.choice(_SPACES) if draw.random() < 0.1 else ""
        inner = f"{space},{space}".join(
            f"{_string(draw, k)}{space}:{space}{write(draw, v)}" for k, v in pairs
        )
        return f"{{{space}{inner}{space}}}"
    if isinstance(item, list):
        return "[" + ",".join(write(draw, one) for one in item) + "]"
    if isinstance(item, str):
        return _string(draw, item)
    return json.dumps(item)


_SPACES = (" ", "\n", "\t", "\r\n", "  \n\t ")


def _string(draw: Random, item: str) -> str:
    if isinstance(item, Raw):
        return str(item)
    if draw.random() < 0.02:
        units = item.encode("utf-16-be", "surrogatepass")
        return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2)) + '"'
    return json.dumps(item, ensure_ascii=draw.random() < 0.2)


# --- fields

_COMMON = (
    "null",
    "true",
    "false",
    "[]",
    "{}",
    '""',
    '"6"',
    "[1]",
    '{"value":1}',
    "NaN",
    "Infinity",
    "-Infinity",
)
_INTEGERS = (
    *("0", "1", "-1", "-0", "2147483648", "9007199254740993", str(2**63 - 1), str(2**63), str(-(2**63))),
    *(
        str(-(2**63) - 1),
        str(2**64),
        "9" * 38,
        "9" * 39,
        "1.0",
        "1e0",
        "1E3",
        "0.5",
        "01",
        "+1",
        "0x10",
        "1_0",
    ),
    *("1.", ".5", "1e", "--1", "1e400", "٣", "1 2", "9" * 5_000, "-" + "1" * 400),
)
_NUMBERS = (
    *("0", "-0", "-0.0", "0.0", "1", "0.005", "0.015", "1.005", "2.675", "0.145", "18.50", "99999999.99"),
    *("99999999.990", "99999999.990000000001", "99999999.994", "99999999.995", "100000000", "1e7", "1.5E+3"),
    *("1E-7", "5e-324", "1e-400", "-1e-400", "-1e-9", "1e308", "1e309", "-1e400", "1e-99999999999999999999"),
    *("0.9999", "0.99994", "0.99995", "0.9999999999999999", "0.99999999999999999999", "0.00005", "0.00004"),
    *("99.999", "99.9994", "99.9995", "99.99900000000000001", "100", "0.0005", "0.0004", "1e-10"),
    *("0.1000000000000000055511151231257827021181583404541015625", "12345678901234567890123456e-20"),
    *("0." + "3" * 60, "0." + "3" * 5_000, "9" * 400 + ".5", "0" * 40 + "1", "0." + "0" * 400 + "1e401"),
)
_LETTERS = (
    "x",
    "é",
    "酒",
    "🥂",
    "e\u0301",
    "\u2028",
    "'",
    '"',
    "\\",
    "\u0000",
    "\u001f",
    "\ufeff",
    "\u200d",
    "\x7f",
)
_STRINGS = (
    *(
        "\u0000",
        "a\u0000b",
        "\u2028\u2029\u0085",
        "\ufeffvin",
        "'); DROP TABLE RAW;--",
        "$1",
        "%(x)s",
        "%s",
        "{{ x }}",
    ),
    *(
        "\\",
        '"',
        "a\tb\r\n",
        "null",
        " ",
        "\u00a0",
        "🇫🇷👩‍👩‍👧",
        "e\u0301\u0327",
        "\U0010ffff",
        "\ufffe",
        "\u202eab",
    ),
)
_RAW_STRINGS = (
    *('"\\ud800"', '"\\udc00 x"', '"\\ud83c\\udf77"', '"\\ud83c\\ud83c"', '"\\u0000"', '"\\x41"', '"\\u12"'),
    *('"a\x01b"', '"a\nb"', "'x'", '"\\/"', '"Ros\\u00e9"', '"\\', '"\\uD83C"', '"\\u2028\u2028"'),
)
_LISTED = {
    "event_type": (
        "ORDER_CREATED",
        "INVENTORY_ADJUSTED",
        "order_created",
        "ORDER_CREATED ",
        "",
        "ORDER_SHIPPED",
    ),
    "category": (
        "Rouge",
        "Blanc",
        "Rosé",
        "Rose\u0301",
        "rosé",
        "ROUGE",
        "Rouge\u0000",
        " Blanc",
        "",
        "Orange",
    ),
    "sales_channel": (
        "E-com",
        "Boutique",
        "Téléphone",
        "Te\u0301le\u0301phone",
        "Salon",
        "E‑com",
        "salon",
        "",
    ),
    "adjustment_type": (
        "RESTOCK",
        "SALE_CORRECTION",
        "RETURN",
        "DAMAGE",
        "COUNT",
        "count",
        "THEFT",
        "COUNT\n",
    ),
}
_IDS = (
    "6F1D8A52-3c53-4A7E-9a59-0C9F6f3f6f10",
    "0" * 36,
    "6f1d8a523c534a7e9a590c9f6f3f6f10",
    "",
    "42",
    "{id}",
)
_WIDTHS = {"product_name": 200, "warehouse": 100, "source": 200}
_CLOCKS = (
    *("1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999999Z", "1970-01-01T00:59:59+01:00"),
    *("1970-01-01T01:00:00+01:00", "1969-12-31T23:00:00-01:00", "2199-12-31T23:59:59.999999999Z"),
    *(
        "2200-01-01T00:00:00Z",
        "2199-12-31T23:59:59-00:01",
        "2200-01-01T00:30:00+01:00",
        "9999-12-31T23:59:59Z",
    ),
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "2026-02-29T00:00:00Z", "2024-02-29T12:00:00Z"),
    *("2026-13-01T00:00:00Z", "2026-06-31T00:00:00Z", "2026-06-30T24:00:00Z", "2016-12-31T23:59:60Z"),
    *("2026-03-29T02:30:00+01:00", "2026-03-01T10:15:30", "2026-03-01", "2026-03-01 10:15:30Z"),
    *("2026-03-01t10:15:30z", "2026-03-01T10:15Z", "2026-03-01T10:15:30+0100", "2026-03-01T10:15:30+01"),
    *("2026-03-01T10:15:30,5Z", "2026-03-01T10:15:30.Z", "2026-03-01T10:15:30.1234567890Z"),
    *("2026-03-01T10:15:30+24:00", "2026-03-01T10:15:30+23:59", "2026-03-01T10:15:30-23:59", "1772360000"),
    *("2026-03-01T10:15:30Z\n", "٢٠٢٦-03-01T10:15:30Z", "2026-W10-7T10:15:30Z", "+2026-03-01T10:15:30Z", ""),
    *("2026-03-01T10:15:30-00:00", "2026-03-01T10:15:30.000000001Z", "2026-03-01T10:15:30[Europe/Paris]"),
)


def clock(draw: Random) -> str:
    """A time in some zone with some digits; few enough of them that versions of one row meet in time."""
    zone = draw.choice(("Z", "+00:00", "-00:00", "+01:00", "-05:00", "+05:30", "+14:00", "-12:00", "+23:59"))
    digits = draw.choice(("", "", ".5", ".500", ".123456", ".1234567", ".999999999", ".000001"))
    day = draw.randint(1, 28) if draw.random() < 0.1 else 1
    return (
        f"2026-0{draw.randint(3, 4)}-{day:02}T{draw.randint(10, 12)}:00:0{draw.randint(0, 3)}{digits}{zone}"
    )


def _value(draw: Random, name: str) -> Any:
    """A value for a field: at the edge of what its type allows, on either side."""
    if draw.random() < 0.1:
        return Raw(draw.choice(_COMMON))
    if name in _LISTED:
        return draw.choice(_LISTED[name])
    if name == "timestamp":
        return clock(draw) if draw.random() < 0.4 else draw.choice(_CLOCKS)
    if name == "event_id":
        return draw.choice(_IDS)
    if name in _WIDTHS:
        return Raw(draw.choice(_RAW_STRINGS)) if draw.random() < 0.2 else _long(draw, _WIDTHS[name])
    if name in ("unit_price", "discount", "total_price", "bottle_size_liters"):
        return Raw(draw.choice(_NUMBERS))
    if name in ("event_metadata", "event_content"):
        return Raw(draw.choice((*_COMMON, "0", '"x"')))
    return Raw(draw.choice(_INTEGERS))


def _long(draw: Random, width: int) -> str:
    """A string around its column's width, in characters or in bytes, or a strange one."""
    if draw.random() < 0.4:
        return draw.choice(_STRINGS)
    letter = draw.choice(_LETTERS)
    length = width + draw.choice((-1, 0, 0, 1))
    if draw.random() < 0.3:  # as many bytes
        return letter * (length // len(letter.encode()))
    return (letter * length)[:length]


def any_json(draw: Random, depth: int = 0) -> Any:
    """What a field that nobody named may hold."""
    kind = draw.random()
    if kind < 0.3 and depth < 5:
        names = (
            "",
            "a.b",
            "$",
            "$.x[0]",
            "'",
            '"',
            "\\",
            "é",
            "🍷",
            "\u0000",
            "event_type",
            "x" * 300,
            "KEY",
            "key",
        )
        return {draw.choice(names): any_json(draw, depth + 1) for _ in range(draw.randint(0, 4))}
    if kind < 0.45 and depth < 5:
        return [any_json(draw, depth + 1) for _ in range(draw.randint(0, 4))]
    if kind < 0.6:
        return Raw(draw.choice(_NUMBERS))
    if kind < 0.75:
        return Raw(draw.choice(_INTEGERS[:13]))
    if kind < 0.8:
        return Raw(draw.choice(_COMMON[:6]))
    if kind < 0.81:
        return draw.choice(_LETTERS) * draw.choice((1_000, 50_000))
    return draw.choice(_STRINGS) if draw.random() < 0.7 else _long(draw, draw.choice((16, 255, 256)))


def _somewhere(draw: Random, event: Event) -> Event:
    """The event or one of its parts."""
    parts = [event, *(part for part in event.values() if isinstance(part, dict))]
    return draw.choice(parts)


def change_field(draw: Random, event: Event) -> None:
    """Another value for one of its fields."""
    part = _somewhere(draw, event)
    if part:
        name = draw.choice(list(part))
        part[name] = _value(draw, name)


def remove_field(draw: Random, event: Event) -> None:
    """One field less."""
    part = _somewhere(draw, event)
    if part:
        del part[draw.choice(list(part))]


def add_field(draw: Random, event: Event) -> None:
    """A field that nobody named."""
    names = ("note", "", "a.b", "$extra", "Event_Type", "event_type ", "é\u0000", '"', "x" * 2_000, "0")
    _somewhere(draw, event)[draw.choice(names)] = any_json(draw)


def repeat_field(draw: Random, event: Event) -> None:
    """A key that stands twice, plainly, escaped, or deep in a field that nobody named."""
    part = _somewhere(draw, event)
    name = draw.choice([*part, "x"])
    again = (
        Raw(json.dumps(name))
        if draw.random() < 0.5 or not name
        else Raw(f'"\\u{ord(name[0]):04x}{name[1:]}"')
    )
    if draw.random() < 0.3:
        part["x"] = Raw('{"a":{"b":1,"b":1}}')
    else:
        part[again] = Raw(draw.choice(("1", "null", '"ORDER_CREATED"')))


def nest(draw: Random, event: Event) -> None:
    """A field around as deep as is allowed, or far deeper."""
    depth = (
        draw.choice((60, 61, 62, 63, 64, 65, 66)) if draw.random() < 0.95 else draw.choice((1_000, 20_000))
    )
    opening, closing = draw.choice((("[", "]"), ('{"a":', "}"), ('[{"b":', "}]")))
    half = depth // 2 if len(opening) == 6 else depth
    _somewhere(draw, event)["deep"] = Raw(opening * half + "1" + closing * half)


def renumber(draw: Random, event: Event) -> None:
    """A key that others have too, at a time near theirs."""
    content = event.get("event_content")
    if isinstance(content, dict):
        content["timestamp"] = clock(draw)
        for name in ("order_line_id", "adjustment_id"):
            if name in content:
                content[name] = draw.randint(1, 400)
        if "warehouse" in content:
            content["warehouse"] = draw.choice(("Lyon", "lyon", "Lyon ", "Nîmes", "Ni\u0302mes"))
            content["product_id"] = draw.randint(1, 40)


FIELDS: tuple[Callable[[Random, Event], None], ...] = (
    *(change_field, change_field, change_field, change_field, add_field, add_field, add_field),
    *(remove_field, repeat_field, nest, renumber, renumber, renumber),
)


# --- bytes

_NOISE = (
    *(
        b"\x00",
        b"\xff",
        b"\xc3",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xe2\x80\xa8",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\n",
        b"\t",
        b" ",
        b",",
        b":",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b"//",
        b"/**/",
        b"NaN",
    ),
    *(b"1e400", b"-", b"0", b".", b"e", b"\\u0000", b"\\ud800", b"null", b"\x85", b"\xa0", b"\x0b", b"\x0c"),
)


def _flip(draw: Random, value: bytes) -> bytes:
    spoilt = bytearray(value)
    for _ in range(draw.choice((1, 1, 2, 5))):
        if spoilt:
            spoilt[draw.randrange(len(spoilt))] ^= 1 << draw.randrange(8)
    return bytes(spoilt)


def _insert(draw: Random, value: bytes) -> bytes:
    place = draw.choice((0, len(value), draw.randint(0, len(value))))
    return value[:place] + draw.choice(_NOISE) + value[place:]


def _overwrite(draw: Random, value: bytes) -> bytes:
    place, noise = draw.randint(0, len(value)), draw.choice(_NOISE)
    return value[:place] + noise + value[place + len(noise) :]


def _cut(draw: Random, value: bytes) -> bytes:
    start = draw.randint(0, len(value))
    return value[:start] if draw.random() < 0.5 else value[:start] + value[start + draw.randint(1, 30) :]


def _double(draw: Random, value: bytes) -> bytes:
    start = draw.randint(0, len(value))
    return value[:start] + value[start : start + draw.randint(1, 60)] + value[start:]


def _recode(draw: Random, value: bytes) -> bytes:
    text = value.decode("utf-8", "replace")
    encoding = draw.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "cp1252", "utf-7"))
    return text.encode(encoding, "replace")


def _wrap(draw: Random, value: bytes) -> bytes:
    before, after = draw.choice(
        ((b"[", b"]"), (b" ", b"\n"), (b"", value), (b"\x1e", b"\n"), (b"", b";"), (b'"', b'"'))
    )
    return before + value + after


BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(_flip, _flip, _insert, _insert, _overwrite, _cut, _double, _recode, _wrap),
)
