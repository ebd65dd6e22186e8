"""What Stable-Baselines3 offers: its algorithms, what they take, and that as plain values.

- `registry`: the algorithms by name
- `constructor`: what an algorithm's constructor takes, and SB3's defaults
- `kwargs`: keyword arguments as plain values, and back
- `callbacks`: the user's SB3 callbacks as plain values
- `trust`: which objects files and studies may name
"""

__all__ = ["callbacks", "constructor", "kwargs", "registry", "trust"]
