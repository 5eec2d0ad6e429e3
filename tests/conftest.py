"""Settings that every test shares."""

from hypothesis import settings

# Two shared cores: a slow example says nothing about the code, so none has a deadline.
settings.register_profile("project", deadline=None, max_examples=60)
settings.load_profile("project")
