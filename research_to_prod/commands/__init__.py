"""The subjects of `r2p` that have several commands: one module each, registered in ``cli``."""
