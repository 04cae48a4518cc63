r"""LaTeX to plain characters: `\frac{a}{b_{i}}` becomes "(a)/(b_i)", `\alpha \leq 1` becomes "α ≤ 1".

Documentation in docstrings is full of small formulas. A page shows them as text, the way a site without a
mathematics script does; what has no plain form keeps its name without the backslash.
"""

from __future__ import annotations

import re

_SYMBOLS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "vartheta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π",
    "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ",
    "Omega": "Ω", "sum": "∑", "prod": "∏", "int": "∫", "partial": "∂", "nabla": "∇", "infty": "∞", "leq": "≤",
    "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠", "ne": "≠", "approx": "≈", "equiv": "≡", "sim": "~", "times": "×",
    "cdot": "·", "pm": "±", "in": "∈", "notin": "∉", "subset": "⊂", "cup": "∪", "cap": "∩", "forall": "∀",
    "exists": "∃", "to": "→", "rightarrow": "→", "leftarrow": "←", "ldots": "...", "dots": "...", "cdots": "...",
    "vdots": "...", "odot": "⊙", "otimes": "⊗", "oplus": "⊕", "star": "*", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈",
    "rceil": "⌉", "langle": "⟨", "rangle": "⟩", "quad": " ", "qquad": " ",
}  # fmt: skip
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_ROOT = re.compile(r"\\sqrt\s*\{([^{}]*)\}")
_WRAPPER = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}|\\(?![dt]?frac|sqrt)[a-zA-Z]+\*?\s*\{([^{}]*)\}")
_SCRIPT = re.compile(r"([_^])\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_SPACING = re.compile(r"\\(?:left|right|big|Big|bigg|displaystyle|limits|nonumber)\b[.]?|\\[,;:!> ]|&|~")


def plain_math(latex: str) -> str:
    """`latex` without commands and braces, on one line."""
    text = _SPACING.sub(" ", latex.replace("\\\\", " ; ").replace("\\{", "[").replace("\\}", "]"))
    for _ in range(8):  # innermost groups first; deeper nesting than this is left as it is
        changed = _FRACTION.sub(r"(\1)/(\2)", text)
        changed = _ROOT.sub(r"sqrt(\1)", changed)
        changed = _SCRIPT.sub(lambda match: match[1] + (match[2] if len(match[2]) == 1 else f"({match[2]})"), changed)
        changed = _WRAPPER.sub(lambda match: match[1] or "", changed)
        if changed == text:
            break
        text = changed
    text = _COMMAND.sub(lambda match: _SYMBOLS.get(match[1], match[1]), text)
    return " ".join(text.replace("{", "(").replace("}", ")").replace("\\", "").split()).strip(" ;")
