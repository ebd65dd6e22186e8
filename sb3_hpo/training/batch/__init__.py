"""Runs of equal structure, trained together in one process and equal to SB3 run by run.

SB3 does everything it does for one run: environments, buffers, schedules, exploration, callbacks.
Each member of a batch is an SB3 model inside its own `learn`, in a greenlet with random streams of
its own. Only where SB3 would call a network, a member asks instead, and what all members ask for
is computed at once: acting (`acting`) and gradient steps (`learners`).

Where the time goes is the overhead of torch's small operations, not their arithmetic. A pass is
therefore written for one member with SB3's own modules, vectorised over the members by
`torch.func.vmap`, and traced into a graph that runs without Python (`graphs`).
"""

__all__ = ["batch", "graphs", "learners", "structure"]
