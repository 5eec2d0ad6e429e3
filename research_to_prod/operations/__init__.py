"""Running the desk: reconciliation of its records with the venue's."""
