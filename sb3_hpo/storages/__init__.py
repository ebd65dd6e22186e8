"""Optuna storages that survive crashes, full disks and servers that restart.

- `location`: where a study lives
- `existing`: studies that exist, found
- `open`: storages from one string
- `journal`: journal files
- `servers`: Redis, databases and gRPC
- `retrying`: waiting for a storage that is away
"""

__all__ = ["existing", "journal", "location", "open", "retrying", "servers"]
