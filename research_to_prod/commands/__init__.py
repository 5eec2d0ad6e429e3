"""Commands of `r2p` that belong together, a module each."""
