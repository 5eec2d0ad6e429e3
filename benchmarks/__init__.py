"""Speed, side by side with the libraries that a desk would use instead; `make bench` runs every subject.

A script a subject. It times the project and its peers in turns within one process, prints medians, ratios and targets,
and exits non-zero when a target is missed. Belongs here: timing. Doesn't: correctness, beyond asserting that the
contestants computed the same thing (the tests hold the rest).
"""
