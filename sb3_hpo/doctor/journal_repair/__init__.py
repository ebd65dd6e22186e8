"""What can be kept of a journal with damaged lines.

- `salvage`: the lines that are kept, and what stands in for the others
- `lost_numbers`: how many studies and trials the lost lines had made
- `lines`: the lines of a journal, also of a damaged one
"""

__all__ = ["lines", "lost_numbers", "salvage"]
