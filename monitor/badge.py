"""Badge: a model's phase as a small SVG, for a README or a wiki."""

from __future__ import annotations

from html import escape

COLORS = {"good": "#1f7a4d", "warn": "#8a5808", "bad": "#b3322b", "busy": "#2b61a8",
          "unknown": "#5a646e"}
"""Tone -> a ground on which white text has a contrast of at least 4.5."""
LONGEST = 40
"""Letters of a name that are shown at most."""
LETTER, AIR = 6.8, 8.0
"""Width of a letter, roughly, and the space beside a text, in pixels."""


def badge(name: str, words: str, tone: str) -> str:
    """``name`` beside ``words`` in the tone's colour; the same arguments give the same text."""
    shown = name if len(name) <= LONGEST else f"{name[:LONGEST - 1]}…"
    left, right = (round(LETTER * len(text) + 2 * AIR) for text in (shown, words))
    label = escape(f"{name}: {words}")
    texts = "".join(
        f'<text x="{start + AIR:g}" y="14" textLength="{width - 2 * AIR:g}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
        for start, width, text in ((0, left, shown), (left, right, words)))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" '
            f'role="img" aria-label="{label}"><title>{label}</title>'
            f'<rect width="{left}" height="20" fill="#3b434b"/>'
            f'<rect x="{left}" width="{right}" height="20" fill="{COLORS[tone]}"/>'
            f'<g fill="#ffffff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
            f"{texts}</g></svg>\n")
