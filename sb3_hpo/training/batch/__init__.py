"""Runs of equal structure, trained together in one process and equal to SB3 run by run.

SB3 does everything it does for one run: environments, buffers, schedules, exploration, callbacks.
Each member of a batch is an SB3 model inside its own `learn`, in a greenlet with random streams of
its own. Only where SB3 would call a network, a member asks instead, and what all members ask for
is computed at once: acting (`acting`) and gradient steps (`learners`).

Where the time goes is the overhead of torch's small operations, not their arithmetic. A pass is
therefore written for one member with SB3's own modules, vectorised over the members by
`torch.func.vmap`, and traced into a graph that runs without Python (`graphs`).

- `batch`: members in turns, and one learner that serves them
- `turns`: functions that run in turns
- `randomness`: the global random streams as one of several runs sees them
- `structure`: what must be equal for models to learn together
- `rows`: parameters of equal modules as the rows of one tensor
- `optimizers`: Adam and RMSprop as functions of one member's parameters
"""

__all__ = ["batch", "graphs", "learners", "structure"]
