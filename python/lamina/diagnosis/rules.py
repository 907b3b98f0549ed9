"""All rules, from causes to what follows from them. To add one: a function at its place
in one of the three files."""

from __future__ import annotations

from lamina.diagnosis import causes, outcomes, symptoms

__all__ = ["RULES"]

RULES = (*causes.RULES, *symptoms.RULES, *outcomes.RULES)
