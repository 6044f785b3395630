"""Why did these images come back? One query, its neighbors and their vote, as values and as a page."""
