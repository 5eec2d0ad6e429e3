"""The desk's own records of its trading, and the venue's."""
