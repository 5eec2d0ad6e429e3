"""What people read: the desk report, and figures for the Dagster UI."""
