"""Optuna storages that survive crashes, full disks and servers that restart.

- `address`: where a storage is: what `--storage` takes
- `open`: storages, opened
- `study_location`: where a study lives: its name, storage and run folder
- `existing`: studies that exist, found
- `journal`: journal files
- `servers`: Redis, databases and gRPC
- `retrying`: waiting for a storage that is away
"""

__all__ = ["address", "existing", "journal", "open", "retrying", "study_location"]
