"""What to do next, from a study's own data: plain sentences with the flag to change."""

from sb3_hpo.advice.evidence import Advice
from sb3_hpo.advice.rules import advise

__all__ = ["Advice", "advise"]
