"""Hostile values: a corpus written by hand, and thousands of values composed from its parts.

Each value is bytes, not empty, without NUL. If any interpreter ever evaluated one of the dangerous
values, it would create the file ``pwned``.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

CANARY = "pwned"
SEED = 20261124

EXECUTED = (
    b"$(touch pwned)",
    b"`touch pwned`",
    b"; touch pwned; ",
    b"| touch pwned",
    b"&& touch pwned",
    b"\ntouch pwned\n",
    b"' ; touch pwned ; '",
    b'" ; touch pwned ; "',
    b"'$(touch pwned)'",
    b'"`touch pwned`"',
    b"${x:-$(touch pwned)}",
    b"a[$(touch pwned)]",
    b"$((a[$(touch pwned)]))",
    b"<(touch pwned)",
    b">pwned",
    b">>pwned",
    b"$'\\n'touch pwned",
    b"() { :; }; touch pwned",
    b"} ; touch pwned ; {",
    b") ; touch pwned ; (",
    b"exec touch pwned",
    b"eval touch pwned",
    b"-exec touch pwned ;",
    b"--checkpoint-action=exec=touch pwned",
    b"{{ cycler.__init__.__globals__.os.system('touch pwned') }}",
    b"{{ self.__init__.__globals__.__builtins__.open('pwned', 'w') }}",
    b"{% import os %}{{ os.system('touch pwned') }}",
    b"{% set x = namespace.__init__.__globals__ %}",
    b"__import__('os').system('touch pwned')",
    b"');__import__('os').system('touch pwned')#",
    b"%(__import__('os').system('touch pwned'))s",
    b"=cmd|' /C touch pwned'!A1",
    b"+cmd|' /C touch pwned'!A1",
    b"@SUM(1+1)*cmd|' /C touch pwned'!A1",
    b'{system("touch pwned")}',
    b'BEGIN{system("touch pwned")}',
    b"1e touch pwned",
    b"s/.*/touch pwned/e",
    b"#SBATCH --wrap='touch pwned'",
    b"\n#SBATCH --output=pwned\n",
    b"#!/bin/sh\ntouch pwned",
    b"\nEOF\ntouch pwned\n",
    b"!touch pwned",
    b"\\$(touch pwned)",
    b"\\`touch pwned\\`",
)
"""Code for a shell, Jinja, Python, a spreadsheet, awk and sed, which must never run."""

ODD = (
    # shells: quotes, globs, expansions, options, history, comments
    b"'", b'"', b"`", b"\\", b"''", b'""', b"'\"'\"'", b"\\'", b'\\"', b"$", b"$$", b"$SLICE",
    b"${SLICE}", b"${PATH}", b"$HOME", b"$*", b"$@", b"$1", b"$?", b"$!", b"!", b"!!", b"!$",
    b"*", b"?", b"[a-z]", b"**", b"~", b"~root", b"~/x", b"{}", b"{a}", b"{name}", b"{{}}",
    b"{1..3}", b"{a,b}", b"#", b"# x", b"a#b", b"-", b"--", b"-rf", b"-n", b"--help",
    b"--version", b"--array=0-9", b"-e\\n", b"+x", b"%", b"%%", b"%s", b"%n", b"%b", b"%A", b"%a",
    b"%j", b"%A_%a", b"%4a", b"^", b"^a^b", b"=", b"a=b", b"X=1", b"time", b"if", b"then", b"[[",
    b"exit", b";exit 3", b"&", b"|", b";", b";;", b"<", b">", b"(", b")", b"<<EOF", b"<<<x",
    b"a b", b" a", b"a ", b" ", b"  ", b"\t", b"\ta\t", b"a\tb", b"\v", b"\f",
    # lines and escapes
    b"\n", b"\r", b"\r\n", b"a\n", b"a\n\n", b"\na", b"two\nlines", b"a\rb", b"\\n", b"\\0", b"\\t",
    b"\\x41", b"\\0101", b"\\c", b"\\u0041", b"\\", b"\\\\", b"a\\", b"$'\\x41'", b"%b\\n",
    # terminals
    b"\x1b[31mred\x1b[0m", b"\x1b]0;title\x07", b"\x1b]52;c;cHduZWQ=\x07", b"\x1b[2J", b"\x1b[1A",
    b"\x1bPq\x1b\\", b"\x1bc", b"\x07", b"\x08", b"a\x08b", b"\x7f", b"\x01", b"\x0e", b"\x9b31m",
    "\x9b31m".encode(), "\x85".encode(), "\u2028".encode(), "\u2029".encode(),
    # Unicode: right to left, zero width, combining, wide, outside the BMP, look-alikes
    "\u202egpj.exe".encode(), "\u2066a\u2069".encode(), "a\u200bb".encode(), "\ufeff".encode(),
    "\u00ad".encode(), "e\u0301".encode(), "é".encode(), "日本語".encode(), "😀".encode(),
    "\U000e0041".encode(), "\uffff".encode(), "\u0660".encode(), "ﬀ".encode(), "ı".encode(),
    "\u212a".encode(), "ß".encode(), "a\u00a0b".encode(), "\u3000".encode(),
    # invalid UTF-8: stray bytes, cut, overlong, surrogates, out of range
    b"\xff", b"\xfe\xff", b"\x80", b"a\xc3", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xc0\x80",
    b"\xed\xa0\x80", b"\xed\xb3\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"x\xffy",
    # paths and names
    b"../../x", b"../../../../../../etc/passwd", b"/etc/passwd", b"/", b"//", b".", b"..", b"...",
    b"./x", b"x/", b"x/../y", b".hidden", b"row-1", b"ROW-1", b"Row-2", b"row-3.log", b"a.log",
    b"A.log", b"con", b"NUL", b"COM1", b"LPT1.txt", b"a:b", b"C:\\x", b"x.", b"x ", b"readme",
    b"README", b"ReadMe", b"STRASSE", "straße".encode(), b"job", b"tasks.tsv", b"0/1", b"a" * 255,
    b"a" * 300, b"b" * 4096, "é".encode() * 2048, b"../" * 1000,
    # tables, settings, Slurm, ours
    b",", b"a,b", b'a"b', b'"a"', b'"a', b'a""b', b"1|2|3", b"419_7|COMPLETED|0:0", b"|", b"||",
    b"[table]", b"[[x]]", b"a = 1", b'"""', b"'''", b"\\u0000", b"1e5", b"0x10", b"007", b"1_000",
    b"true", b"null", b"None", b"nan", b"1979-05-27", b"{{ 7*7 }}", b"{{7*7}}", b"{% raw %}",
    b"{# x #}", b"${7*7}", b"#{7*7}", b"<%= 7*7 %>", b"{0.__class__}", b"%(x)s", b"%d" * 20,
    b"#SBATCH --array=0-99999", b"#SBATCH", b"#PBS -N x", b"0-9", b"1,3", b"0-9%2", b"419_[0-3]",
    b"slurmslice end job=1 restart=0 at=1 host=x slot=0 exit=0",
    b"\nslurmslice end job=1 restart=0 at=1 host=x slot=0 exit=0\n", b"COMPLETED", b"fenced by",
    b'{"event": "intent"}', b"<script>alert(1)</script>", b"&lt;", b"' OR 1=1 --", b"/*/../*/",
)  # fmt: skip
"""Texts that have broken programs."""

CORPUS = tuple(dict.fromkeys((*EXECUTED, *ODD)))
"""The corpus by hand, each value once."""

_PLACEHOLDER = re.compile(rb"\{[A-Za-z_][A-Za-z0-9_]*\}|\{\}")


def values(number: int) -> list[bytes]:
    """Return the corpus and more values up to this number: all different, the same in every run."""
    chance = random.Random(SEED)
    found = dict.fromkeys(CORPUS)
    while len(found) < number:
        parts = (_part(chance) for _ in range(chance.randint(1, 5)))
        value = b"".join(parts).replace(b"\0", b"")
        if value:
            found[value] = None
    print(f"{len(found)} hostile values, seed {SEED}")
    return list(found)


def _part(chance: random.Random) -> bytes:
    match chance.randrange(4):
        case 0:
            return chance.choice(EXECUTED)
        case 1:
            return chance.choice(ODD)[:40]
        case 2:
            return bytes(chance.randrange(256) for _ in range(chance.randint(1, 8)))
        case _:
            points = (chance.choice((0x80, 0x800, 0xD800)) for _ in range(chance.randint(1, 6)))
            return "".join(chr(chance.randrange(most)) for most in points).encode()


def is_text(value: bytes) -> bool:
    """Return whether it is UTF-8, as a settings file must be."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_literal(value: bytes) -> bool:
    """Return whether it stays unchanged as a word of the command: it names no column."""
    return _PLACEHOLDER.search(value) is None


def around(folder: Path) -> set[str]:
    """Return the files in and below a folder by relative path, without those of runs."""
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return {str(path) for path in found if not {"slurmslice-runs", "state"} & {*path.parts}}
