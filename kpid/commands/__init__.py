"""What the command line and the control socket do: each command as a function that returns data."""
