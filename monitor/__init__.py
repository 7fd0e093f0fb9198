"""holdfast watches deployed models: logs in, verdicts, metrics and decisions out."""
