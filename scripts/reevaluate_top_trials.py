"""Train a study's best trials again from fresh seeds, and say what they are really worth.

    python scripts/reevaluate_top_trials.py --storage runs/.../study.journal --top 5 --seeds 10

The same as `python -m sb3_hpo.reevaluate`; for a study of another tool, say how it was trained:
`--storage sqlite:///zoo.db --study-name mine --algo ppo --env Pendulum-v1 --space my.py:sample`.
"""

from __future__ import annotations

import sys

from sb3_hpo.reevaluate import main

if __name__ == "__main__":
    sys.exit(main())
