"""The rules by which neighbors decide, by name."""

NEIGHBOR_RULES = ("knn-vote", "majority-vote", "nearest-neighbor")
