"""The command line: reads arguments, calls the rest, prints rows, and is the only place that knows exit codes."""
