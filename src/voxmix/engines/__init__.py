"""Where runs are executed: on this machine, several at a time."""
