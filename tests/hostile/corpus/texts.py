"""Hostile YAML and JSON files, and damaged Parquet files."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

from tests.conftest import ROOT
from tests.hostile.corpus.writing import Build, anywhere, written


def _bomb(levels: int, width: int = 9) -> str:
    """Return a small YAML file of aliases of aliases, which stand for `width ** levels` texts."""
    lines = [f"a0: &a0 [{', '.join(['lol'] * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def _with(line: str) -> Build:
    """Return a builder of a copy of the repository's file of the same name, with one line more."""

    def build(path: Path) -> None:
        path.write_bytes(_sound(path) + line.encode())

    return build


def _instead(old: str, new: str) -> Build:
    """Return a builder of a copy of the repository's file of the same name, with the first `old`, if any, replaced."""

    def build(path: Path) -> None:
        path.write_bytes(_sound(path).replace(old.encode(), new.encode("utf-8", "surrogatepass"), 1))

    return build


def _sound(path: Path) -> bytes:
    known = ROOT / path.name
    return (known if known.exists() else ROOT / "data" / "sources" / path.name).read_bytes()


_VALUES = {
    "nothing": "null",
    "text": "x",
    "list": "[]",
    "mapping": "{}",
    "truth": "true",
    "nan": ".nan",
    "infinity": "-.inf",
    "huge-integer": "9" * 5000,
    "huge-hexadecimal": "0x" + "f" * 5000,
    "beyond-64-bits": "1" + "0" * 30,
    "beyond-floats": "1" + "0" * 400,
    "huge-float": "1e999999",
    "date": "2001-13-45",
    "whole-float": "1.0",
    "nul": '"a\\0b"',
    "surrogate": '"\\ud800"',
    "escape": '"\\e[2J"',
    "bomb": "[&x [lol, lol, lol, lol, lol, lol, lol, lol, lol], " + "&y [*x, *x, *x, *x, *x, *x, *x, *x, *x]]",
    "itself": "&x [*x]",
    "itself-as-mapping": "&x {a: *x}",
    "tag-of-python": "!!python/object/apply:os.system [touch pwned]",
    "tag-int": "!!int abc",
    "tag-int-empty": '!!int ""',
    "tag-float": "!!float abc",
    "tag-bool": "!!bool abc",
    "tag-null": "!!null abc",
    "tag-date": "!!timestamp abc",
    "tag-binary": '!!binary "===="',
    "tag-set": "!!set {a, b}",
    "tag-ordered": "!!omap [a, b]",
    "tag-own": "!own {a: b}",
    "path-outside": "../../../etc",
}

YAML: dict[str, Build] = {
    **anywhere(),
    "sound": _with(""),
    "nothing": written(b"# nothing\n"),
    "scalar": written(b"just a text\n"),
    "list": written(b"- a\n- b\n"),
    "two-documents": _with("---\na: b\n"),
    "tab": written(b"a:\n\tb: c\n"),
    "utf-16": written("a: b\n".encode("utf-16")),
    "latin-1": written("ä: ö\n".encode("latin-1")),
    "byte-order-mark": _instead("", "\ufeff"),
    "nul": written(b"a: \0\n"),
    "control": written(b"a: \x1b[2J\n"),
    "bomb": _with(_bomb(9)),
    "bomb-alone": written(_bomb(9).encode()),
    "bomb-of-mappings": _with(
        "".join(f"m{n}: &m{n} {{a: *m{n - 1}, b: *m{n - 1}}}\n" if n else "m0: &m0 {a: b}\n" for n in range(40))
    ),
    "merge-bomb": _with(
        "".join(
            f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 1}}\n" if n else "m0: &m0 {a: b}\n" for n in range(25)
        )
    ),
    "deep-mappings": written(b"{a: " * 5000 + b"}" * 5000),
    "deep-blocks": written("".join(f"{' ' * n}a:\n" for n in range(1200)).encode()),
    "deep-dashes": written(b"- " * 5000 + b"a\n"),
    "nested-within-reason": _with("reference: " + "[" * 60 + "]" * 60 + "\n"),
    "key-of-kilobytes": _with("a" * 100_000 + ": 1\n"),
    "key-a-list": _with("? [a, b]\n: 1\n"),
    "key-a-mapping": _with("? {a: b}\n: 1\n"),
    "key-a-number": _with("1: 2\n"),
    "key-nothing": _with("~: 2\n"),
    "key-twice": _with("seeds: [1]\nseeds: [1]\n"),
    "key-surrogate": _with('"\\ud800": 1\n'),
    "alias-of-nothing": _with("a: *nowhere\n"),
    "conflict": _with("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> x\n"),
    "directive": written(b"%YAML 9.9\n---\na: b\n"),
    "directive-1.7": written(b"%YAML 1.7\n---\na: b\n"),
    "directive-1.1": written(b"%YAML 1.1\n---\na: 1:30\nb: 0o7\n"),
    "quote-left-open": written(b'a: "b\n' * 2000),
    "megabytes": written(lambda: b"a: 1\n" * 300_000),
    **{f"value-{name}": _with(f"more: {value}\n") for name, value in _VALUES.items()},
    **{
        f"override-{name}": _instead("override:\n", f"override:\n  seeds: {value}\n") for name, value in _VALUES.items()
    },
    **{f"seeds-{name}": _instead("\nseeds: [0]", f"\nseeds: {value}") for name, value in _VALUES.items()},
    **{f"classes-{name}": _instead("classes: [", f"classes: [{value}, ") for name, value in _VALUES.items()},
    **{f"channels-{name}": _instead("channels: 3", f"channels: {value}") for name, value in _VALUES.items()},
    **{f"width-{name}": _instead("width: 64", f"width: {value}") for name, value in _VALUES.items()},
    **{
        f"path-{name}": _instead("path: data/sources/blood_sample.yaml", f"path: {value}")
        for name, value in _VALUES.items()
    },
    **{
        f"ignore-{name}": _instead("{source: sample,", f"{{source: sample, ignore: {value},")
        for name, value in _VALUES.items()
    },
    **{
        f"mask-value-{name}": _instead("{source: sample,", f"{{source: sample, mask_values: {{soil: {value}}},")
        for name, value in _VALUES.items()
    },
    # of the recipes of the samples
    **{f"recipe-seed-{name}": _instead("\nseed: ", f"\nseed: {value} # ") for name, value in _VALUES.items()},
    **{f"cells-{name}": _instead("monocyte: 51", f"monocyte: {value}") for name, value in _VALUES.items()},
    **{f"views-{name}": _instead("views: ", f"views: {value} # ") for name, value in _VALUES.items()},
    **{f"soil-{name}": _instead("soil: 8", f"soil: {value}") for name, value in _VALUES.items()},
    **{f"planted-{name}": _instead("planted: ", f"planted: {value} # ") for name, value in _VALUES.items()},
    **{f"copies-{name}": _instead("_duplicate: ", f"_duplicate: {value} # ") for name, value in _VALUES.items()},
    # of the index of MedMNIST's files
    **{f"url-{name}": _instead("url: ", f"url: {value} # ") for name, value in _VALUES.items()},
    **{f"md5-{name}": _instead("md5: ", f"md5: {value} # ") for name, value in _VALUES.items()},
    **{f"size-{name}": _instead("64: ", f"{value}: ") for name, value in _VALUES.items()},
    "override-of-a-list": _instead("override:\n", "override:\n  seeds.0: 1\n"),
    "override-of-a-text": _instead("override:\n", "override:\n  variants.mars-unet_1.title.U: 1\n"),
    "override-of-nothing": _instead("override:\n", "override:\n  variants.mars-unet_1.title.U.x: 1\n"),
    "override-without-name": _instead("override:\n", 'override:\n  "": 1\n'),
    "override-of-dots": _instead("override:\n", "override:\n  reference...: 1\n"),
    "override-with-a-number": _instead("override:\n", "override:\n  1: 1\n"),
    "task-outside": _instead("\nsources:\n", "\nsources:\n  ../../x: {source: sample, path: x}\n"),
    "task-without-name": _instead("\nsources:\n", '\nsources:\n  "": {source: sample, path: x}\n'),
}


def _deep_json() -> bytes:
    return b'{"a":' * 100_000


def _table(values: dict[str, list[Any]]) -> bytes:
    stream = io.BytesIO()
    pd.DataFrame(values).to_parquet(stream, index=False)
    return stream.getvalue()


JSON: dict[str, Build] = {
    **anywhere(),
    "sound": written(b'{"a": [1, 2.5, null, "b"]}'),
    "sound-request": written(json.dumps({"inputs": [[[[0, 7, 255], [1.5, 20, 3e1]]]]}).encode()),
    "deep": written(_deep_json),
    "deep-lists": written(b"[" * 100_000),
    "huge-integer": written(b'{"a": ' + b"9" * 5000 + b"}"),
    "nan": written(b'{"a": NaN, "b": Infinity, "c": 1e999}'),
    "surrogate": written(json.dumps({"\ud800": "\udfff"}).encode()),
    "surrogate-bytes": written(b'{"\xed\xa0\x80": 1}'),
    "byte-order-mark": written(b'\xef\xbb\xbf{"a": 1}'),
    "utf-16": written('{"a": 1}'.encode("utf-16")),
    "twice": written(b'{"a": 1, "a": 2}'),
    "cut": written(b'{"a": [1, 2'),
    "more": written(b'{"a": 1} {"b": 2}'),
    "nul": written(b'{"a": "\\u0000"}\0'),
    "conflict": written(b'<<<<<<< HEAD\n{"a": 1}\n=======\n{"a": 2}\n>>>>>>> x\n'),
    "scalar": written(b"7"),
}

TABLES: dict[str, Build] = {
    **anywhere(),
    "sound": written(lambda: _table({"id": [1, 2]})),
    "cut": written(lambda: _table({"id": [1, 2]})[:-20]),
    "cut-before": written(lambda: _table({"id": [1, 2]})[20:]),
    "magic-alone": written(b"PAR1" * 3),
    "footer-absurd": written(b"PAR1" + bytes(8) + b"\xff\xff\xff\x7fPAR1"),
    "footer-nonsense": written(b"PAR1" + b"\x15" * 99 + b"\x63\x00\x00\x00PAR1"),
    "page-nonsense": written(lambda: (content := _table({"id": list(range(99))}))[:8] + b"\xff" * 60 + content[68:]),
    "schema-nonsense": written(lambda: (content := _table({"id": [1]}))[:-60] + b"\x19" * 30 + content[-30:]),
}

SLOW: dict[str, Build] = {
    "deep-lists": written(b"a: " + b"[" * 20_000),
    "deep-lists-closed": written(b"a: " + b"[" * 5000 + b"]" * 5000),
    "bomb-wide": written(lambda: _bomb(30, 400).encode()),
    "as-large-as-is-read": written(lambda: b"".join(b"k%d: [1, 2, 3]\n" % n for n in range(13_000))),
    "as-long-as-is-read": written(lambda: b"a: " + b"x" * 250_000),
    "comments": written(lambda: b"# x\n" * 60_000),
    "openings": written(lambda: b"{" * 250_000),
    "dashes": written(lambda: b"- " * 125_000),
    "questions": written(lambda: b"? " * 125_000),
    "anchors": written(lambda: b"- &a x\n" * 35_000),
    "quotes": written(lambda: b"- 'x'\n" * 42_000),
}

SLOW_JSON: dict[str, Build] = {"long": written(lambda: json.dumps(list(range(1_000_000))).encode())}
