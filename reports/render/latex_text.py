"""Text that any LaTeX sets: what comes out is ASCII, whatever stood in a label.

Accents become commands and the field's signs become math. A letter that a plain LaTeX has no command for is written as
its code point, ``[U+4E2D]``: a name that looks odd is better than a document that does not compile. ``unset`` names
those, so that a file can say at its head what they are.
"""

from __future__ import annotations

import re
import unicodedata

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_\allowbreak{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "\u00a0": "~",
    "\u2011": "-",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "≡": r"$\equiv$",
    "⊥": r"$\bot$",
    "⊤": r"$\top$",
    "†": r"$\dagger$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "✓": r"$\surd$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
    "°": r"$^{\circ}$",
    "²": "$^{2}$",
    "³": "$^{3}$",
    "µ": r"$\mu$",
    "§": r"\S{}",
    "©": r"\copyright{}",
    "£": r"\pounds{}",
    "…": r"\ldots{}",
    "‘": r"\textquoteleft{}",
    "’": "'",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_ACCENTS = {
    "\u0300": r"\`",
    "\u0301": r"\'",
    "\u0302": r"\^",
    "\u0303": r"\~",
    "\u0304": r"\=",
    "\u0306": r"\u",
    "\u0307": r"\.",
    "\u0308": r"\"",
    "\u030a": r"\r",
    "\u030b": r"\H",
    "\u030c": r"\v",
}
_BELOW = {"\u0323": r"\d", "\u0327": r"\c", "\u0331": r"\b"}  # around what stands above, never within it
_CLUSTER = re.compile(r".[\u0300-\u036f]*", re.DOTALL)  # a letter with the marks that no letter has built in
_GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi",
    "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
)  # fmt: skip
LONGEST_WORD = 12  # characters that stay together in a narrow cell
_PIECE = 6  # characters between the places where a longer word may break


def latex_text(text: str) -> str:
    """Escape text for LaTeX; signs the field uses become math, control characters vanish.

    The end of a row and a rule take a ``[`` or ``*`` that follows for an argument of theirs: nothing in braces parts
    them. Nor may two hyphens become a dash.
    """
    clean = re.sub(r"[\x00-\x1f\x7f]", " ", unicodedata.normalize("NFC", text))
    apart = "{}" if clean.lstrip().startswith(("[", "*")) else ""
    return apart + _escaped(clean)


def breakable(text: str) -> str:
    """Escape text for a narrow cell: a long word may break, so that no label is wider than its column."""
    words = []
    for word in text.split(" "):
        pieces = [word]
        if len(word) > LONGEST_WORD:
            letters = _CLUSTER.findall(unicodedata.normalize("NFC", word))
            pieces = ["".join(letters[start : start + _PIECE]) for start in range(0, len(letters), _PIECE)]
        words.append(r"\allowbreak{}".join(latex_text(piece) for piece in pieces))
    return " ".join(words)


def lines_of(text: str, width: int) -> int:
    """Count the lines that a text takes in a cell, roughly and never too few.

    Args:
        text: As it stands in a label.
        width: Of the cell, characters.
    """
    clean = " ".join(text.split())
    length = len(clean) + 7 * latex_text(clean).count("U+")  # a code point takes the room of eight letters
    return 1 if length <= width else -(-5 * length // (4 * width))


def unset(text: str) -> list[str]:
    """Name the characters of a LaTeX file that stand there as code points: ``U+4E2D CJK UNIFIED IDEOGRAPH-4E2D``.

    Args:
        text: As this module wrote it.
    """
    points = dict.fromkeys(re.findall(r"\{\[\}U\+([0-9A-F]{4,6})\]", text))
    return [f"U+{point} {unicodedata.name(chr(int(point, 16)), 'without a name')}" for point in sorted(points)]


def _escaped(clean: str) -> str:
    """Escape letter by letter; empty braces keep neighbouring hyphens two."""
    written, before = [], ""
    for cluster in _CLUSTER.findall(clean):
        written.append("{}" if cluster[0] == "-" and before == "-" else "")
        written.append(_letter(cluster))
        before = cluster
    return "".join(written)


def _letter(cluster: str) -> str:
    """Write a letter with its marks in ASCII."""
    parted = unicodedata.normalize("NFD", cluster)
    letter, marks = parted[0], list(parted[1:])
    if marks and letter.isascii() and letter.isalpha() and all(mark in _ACCENTS or mark in _BELOW for mark in marks):
        written = letter
        for mark in sorted(marks, key=lambda mark: mark in _BELOW):
            written = rf"{_ACCENTS.get(mark) or _BELOW[mark]}{{{written}}}"
        return written
    return _sign(cluster[0]) + "".join(map(_point, cluster[1:]))


def _sign(character: str) -> str:
    """Write one character in ASCII."""
    if (known := _SIGNS.get(character)) is not None:
        return known
    if character.isascii():
        return character
    if unicodedata.category(character) in ("Cc", "Cf"):
        return ""
    return _greek(character) or _point(character)


def _point(character: str) -> str:
    return rf"\allowbreak{{}}{{[}}U+{ord(character):04X}]\allowbreak{{}}"


def _greek(character: str) -> str:
    """Write a Greek letter as math; nothing for another character."""
    size, _, name = unicodedata.name(character, "").removeprefix("GREEK ").partition(" LETTER ")
    # Unicode writes LAMDA.
    name = {"SMALL": name.lower(), "CAPITAL": name.capitalize()}.get(size, "").replace("amda", "ambda")
    return rf"$\{name}$" if name in _GREEK else ""
