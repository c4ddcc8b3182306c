"""Hostile CSV files."""

import functools

from tests.hostile.corpus.writing import Build, anywhere, written

_HEAD = "file,label,split,site\n"
_ROWS = "a.png,a,train,1\nb.png,b,test,2\nc.png,c,val,3\n"


def _wide(count: int) -> bytes:
    """A row of as many classes, of which the last is the picture's."""
    return (",".join(["file", *map(hex, range(count))]) + "\na.png," + "0," * (count - 1) + "1\n").encode()


def _long(count: int) -> bytes:
    return (_HEAD + "".join(f"{number:x}.png,a,train,{number}\n" for number in range(count))).encode()


CASES: dict[str, Build] = {
    **anywhere(),
    "sound": written((_HEAD + _ROWS).encode()),
    "byte-order-mark": written(b"\xef\xbb\xbf" + (_HEAD + _ROWS).encode()),
    "utf-16": written((_HEAD + _ROWS).encode("utf-16")),
    "latin-1": written((_HEAD + "ä.png,a,train,1\n").encode("latin-1")),
    "surrogates": written(_HEAD.encode() + b"\xed\xa0\x80.png,a,train,1\n"),
    "nul": written((_HEAD + "a\0.png,a\0,train,1\n" + _ROWS).encode()),
    "nul-in-head": written(("\0" + _HEAD + _ROWS).encode()),
    "semicolons": written((_HEAD + _ROWS).replace(",", ";").encode()),
    "tabs": written((_HEAD + _ROWS).replace(",", "\t").encode()),
    "carriage-returns": written((_HEAD + _ROWS).replace("\n", "\r").encode()),
    "windows-lines": written((_HEAD + _ROWS).replace("\n", "\r\n").encode()),
    "no-head": written(_ROWS.encode()),
    "head-alone": written(_HEAD.encode()),
    "head-twice": written(("file,file,label,label,split,site\n" + _ROWS).encode()),
    "head-of-blanks": written((" , ,,\n" + _ROWS).encode()),
    "quote-left-open": written((_HEAD + '"a.png,a,train,1\n' + _ROWS).encode()),
    "quotes-within": written((_HEAD + 'a"b".png,"a""",train,1\n').encode()),
    "quoted-line-breaks": written((_HEAD + '"a\n\n.png","a\n",train,1\n').encode()),
    "too-few-cells": written((_HEAD + "a.png\n,,\n").encode()),
    "too-many-cells": written((_HEAD + "a.png,a,train,1,,,,x,y\n").encode()),
    "ragged": written((_HEAD + "a.png,a,train,1\n\n\n   \nb.png\n").encode()),
    "cell-of-megabytes": written(lambda: (_HEAD + "a.png," + "a" * 2_000_000 + ",train,1\n").encode()),
    "line-of-commas": written(lambda: (_HEAD + "," * 100_000).encode()),
    "formula": written((_HEAD + "=cmd|' /C calc'!A0,a,train,1\n").encode()),
    "outside": written((_HEAD + "../../../etc/passwd,a,train,1\n/etc/passwd,b,test,2\n").encode()),
    "escapes": written((_HEAD + "\x1b[2J\x07.png,\x1b[31ma,train,1\n").encode()),
    "name-of-kilobytes": written((_HEAD + "a" * 5000 + ".png,a,train,1\n").encode()),
    "contradiction": written((_HEAD + _ROWS + "a.png,b,test,1\n").encode()),
    "accents-two-ways": written((_HEAD + "e\u0301.png,a,train,1\n\u00e9.png,b,test,1\n").encode()),
    "conflict": written((_HEAD + "<<<<<<< HEAD\n" + _ROWS + "=======\n>>>>>>> x\n").encode()),
    "classes-as-columns": written(b"file,a,b,site\na.png,1,0,1\nb.png,0,1,1\nc.png,0,1,2\n"),
    "classes-as-columns-of-none": written(b"file,a,b\na.png,0,0\n"),
    "huge-number": written((_HEAD + "9" * 5000 + "," + "9" * 5000 + ",1e999,nan\n").encode()),
}

SLOW: dict[str, Build] = {
    "in-hundreds-of-thousands": written(functools.partial(_long, 300_000)),
    "classes-in-tens-of-thousands": written(functools.partial(_wide, 18_000)),
}
