"""How many neighbors vote."""

DEFAULT_K = 200  # as NPID, MoCo and FAM use; fewer where there are fewer supports
